"""Backtests: nothing leaks, refits as one population equal refits alone, and what the table holds."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from flax import nnx

import lstmjax
from lstmjax import Forecaster, RunConfig
from lstmjax.config import BacktestConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.table import DataWarning
from lstmjax.errors import ConfigError, ConfigWarning, DataError
from lstmjax.evaluation.metrics import METRICS
from lstmjax.forecaster import backtest
from lstmjax.forecaster.backtest_plan import make_plan
from lstmjax.forecaster.fitted import Fitted
from lstmjax.window import Forecast, lookback_features

pytestmark = pytest.mark.filterwarnings("ignore:.*empty cell.*masked", "ignore:.*have no whole training window")

H, STEP = 4, 6
CONFIG = RunConfig().replace(
    {
        "data.h": H,
        "data.input_size": 8,
        "data.season_length": 6,
        "data.val_size": 20,
        "data.hist_exog": ("load",),
        "data.futr_exog": ("sky",),
        "model.name": "direct",
        "model.hidden_size": 4,
        "model.head_size": 4,
        "optimizer.learning_rate": 0.01,
        "train.max_steps": 4,
        "train.val_check_steps": 2,
        "train.batch_size": 8,
    }
)
SMALL = CONFIG.replace({"data.hist_exog": (), "data.futr_exog": ()})


class Linear(nnx.Module):
    """A map from the lookback to the horizon, which is compiled in half the time of an LSTM."""

    def __init__(self, spec, *, rngs):
        self.spec = spec
        self.layer = nnx.Linear(spec.input_size * spec.in_features, spec.h * spec.targets, rngs=rngs)

    def __call__(self, window, *, rngs=None, deterministic=None):
        center = window.y[:, -1:]
        flat = lookback_features(window._replace(y=window.y - center)).reshape(len(center), -1)
        return Forecast((self.layer(flat).reshape(-1, self.spec.h, self.spec.targets) + center)[..., None])


def series(name, rows, seed):
    random = np.random.default_rng(seed)
    t = np.arange(rows)
    return pd.DataFrame(
        {
            "unique_id": name,
            "ds": pd.date_range("2024-01-01", periods=rows, freq="h"),
            "y": 10 * seed + np.sin(t * np.pi / 3) + 0.3 * random.normal(size=rows),
            "load": random.normal(size=rows),
            "sky": np.array(["clear", "rain", "snow"])[random.integers(0, 3, rows)],
        }
    )


TABLE = pd.concat([series("a", 120, 1), series("b", 90, 2)], ignore_index=True)
BY_TIME = {"data.val_size": None, "data.train_end": "2024-01-02", "data.val_end": "2024-01-03"}
PLAIN = TABLE[["unique_id", "ds", "y"]]


def validate(table=TABLE, config=CONFIG, network=None, **options):
    forecaster = Forecaster(config, network=network)
    return forecaster.cross_validation(table, **{"n_windows": 3, "step_size": STEP} | options)


def small(table=PLAIN, config=SMALL, **options):
    """Of the network that is soon compiled."""
    return validate(table, config, Linear, **options)


def cutoffs(found, name="a"):
    return found.loc[found["unique_id"] == name, "cutoff"].unique()


MODES = {
    "once": {},
    "every": {"refit": True},
    "second": {"refit": 2},
    "warm": {"refit": True, "warm_start": True},
    "sliding, intervals": {"refit": True, "train_size": 30, "level": [50]},
}
CONFIGS = {"sliding, intervals": CONFIG.replace({"outputs.calibration": "conformal", "data.calibration_size": 10})}


@pytest.fixture(scope="module")
def unchanged():
    return {mode: validate(config=CONFIGS.get(mode, CONFIG), **options) for mode, options in MODES.items()}


def until(found, number):
    """The rows of the first cutoffs, up to a number, of every series."""
    rank = found.groupby("unique_id")["cutoff"].rank("dense")
    return found[rank <= number].drop(columns=["y", "ds"])


def changed_after(table, found, number, random):
    """The table with other values at and after the cutoff of a number, of each series; also holes."""
    other = table.copy()
    for name, of_series in found.groupby("unique_id"):
        cutoff = of_series["cutoff"].unique()[number - 1]
        after = (other["unique_id"] == name) & (other["ds"] > cutoff)
        noise = random.normal(size=(int(after.sum()), 2)) * 50
        noise[random.random(len(noise)) < 0.2] = np.nan
        noise[-1] = 1.0  # the last row is still observed
        other.loc[after, ["y", "load"]] = noise
    return other


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_rows_at_and_after_a_cutoff_change_no_byte_of_its_forecast(unchanged, mode, number):
    before = unchanged[mode]
    other = changed_after(TABLE, before, number, np.random.default_rng(number))
    after = validate(other, CONFIGS.get(mode, CONFIG), **MODES[mode])
    pd.testing.assert_frame_equal(until(after, number), until(before, number), check_exact=True)
    if number < 3:  # they do change what is forecast later
        assert not after["lstm"].equals(before["lstm"])


@pytest.mark.parametrize("mode", ["once", "every", "sliding, intervals"])
@pytest.mark.parametrize("rows_before", [1, 35])  # in the lookback, in the training rows
def test_rows_before_a_cutoff_change_its_forecast(unchanged, mode, rows_before):
    before = unchanged[mode]
    other = TABLE.copy()
    at = np.flatnonzero((other["unique_id"] == "a") & (other["ds"] <= cutoffs(before)[0]))[-rows_before]
    other.loc[at, "y"] += 1.0
    after = validate(other, CONFIGS.get(mode, CONFIG), **MODES[mode])
    assert (until(after, 1)["lstm"] != until(before, 1)["lstm"]).any()


def of_cutoff(found, number):
    rank = found.groupby("unique_id")["cutoff"].rank("dense")
    return found.loc[rank == number, ["unique_id", "ds", "lstm"]].reset_index(drop=True)


@pytest.mark.parametrize(("mapping", "tolerance"), [("map", 1e-5), pytest.param("vmap", 1e-3, marks=pytest.mark.slow)])
def test_a_population_of_refits_equals_each_alone(monkeypatch, unchanged, mapping, tolerance):
    monkeypatch.setattr(lstmjax.parallel, "default_mapping", lambda members, mesh: mapping)
    together = validate(refit=True)
    alone = {1: of_cutoff(unchanged["once"], 1), 3: of_cutoff(validate(n_windows=1), 1)}
    for number, own in alone.items():
        ours = of_cutoff(together, number)
        pd.testing.assert_frame_equal(own, ours, rtol=tolerance, atol=tolerance, check_exact=False)


def fitted_before(table, rows):
    """A forecaster that has not seen the last rows. They are in its table: then its shapes are those of a backtest."""
    return Forecaster(SMALL.replace({"data.test_size": rows}), network=Linear).fit(table)


def without_last(table, rows):
    return table[table.groupby("unique_id").cumcount(ascending=False) >= rows]


@pytest.fixture(scope="module")
def plain():
    return small()


@pytest.fixture(scope="module")
def forecaster():
    """Fitted before the first of three cutoffs."""
    return fitted_before(PLAIN, 2 * STEP + H)


def test_without_refits_it_is_the_forecaster_fitted_before_the_first_cutoff(plain, forecaster):
    forecast = forecaster.predict(without_last(PLAIN, 2 * STEP + H))
    # Other numbers of windows are forecast together.
    pd.testing.assert_frame_equal(of_cutoff(plain, 1), forecast, rtol=1e-6)


def test_a_warm_start_is_a_finetune_of_the_model_before():
    table = PLAIN[PLAIN["unique_id"] == "a"]
    found = small(table, n_windows=2, refit=True, warm_start=True)
    forecaster = fitted_before(table, STEP + H).finetune(table, options={"data.test_size": H})
    forecast = forecaster.predict(without_last(table, H))["lstm"].to_numpy()
    np.testing.assert_allclose(of_cutoff(found, 2)["lstm"], forecast, rtol=1e-6)
    afresh = small(table, n_windows=1)
    assert not np.allclose(afresh["lstm"], forecast)


def test_a_sliding_refit_is_that_of_the_last_rows():
    table = PLAIN[PLAIN["unique_id"] == "a"]
    found = small(table, n_windows=1, train_size=30)
    cutoff = cutoffs(found)[0]
    last = table[table["ds"] <= cutoff].tail(30 + 20)
    forecast = Forecaster(SMALL, network=Linear).fit(last).predict()
    np.testing.assert_array_equal(found["lstm"], forecast["lstm"])


def test_every_kth_cutoff_has_a_model_of_its_own(unchanged):
    every, second = unchanged["every"], unchanged["second"]
    for number, same in {1: True, 2: False, 3: True}.items():
        ours, theirs = of_cutoff(second, number)["lstm"], of_cutoff(every, number)["lstm"]
        assert np.allclose(ours, theirs, rtol=1e-6) == same


def test_a_member_does_not_depend_on_the_others_of_its_population(unchanged):
    found = validate(refit=True, n_windows=2)
    for number in (1, 2):
        pd.testing.assert_series_equal(
            of_cutoff(found, number)["lstm"], of_cutoff(unchanged["every"], number + 1)["lstm"], rtol=1e-6
        )


def test_columns_order_and_dtypes(unchanged):
    found = unchanged["every"]
    assert found.columns.tolist() == ["unique_id", "ds", "cutoff", "y", "lstm", "naive", "seasonal_naive"]
    keys = TABLE[["unique_id", "ds"]].dtypes
    pd.testing.assert_series_equal(found[["unique_id", "ds"]].dtypes, keys)
    assert found["cutoff"].dtype == TABLE["ds"].dtype
    assert set(found.drop(columns=["unique_id", "ds", "cutoff"]).dtypes.astype(str)) == {"float64"}
    assert isinstance(found.index, pd.RangeIndex)
    truth = found.merge(TABLE, on=["unique_id", "ds"], suffixes=("", "_table"))
    np.testing.assert_array_equal(truth["y"], truth["y_table"])
    ahead = (found["ds"] - found["cutoff"]) / pd.Timedelta(hours=1)
    assert ahead.tolist() == [1, 2, 3, 4] * 6
    last = TABLE.groupby("unique_id")["ds"].max()
    assert (found.groupby("unique_id")["ds"].max() == last).all()


def test_the_keys_are_those_of_neuralforecast():
    neuralforecast = pytest.importorskip("neuralforecast")
    from neuralforecast.models import MLP

    model = MLP(h=H, input_size=8, max_steps=1, enable_progress_bar=False, logger=False)
    theirs = neuralforecast.NeuralForecast([model], freq="h").cross_validation(PLAIN, n_windows=3, step_size=STEP)
    ours = small()
    names = ["unique_id", "ds", "cutoff", "y"]
    assert set(ours.columns) - {"lstm", "naive", "seasonal_naive"} == set(theirs.columns) - {"MLP"}
    assert ours.columns.tolist()[:3] == theirs.columns.tolist()[:3]
    both = [frame[names].sort_values(names[:3]).reset_index(drop=True) for frame in (ours, theirs)]
    pd.testing.assert_frame_equal(*both)


def test_intervals_are_calibrated_before_each_cutoff(unchanged):
    found = unchanged["sliding, intervals"]
    names = [f"{model}-{end}-50" for model in ("lstm", "naive", "seasonal_naive") for end in ("lo", "hi")]
    assert set(names) <= set(found.columns)
    assert (found["lstm-lo-50"] <= found["lstm-hi-50"]).all()
    width = (found["lstm-hi-50"] - found["lstm-lo-50"]).groupby([found["unique_id"], found["cutoff"]]).first()
    assert width.nunique() > 2


def test_own_names_kinds_of_frames_and_several_targets():
    polars = pytest.importorskip("polars")
    table = TABLE.rename(columns={"unique_id": "shop", "ds": "when", "y": "sold"})
    table["left"] = table["sold"] ** 2
    config = SMALL.replace(
        {
            "data.id_col": "shop",
            "data.time_col": "when",
            "data.target_cols": ("sold", "left"),
            "model.alias": "net",
        }
    )
    wanted = table[["shop", "when", "sold", "left"]]
    found = small(polars.from_pandas(wanted), config)
    assert isinstance(found, polars.DataFrame)
    names = ["shop", "target", "when", "cutoff", "y", "net", "naive", "seasonal_naive"]
    assert found.columns == names
    of_pandas = small(wanted, config)
    assert of_pandas.columns.tolist() == names
    np.testing.assert_array_equal(found["net"].to_numpy(), of_pandas["net"].to_numpy())


def test_a_series_has_the_windows_it_has_room_for():
    table = pd.concat([series("a", 120, 1), series("short", 14, 3), series("new", 5, 4)])[["unique_id", "ds", "y"]]
    found = small(table, refit=2)
    assert found.groupby("unique_id")["cutoff"].nunique().to_dict() == {"a": 3, "new": 1, "short": 2}
    assert found["lstm"].notna().all()
    # Its first window is forecast by a model from before it began: its statistics are those of its own first rows.
    assert (of_cutoff(found[found["unique_id"] == "short"], 1)["lstm"] - 30).abs().mean() < 5


def test_baselines_of_ones_own():
    seen = []

    def last(history, h):
        seen.append(history.copy())
        forecast = np.full(h, history[~np.isnan(history)][-1])
        history[:] = 1e9  # it may do with it what it likes
        return forecast

    table = PLAIN.copy()
    table.loc[table.index[100], "y"] = np.nan
    found = small(table, baselines={"last": last, "zero": lambda history, h: [0] * h})
    np.testing.assert_array_equal(found["last"], found["naive"])
    assert (found["zero"] == 0).all()
    assert found.columns.tolist()[-2:] == ["last", "zero"]
    assert all(one.dtype == np.float64 and one.ndim == 1 for one in seen)
    assert [len(one) for one in seen] == [104, 110, 116, 74, 80, 86]
    assert np.isnan(seen[0][100])
    np.testing.assert_array_equal(found["lstm"], small(table)["lstm"])


@pytest.mark.parametrize(
    ("baselines", "message"),
    [
        ({"naive": lambda history, h: np.zeros(h)}, "a baseline is named 'naive', as another column"),
        ({"lstm": lambda history, h: np.zeros(h)}, "a baseline is named 'lstm', as another column"),
        ({"mean": lambda history, h: history.mean()}, r"the baseline 'mean' returned .* expected 4 numbers"),
        ({"text": lambda history, h: "four"}, "the baseline 'text' returned str .* expected 4 numbers"),
        ({"all": lambda history, h: np.zeros((h, 1))}, r"the baseline 'all' returned an array of shape \(4, 1\)"),
    ],
)
def test_a_baseline_that_cannot_be_used_is_named(baselines, message):
    with pytest.raises(ConfigError, match=message):
        small(baselines=baselines)


@pytest.mark.parametrize(
    ("options", "config", "error", "message"),
    [
        ({"n_windows": 0}, {}, ConfigError, "backtest.n_windows is 0"),
        ({"n_windows": 40}, {}, DataError, "n_windows is 40, with 6 rows between two windows"),
        ({"n_windows": 19}, {}, DataError, "before cutoff 1 of 19: .* nothing to train on"),
        ({"step_size": 0}, {}, ConfigError, "backtest.step_size is 0"),
        ({"warm_start": True}, {}, ConfigError, "backtest.warm_start needs backtest.refit"),
        ({"refit": -1}, {}, ConfigError, "backtest.refit is -1"),
        ({"train_size": 5}, {}, ConfigError, "train_size is 5: expected at least"),
        ({}, BY_TIME, ConfigError, "leave data.train_end out"),
        ({"level": [80]}, {}, ConfigError, "outputs.level cannot be given"),
        ({"level": [99]}, {"outputs.calibration": "conformal"}, DataError, "before cutoff 1 of 3: .*99"),
    ],
)
def test_what_cannot_be_is_refused_before_training(monkeypatch, options, config, error, message):
    monkeypatch.setattr(backtest, "train_refits", lambda *_, **__: pytest.fail("it trains"))
    with pytest.raises(error, match=message):
        validate(PLAIN, SMALL.replace(config), **options)


def test_what_is_said_of_every_cutoff_is_said_once():
    with pytest.warns(DataWarning) as caught:
        small(PLAIN.assign(y=5.0), refit=True)
    assert len(caught) == len({str(warning.message) for warning in caught}) > 0


def test_the_forecaster_and_its_options_stay_as_they_are(forecaster):
    fitted, config = forecaster.fitted, forecaster.config
    forecaster.cross_validation(PLAIN, n_windows=3, step_size=STEP, refit=True)
    assert forecaster.fitted is fitted
    assert forecaster.config is config


def test_test_rows_have_no_part_and_a_refit_on_all_rows_is_warned_of(plain):
    pd.testing.assert_frame_equal(small(config=SMALL.replace({"data.test_size": 30})), plain)
    with pytest.warns(ConfigWarning, match="train.refit_all has no effect in a backtest"):
        again = small(config=SMALL.replace({"train.refit_all": True}))
    pd.testing.assert_frame_equal(again, plain)


def test_members_that_are_compiled_apart_are_populations_of_their_own():
    # Before the first cutoff there are fewer windows than a batch holds.
    config = SMALL.replace({"train.batch_size": 130})
    panel = panel_from_table(PLAIN, config.data)
    plan = make_plan(config, panel, BacktestConfig(2, 2 * STEP, 1))
    sizes = [len(refit.data.train.series) for refit in plan.refits]
    assert sizes[0] < 130 < sizes[-1]
    assert len(plan.populations) == 2
    found = small(config=config, n_windows=2, step_size=2 * STEP, refit=True)
    rows = 2 * STEP + H
    own = (
        Forecaster(config.replace({"data.test_size": rows}), network=Linear)
        .fit(PLAIN)
        .predict(without_last(PLAIN, rows))
    )
    pd.testing.assert_frame_equal(own, of_cutoff(found, 1), rtol=1e-5)


def test_metrics_by_cutoff():
    panel = panel_from_table(PLAIN, SMALL.data)
    settings = BacktestConfig(3, STEP, 1)
    plan = make_plan(SMALL, panel, settings, network=Linear)
    fitted = backtest.train_refits(plan, Linear, None)
    assert all(isinstance(one, Fitted) for one in fitted)
    evaluation = backtest.evaluate_backtest(plan, fitted, Linear, baselines={"zero": lambda history, h: np.zeros(h)})
    by = evaluation.by("cutoff")
    table = evaluation.table
    for (cutoff, model), row in by.set_index(["key", "model"]).iterrows():
        of = table[table["cutoff"] == cutoff]
        assert row["mae"] == pytest.approx(METRICS["mae"](of["y"].to_numpy(), of[model].to_numpy()))
        assert row["n"] == len(of)
    assert by["model"].unique().tolist() == ["lstm", "naive", "seasonal_naive", "zero"]
    assert set(evaluation.metrics["baselines"]) == {"naive", "seasonal_naive", "zero"}
    assert dataclasses.asdict(settings)["refit"] == 1
