"""The forecaster as a user has it in Python: what it learns, what it returns, what it refuses."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx

from lstmjax import fit_seeds
from lstmjax.config import RunConfig
from lstmjax.data.table import DataWarning
from lstmjax.errors import CheckpointError, ConfigError, DataError, TrainingWarning
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.nn import LSTM
from lstmjax.window import Forecast, WindowBatch, WindowSpec, lookback_features

CONFIG = RunConfig.from_json('{"format_version": 1}').replace(  # direct, constant rate, squared error
    {
        "data.h": 6,
        "data.input_size": 24,
        "data.val_size": 24,
        "model.hidden_size": 8,
        "model.head_size": 0,
        "optimizer.learning_rate": 1e-2,
        "train.max_steps": 60,
        "train.val_check_steps": 20,
        "train.batch_size": 16,
        "train.batch_shards": 1,
    }
)


def wave(name="a", rows=300, start="2024-01-01", seed=0, level=10.0):
    t = np.arange(rows)
    noise = np.random.default_rng(seed).normal(0, 0.05, rows)
    return pd.DataFrame(
        {
            "unique_id": name,
            "ds": pd.date_range(start, periods=rows, freq="h"),
            "y": level + np.sin(2 * np.pi * t / 24) + noise,
        }
    )


def weights_of(forecaster):
    return jax.tree.leaves(forecaster.fitted.selected.weights)


def assert_same_bytes(one, other):
    for left, right in zip(weights_of(one), weights_of(other), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.fixture(scope="module")
def table():
    return pd.concat([wave("a"), wave("b", rows=260, start="2024-01-03", seed=1, level=-3.0)], ignore_index=True)


@pytest.fixture(scope="module")
def trained(table):
    return Forecaster(CONFIG.replace({"data.test_size": 48})).fit(table)


def test_forecasts_go_on_after_each_series_last_row(trained, table):
    forecast = trained.predict()
    assert forecast.columns.tolist() == ["unique_id", "ds", "lstm"]
    for name, series in table.groupby("unique_id"):
        expected = pd.date_range(series["ds"].max(), periods=7, freq="h")[1:]
        assert forecast.loc[forecast["unique_id"] == name, "ds"].tolist() == expected.tolist()
    assert np.isfinite(forecast["lstm"]).all()


def test_it_learns_a_wave_far_better_than_repeating_the_last_value(trained, table):
    frame = trained.evaluate(table)
    error = (frame[["lstm", "naive"]].sub(frame["y"], axis=0)).abs().mean()
    assert error["lstm"] < 0.5 * error["naive"]


def test_evaluation_has_every_window_of_the_unseen_rows(trained, table):
    frame = trained.evaluate(table)
    assert frame.columns.tolist() == ["unique_id", "ds", "cutoff", "y", "lstm", "naive", "seasonal_naive"]
    windows = 48 - 6 + 1
    assert frame.groupby("unique_id")["cutoff"].nunique().to_dict() == {"a": windows, "b": windows}
    last_seen = table.groupby("unique_id")["ds"].nth(-49)
    assert frame["cutoff"].min() == last_seen.min()
    merged = frame.merge(table, on=["unique_id", "ds"], suffixes=("", "_table"))
    assert len(merged) == len(frame)
    np.testing.assert_array_equal(merged["y"], merged["y_table"])
    np.testing.assert_array_equal((frame["ds"] - frame["cutoff"]).dt.total_seconds() / 3600, np.tile(range(1, 7), 86))


def test_a_forecast_is_that_of_evaluation_at_the_same_cutoff(trained, table):
    frame = trained.evaluate(table)
    series = table[table["unique_id"] == "a"]
    cutoff = series["ds"].max() - pd.Timedelta(hours=6)
    ahead = trained.predict(series[series["ds"] <= cutoff])
    expected = frame[(frame["unique_id"] == "a") & (frame["cutoff"] == cutoff)]["lstm"]
    np.testing.assert_allclose(ahead["lstm"], expected, rtol=1e-5)


def test_a_loaded_forecaster_predicts_the_same_without_the_data(trained, table, tmp_path):
    trained.save(tmp_path / "saved")
    loaded = Forecaster.load(tmp_path / "saved")
    pd.testing.assert_frame_equal(loaded.predict(), trained.predict())
    pd.testing.assert_frame_equal(loaded.evaluate(table), trained.evaluate(table))
    assert loaded.config == trained.fitted.config
    with pytest.raises(CheckpointError, match="overwrite"):
        trained.save(tmp_path / "saved")
    trained.save(tmp_path / "saved", overwrite=True)


def test_the_same_seed_gives_the_same_bytes_whatever_the_chunks(table):
    config = CONFIG.replace({"data.test_size": 48, "train.max_steps": 20, "train.chunk_steps": 20})
    one = Forecaster(config).fit(table)
    assert_same_bytes(one, Forecaster(config).fit(table))
    assert_same_bytes(one, Forecaster(config.replace({"train.chunk_steps": 3})).fit(table))
    other = Forecaster(config.replace({"train.seed": 1})).fit(table)
    assert any((left != right).any() for left, right in zip(weights_of(one), weights_of(other), strict=True))


def test_noise_in_the_test_rows_changes_neither_weights_nor_best_step(trained, table):
    noisy = table.copy()
    test_rows = noisy.groupby("unique_id")["ds"].transform("max") - noisy["ds"] < pd.Timedelta(hours=48)
    noisy.loc[test_rows, "y"] += np.random.default_rng(0).normal(0, 100, test_rows.sum())
    other = Forecaster(trained.config).fit(noisy)
    assert_same_bytes(trained, other)
    assert other.fitted.summary["best_step"] == trained.fitted.summary["best_step"]


def test_rows_after_the_cutoff_change_no_forecast(trained, table):
    changed = table.copy()
    late = changed["ds"] > changed["ds"].max() - pd.Timedelta(hours=20)
    changed.loc[late, "y"] *= -5
    before, after = trained.evaluate(table), trained.evaluate(changed)
    early = before["cutoff"] <= table["ds"].max() - pd.Timedelta(hours=20)
    assert 0 < early.sum() < len(before)
    models = ["lstm", "naive", "seasonal_naive"]
    pd.testing.assert_frame_equal(before.loc[early, models], after.loc[early, models])
    assert not np.allclose(before.loc[~early, "lstm"], after.loc[~early, "lstm"])


def test_seeds_trained_together_are_those_trained_alone(table):
    config = CONFIG.replace({"data.test_size": 48, "train.max_steps": 20})
    together = fit_seeds(config, table, [0, 5])
    alone = Forecaster(config.replace({"train.seed": 5})).fit(table)
    assert_same_bytes(together[1], alone)
    assert together[1].fitted.config.train.seed == 5


def test_a_series_unseen_in_training_is_forecast_in_its_own_units(trained):
    other = wave("new", level=1000.0, seed=3)
    with pytest.warns(
        DataWarning, match=r"the table: 1 of 1 series were not trained on \('new'; those that were: 'a', 'b'\)"
    ):
        assert trained.predict(other)["lstm"].between(995, 1005).all()
    with pytest.warns(DataWarning, match="all their rows count as unseen"):
        frame = trained.evaluate(other)
    assert frame["cutoff"].min() == other["ds"].iloc[23]
    assert frame["lstm"].between(990, 1010).all()


def test_several_targets_get_a_target_column():
    table = wave().assign(z=lambda t: 5 - t["y"])
    config = CONFIG.replace({"data.target_cols": ("y", "z"), "train.max_steps": 3, "data.test_size": 12})
    forecaster = Forecaster(config).fit(table)
    forecast = forecaster.predict()
    assert forecast.columns.tolist() == ["unique_id", "target", "ds", "lstm"]
    assert forecast["target"].tolist() == ["y"] * 6 + ["z"] * 6
    frame = forecaster.evaluate(table)
    truth = frame.pivot_table(index=["cutoff", "ds"], columns="target", values="y")
    np.testing.assert_allclose(truth["z"], 5 - truth["y"])


def test_a_wide_table_is_a_series_a_column():
    wide = pd.DataFrame({"time": wave()["ds"], "north": wave()["y"], "south": wave(seed=2)["y"]})
    config = CONFIG.replace(
        {"data.layout": "wide", "data.time_col": "time", "data.target_cols": ("north", "south"), "train.max_steps": 3}
    )
    forecast = Forecaster(config).fit(wide).predict()
    assert forecast.columns.tolist() == ["unique_id", "time", "lstm"]
    assert forecast["unique_id"].unique().tolist() == ["north", "south"]


@pytest.fixture(scope="module")
def fitted():
    return Forecaster(TestKnownFuture.config).fit(TestKnownFuture.table())


class TestKnownFuture:
    """A covariate that decides the target, known ahead."""

    config = CONFIG.replace({"data.futr_exog": ("flag",), "train.max_steps": 200, "model.head_size": 16})

    @staticmethod
    def table(rows=300):
        flag = np.random.default_rng(0).integers(0, 2, rows)
        return wave(rows=rows).assign(y=lambda t: 10.0 * flag + t["y"] * 0.01, flag=flag)

    def future(self, flags):
        ds = pd.date_range("2024-01-01", periods=300 + len(flags), freq="h")[300:]
        return pd.DataFrame({"ds": ds, "flag": flags})

    def test_it_reaches_every_step(self, fitted):
        flags = [1, 0, 0, 1, 0, 1]
        forecast = fitted.predict(futr_df=self.future(flags))["lstm"].to_numpy()
        assert (forecast[np.array(flags) == 1] > 6).all()
        assert (forecast[np.array(flags) == 0] < 4).all()

    def test_rows_with_empty_targets_are_the_future_too(self, fitted):
        flags = [1, 0, 0, 1, 0, 1]
        table = pd.concat([self.table(), self.future(flags).assign(unique_id="a", y=np.nan)])
        expected = fitted.predict(futr_df=self.future(flags))
        pd.testing.assert_frame_equal(fitted.predict(table), expected)
        pd.testing.assert_frame_equal(fitted.predict(self.table(), self.future(flags)), expected)

    def test_without_it_prediction_is_refused(self, fitted):
        with pytest.raises(DataError, match="'a' has no flag for 2024-01-13 12:00"):
            fitted.predict()
        with pytest.raises(DataError, match="2024-01-13 14:00"):
            fitted.predict(futr_df=self.future([1, 0]))

    def test_true_and_false_count_as_one_and_zero(self, fitted):
        flags = [1, 0, 0, 1, 0, 1]
        truths = self.future(np.array(flags, bool))
        pd.testing.assert_frame_equal(fitted.predict(futr_df=truths), fitted.predict(futr_df=self.future(flags)))


@pytest.mark.filterwarnings("ignore:.*empty cells")
def test_missing_values_are_masked_through_training_and_forecast(table):
    holes = table[table["unique_id"] == "a"].copy()
    holes.loc[50:60, "y"] = np.nan
    with pytest.warns(DataWarning, match="3 "):
        forecaster = Forecaster(CONFIG.replace({"data.test_size": 48})).fit(holes.drop(index=range(100, 103)))
    assert np.isfinite(forecaster.predict()["lstm"]).all()
    whole = forecaster.evaluate(holes)
    assert np.isfinite(whole["lstm"]).all()


def test_a_series_too_short_to_train_on_is_named_and_forecast(table):
    short = pd.concat([table, wave("short", rows=9, level=50.0)])
    with pytest.warns(DataWarning, match="'short'"):
        forecaster = Forecaster(CONFIG.replace({"train.max_steps": 20})).fit(short)
    forecast = forecaster.predict()
    assert forecast.loc[forecast["unique_id"] == "short", "lstm"].between(45, 55).all()


class Last(nnx.Module):
    """A network of a user's own: an LSTM and a linear layer."""

    def __init__(self, spec: WindowSpec, *, rngs: nnx.Rngs) -> None:
        self.lstm = LSTM(spec.in_features, 8, rngs=rngs)
        self.head = nnx.Linear(8, spec.h, rngs=rngs)

    def __call__(self, window: WindowBatch, *, rngs=None, deterministic=None) -> Forecast:
        return Forecast(self.head(self.lstm(lookback_features(window))[:, -1])[..., None, None])


