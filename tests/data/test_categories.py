"""Covariates of text are encoded one-hot by the categories of the training rows; holidays are known ahead."""

import numpy as np
import pandas as pd
import polars
import pytest

import lstmjax
from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.categories import encoded_names
from lstmjax.data.prepare import prepare
from lstmjax.errors import ConfigError, DataError
from lstmjax.forecaster.fit import fit_members
from lstmjax.runs import outputs
from lstmjax.runs.run import resume_run, train_run

CONFIG = lstmjax.RunConfig().replace(
    {
        "data.h": 4,
        "data.input_size": 4,
        "data.val_size": 10,
        "train.max_steps": 2,
        "train.batch_shards": 1,
        "model.name": "direct",
        "model.hidden_size": 4,
        "model.head_size": 0,
        "data.hist_exog": ("sky",),
        "data.futr_exog": ("promo", "price"),
        "data.stat_exog": ("region",),
    }
)


def table(**columns):
    rows = 60
    return pd.DataFrame(
        {
            "ds": pd.date_range("2024-01-01", periods=rows),
            "y": np.sin(np.arange(rows)),
            "sky": ["sun", "rain", "fog"] * 20,
            "promo": pd.Series(np.arange(rows) % 2).astype("category"),
            "price": np.arange(rows) / 7,
            "region": "NW",
            **columns,
        }
    )


def untrained(config, df):
    """A forecaster as it is before its first step, whose program takes most time to compile."""
    return lstmjax.Forecaster.of(*fit_members(config, None, df, [0], until=0))


FUTURE = pd.DataFrame({"ds": pd.date_range("2024-03-01", periods=4), "promo": [0, 1, 5, 0], "price": 3.0})


def arrays_of(**columns):
    data = CONFIG.data
    return prepare(panel_from_table(table(**columns), data), data, with_test=False)