@pytest.mark.parametrize("give", ["function", "module"])
def test_a_network_of_the_users_own(table, tmp_path, give):
    network = Last if give == "function" else Last(WindowSpec(24, 6), rngs=nnx.Rngs(0))
    config = CONFIG.replace({"data.test_size": 48})
    forecaster = Forecaster(config, network=network).fit(table)
    frame = forecaster.evaluate(table)
    error = (frame[["lstm", "naive"]].sub(frame["y"], axis=0)).abs().mean()
    assert error["lstm"] < 0.5 * error["naive"]
    forecaster.save(tmp_path)
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path, network=network).predict(), forecaster.predict())
    with pytest.raises(CheckpointError, match="Last: pass it as network="):
        Forecaster.load(tmp_path)


def test_a_loss_that_is_not_finite_stops_training_and_keeps_good_weights(table):
    class Breaks(Last):
        def __call__(self, window, *, rngs=None, deterministic=None):
            forecast = super().__call__(window)
            return Forecast(jnp.log(3.0 - jnp.abs(forecast.parameters)))

    config = CONFIG.replace({"optimizer.learning_rate": 0.5, "optimizer.clip_norm": None, "train.max_steps": 400})
    with pytest.warns(TrainingWarning, match="training stopped at step .* not finite"):
        forecaster = Forecaster(config, network=Breaks).fit(table)
    failure = forecaster.fitted.summary["failure"]
    assert "not finite" in failure
    assert forecaster.fitted.summary["steps"] < 400
    assert all(np.isfinite(leaf).all() for leaf in weights_of(forecaster))


@pytest.mark.filterwarnings("ignore:.*were not trained on")
def test_a_few_rows_with_a_gap_are_enough_to_forecast_from(trained):
    rows = wave("new").iloc[[0, 1, 3]]
    with pytest.warns(DataWarning, match="1 missing time step"):
        forecast = trained.predict(rows)
    assert forecast["ds"].iloc[0] == pd.Timestamp("2024-01-01 04:00")


def test_new_data_must_have_the_columns_and_the_frequency_of_training(trained, table):
    with pytest.raises(DataError, match="frequency '2h'.*'h'"):
        trained.predict(wave().iloc[::2])
    with pytest.raises(DataError, match="no column 'y'"):
        trained.predict(table.rename(columns={"y": "yy"}))


def test_what_cannot_be_is_refused_in_words(trained, table, tmp_path):
    with pytest.raises(CheckpointError, match="not trained"):
        Forecaster(CONFIG).predict()
    with pytest.raises(ConfigError, match=r"model\.alias is 'naive'"):
        Forecaster(CONFIG.replace({"model.alias": "naive"}))
    with pytest.raises(CheckpointError, match="no checkpoint found"):
        Forecaster.load(tmp_path)
    seen = Forecaster(CONFIG.replace({"train.max_steps": 2})).fit(table)
    with pytest.raises(DataError, match="nothing to evaluate"):
        seen.evaluate(table)


def test_no_validation_rows_keeps_the_last_weights(table):
    forecaster = Forecaster(CONFIG.replace({"train.max_steps": 20})).fit(table, val_size=0)
    assert forecaster.fitted.summary["best_step"] == 20
    assert forecaster.fitted.config.data.val_size == 0


def test_a_plateau_needs_validation_windows(table, tmp_path):
    plateau = CONFIG.replace({"optimizer.schedule": "plateau"})
    refusal = r"^optimizer\.schedule is 'plateau', which needs validation windows, and there are none: give rows to"
    with pytest.raises(ConfigError, match=refusal):
        Forecaster(plateau).fit(table, val_size=0)
    with pytest.raises(ConfigError, match=refusal):
        fit_seeds(plateau, table, [0, 1], val_size=0, directory=tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_nothing_warns_on_good_data(table):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        Forecaster(CONFIG).fit(table).predict()
    assert not warned