@pytest.mark.filterwarnings("ignore:.*empty cell")
def test_each_category_of_the_training_rows_has_a_column_and_the_others_share_one():
    sky = np.array(["sun", "rain", None] * 20, object)
    sky[55:] = "hail"  # in validation rows only
    prepared = arrays_of(sky=sky)
    assert prepared.scaling.categories == {"sky": ["rain", "sun"], "promo": ["0", "1"], "region": ["NW"]}
    assert encoded_names(("sky",), prepared.scaling.categories) == ["sky=rain", "sky=sun", "sky=another"]
    hist, mask = prepared.arrays.hist, prepared.arrays.hist_mask
    np.testing.assert_array_equal(hist[:3], [[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(mask[:3], [[True] * 3, [True] * 3, [False] * 3])
    np.testing.assert_array_equal(hist[55:], [[0, 0, 1]] * 5)
    assert (prepared.spec.hist_exog, prepared.spec.futr_exog, prepared.spec.stat_exog) == (3, 4, 2)
    np.testing.assert_array_equal(prepared.arrays.stat, [[1, 0]])


def test_future_rows_change_no_category():
    sky = np.array(["sun", "rain"] * 30, object)
    before = arrays_of(sky=sky).scaling.categories
    sky[50:] = "hail"
    assert arrays_of(sky=sky).scaling.categories == before


@pytest.mark.parametrize(
    "form", [lambda x: x, lambda x: x.astype("category"), lambda x: x.astype("string"), lambda x: x.astype(object)]
)
def test_any_dtype_of_text_is_read_alike(form):
    right, found = arrays_of(), arrays_of(sky=form(table()["sky"]))
    np.testing.assert_array_equal(found.arrays.hist, right.arrays.hist)


def test_forecasts_of_a_stored_forecaster_and_of_new_categories(tmp_path):
    forecaster = lstmjax.Forecaster(CONFIG).fit(table())
    forecast = forecaster.predict(futr_df=FUTURE)
    forecaster.save(tmp_path / "f")
    again = lstmjax.Forecaster.load(tmp_path / "f")
    pd.testing.assert_frame_equal(again.predict(futr_df=FUTURE), forecast)
    pd.testing.assert_frame_equal(again.predict(table(), futr_df=FUTURE), forecast)
    numbers = FUTURE.assign(promo=FUTURE["promo"].astype(float))
    pd.testing.assert_frame_equal(again.predict(table(), futr_df=numbers), forecast)
    found = forecaster.predict(
        polars.from_pandas(table(promo=table()["promo"].astype(str))), polars.from_pandas(FUTURE)
    )
    np.testing.assert_array_equal(found["lstm"].to_numpy(), forecast["lstm"])
    other = table(sky="hail", region="SO")
    assert not np.allclose(again.predict(other, futr_df=FUTURE)["lstm"], forecast["lstm"])
    tuned = again.finetune(other, directory=tmp_path / "tuned")
    assert tuned.fitted.selected.scaling.categories == forecaster.fitted.selected.scaling.categories
    resumed = lstmjax.Forecaster().resume(tmp_path / "tuned", other)
    pd.testing.assert_frame_equal(resumed.predict(futr_df=FUTURE), tuned.predict(futr_df=FUTURE))


def test_a_wrong_cell_among_numbers_is_named_and_texts_without_end_are_no_categories():
    with pytest.raises(DataError, match="row 59, column 'sky' is 'n/k': expected a number"):
        arrays_of(sky=["1", "2.5", "3"] * 19 + ["1", "2", "n/k"])
    data = DataConfig(hist_exog=("x",))
    rows = 1100
    long = pd.DataFrame({"ds": range(rows), "y": 1.0, "x": [f"remark {row}" for row in range(rows)]})
    with pytest.raises(DataError, match="column 'x' holds 1100 different texts"):
        panel_from_table(long, data)
    forecaster = untrained(CONFIG, table(sky=1.0))
    with pytest.raises(DataError, match="column 'sky' is 'sun': expected a number"):
        forecaster.predict(table(), futr_df=FUTURE)


def test_a_run_is_fine_tuned_and_resumed_with_the_categories_of_its_weights(tmp_path, monkeypatch):
    """By name, not by position: another table has other categories first."""
    for picture in ("draw_forecasts", "draw_learning_curve"):  # which nobody looks at
        monkeypatch.setattr(outputs, picture, lambda *_, **__: None)
    table().to_csv(tmp_path / "a.csv", index=False)
    table(sky="hail", region="SO").to_csv(tmp_path / "b.csv", index=False)
    base = CONFIG.replace({"data.val_size": 8, "data.test_size": 8, "data.path": str(tmp_path / "a.csv")})
    first = train_run(base, tmp_path / "first", say=lambda line: None)
    other = base.replace({"data.path": str(tmp_path / "b.csv")})
    tuned = train_run(other, tmp_path / "tuned", finetune_from=tmp_path / "first", say=lambda line: None)
    resumed = resume_run(tmp_path / "tuned", say=lambda line: None)
    for run in (first, tuned, resumed):
        assert run.forecaster.fitted.selected.scaling.categories["sky"] == ["fog", "rain", "sun"]
    pd.testing.assert_frame_equal(resumed.forecaster.predict(futr_df=FUTURE), tuned.forecaster.predict(futr_df=FUTURE))
    numbers = panel_from_table(table(sky=1.0).astype({"promo": int}), base.data)
    trained = first.forecaster.fitted.selected.scaling.categories
    with pytest.raises(DataError, match="column 'sky' holds numbers, the forecaster was trained with text"):
        prepare(numbers, base.data, with_test=True, categories=trained)


def test_targets_are_numbers():
    with pytest.raises(DataError, match="column 'y' is 'low': expected a number"):
        arrays_of(y=["low", "high"] * 30)


HOLIDAYS = CONFIG.data.__class__(h=24, input_size=24, val_size=48, holidays="AU-VIC")


def test_public_holidays_are_known_ahead():
    times = pd.date_range("2024-11-03", periods=24 * 50, freq="h", tz="Australia/Melbourne")  # to 22 December
    frame = pd.DataFrame({"ds": times, "y": np.sin(np.arange(len(times)))})
    prepared = prepare(panel_from_table(frame, HOLIDAYS), HOLIDAYS, with_test=False)
    futr = prepared.arrays.futr[:, 0]
    assert prepared.spec.futr_exog == 1
    on = times[futr[: len(times)] == 1]
    assert sorted(set(on.strftime("%m-%d"))) == ["11-05"]  # Melbourne Cup
    assert len(on) == 24
    assert prepared.panel.lengths.tolist() == [len(times) + 24]
    config = lstmjax.RunConfig(data=HOLIDAYS).replace({"train.max_steps": 2, "model.hidden_size": 4})
    assert len(untrained(config, frame).predict()) == 24


@pytest.mark.parametrize("place", ["XX", "AU-XX", "", "au vic", "DE-"])
def test_an_unknown_place_is_refused(place):
    frame = table()[["ds", "y"]]
    if place == "DE-":  # a country without a region
        panel_from_table(frame, DataConfig(holidays=place))
        return
    with pytest.raises(ConfigError, match=r"data\.holidays is .*: expected a country, or a region"):
        panel_from_table(frame, DataConfig(holidays=place))


@pytest.mark.parametrize(
    "times",
    [range(60), pd.date_range("2000-01-01", periods=60, freq="MS"), pd.date_range("2000-01-02", periods=60, freq="W")],
)
def test_holidays_need_days(times):
    with pytest.raises((ConfigError, DataError), match=r"data\.holidays"):
        panel_from_table(pd.DataFrame({"ds": times, "y": 1.0}), DataConfig(holidays="DE"))


def test_a_static_covariate_of_text_that_changes_is_named_by_its_texts():
    with pytest.raises(DataError, match="row 30, column 'region' is 'SE', but 'NW' earlier in series"):
        panel_from_table(table(region=["NW"] * 30 + ["SE"] * 30), CONFIG.data)
