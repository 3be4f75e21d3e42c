"""The evaluation of a forecaster: units of scaled metrics, series without a MASE, tables by series, target and step."""

import warnings

import numpy as np
import pandas as pd
import pytest

from lstmjax import Forecaster, RunConfig
from lstmjax.data.table import DataWarning
from lstmjax.errors import ConfigError
from lstmjax.evaluation import metrics

CONFIG = RunConfig.from_json('{"format_version": 1}').replace(  # direct, constant rate, squared error
    {
        "data.h": 2,
        "data.input_size": 4,
        "data.val_size": 4,
        "data.test_size": 20,
        "data.season_length": 7,
        "model.hidden_size": 2,
        "model.head_size": 0,
        "train.max_steps": 1,
        "train.batch_size": 4,
        "train.batch_shards": 1,
    }
)
T = np.arange(120)
NOISE = np.random.default_rng(0).normal(size=(3, 120))


def table(**columns):
    """A series per keyword."""
    times = pd.date_range("2024-01-01", periods=120)
    return pd.concat([pd.DataFrame({"unique_id": name, "ds": times, "y": y}) for name, y in columns.items()])


def evaluation(given, **options):
    forecaster = Forecaster(CONFIG.replace(options)).fit(given)
    return forecaster.evaluate_panel(forecaster.panel(given))


@pytest.fixture(scope="module")
def two_targets():
    given = table(a=10 + NOISE[0], b=20 + NOISE[1])
    config = {"data.target_cols": ("y", "z")}
    return evaluation(given.assign(z=1000 * np.concatenate([NOISE[2], NOISE[0]])), **config)


@pytest.mark.parametrize(
    "options",
    [
        {"data.scaler": "standard"},
        {"data.scaler": "minmax"},
        {"data.scaler": "robust", "data.scaler_scope": "global"},
        {"data.scaler": "none"},
        {"data.transform": "log"},
        {"data.transform": "log1p", "data.scaler": "minmax", "data.scaler_scope": "global"},
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
def test_scaled_metrics_are_in_units_of_the_training_rows_deviation(options):
    given = table(a=10 + NOISE[0], b=50 + 7 * NOISE[1])
    found = evaluation(given, **options)
    deviation = found.table["unique_id"].map({"a": NOISE[0, :96].std(), "b": 7 * NOISE[1, :96].std()})
    for name, scaled in {"lstm": found.metrics["test_scaled"], **found.metrics["baselines_scaled"]}.items():
        error = (found.table["y"] - found.table[name]) / deviation
        assert scaled["mse"] == pytest.approx((error**2).mean(), rel=1e-9)
        assert scaled["mae"] == pytest.approx(error.abs().mean(), rel=1e-9)


WAVE = np.sin(T * 2 * np.pi / 7)


@pytest.mark.parametrize(
    "wave",
    [10 + WAVE, (10 + WAVE).astype(np.float32), 1e9 + WAVE, 1e-12 * (3 + WAVE), T % 7, np.full(120, 0.1)],
    ids=["float64", "float32", "1e9", "1e-12", "whole", "constant"],
)
def test_a_series_that_repeats_itself_has_no_mase_and_is_named(wave):
    noisy = 10 + WAVE + 0.1 * NOISE[0]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "constant over the training rows")
        both = evaluation(table(wave=wave, noisy=noisy))
        alone = evaluation(table(wave=wave))
    left_out = r"MASE leaves out the series .* over 7 rows: 'wave' \('y' repeats itself\)$"
    with pytest.warns(DataWarning, match=left_out):
        assert np.isnan(alone.metrics["test"]["mase"])
    with pytest.warns(DataWarning, match=left_out):
        naive = both.metrics["baselines"]["naive"]["mase"]
    assert naive == pytest.approx(evaluation(table(noisy=noisy)).metrics["baselines"]["naive"]["mase"])


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e9])
def test_a_series_that_is_small_or_has_a_level_has_a_mase_like_others(unit):
    level = 1e9 if unit == 1 else 0.0
    found = evaluation(table(a=level + unit * NOISE[0])).metrics["baselines"]["naive"]["mase"]
    assert found == pytest.approx(evaluation(table(a=NOISE[0])).metrics["baselines"]["naive"]["mase"], rel=1e-5)


def test_a_series_shorter_than_a_season_is_named_too():
    with pytest.warns(DataWarning, match=r"'a' \('y' has no two rows that far apart\)"):
        assert np.isnan(evaluation(table(a=NOISE[0]), **{"data.season_length": 110}).metrics["test"]["mase"])


def test_forecasts_without_metrics_warn_of_nothing():
    given = table(wave=10 + WAVE)
    assert len(Forecaster(CONFIG).fit(given).evaluate(given)) == 38


@pytest.mark.parametrize(("what", "column"), [("series", "unique_id"), ("target", "target"), ("horizon", None)])
def test_metrics_by_group_are_those_of_the_groups_rows(two_targets, what, column):
    rows = two_targets.table.assign(step=two_targets.table.groupby(["unique_id", "target", "cutoff"]).cumcount() + 1)
    found = two_targets.by(what)
    assert list(found.columns) == ["key", "model", *metrics.METRICS, "n"]
    groups = dict(list(rows.groupby(column or "step")))
    assert list(found["key"]) == [key for key in rows[column or "step"].unique() for _ in range(3)]
    for _, row in found.iterrows():
        part = groups[row["key"]]
        assert row["n"] == len(part)
        for name in ("mse", "rmse", "mae", "smape"):
            expected = metrics.METRICS[name](part["y"].to_numpy(), part[row["model"]].to_numpy())
            assert row[name] == pytest.approx(expected, rel=1e-12)
        scales = two_targets._scales.set_index(["unique_id", "target"])["scale"]
        error = (part["y"] - part[row["model"]]).abs().groupby([part["unique_id"], part["target"]]).mean()
        assert row["mase"] == pytest.approx((error / scales.loc[error.index]).mean(), rel=1e-12)


def test_targets_of_different_units_are_said_to_be_so(two_targets):
    found = two_targets.metrics
    assert found["mixed_units"] is True
    assert found["by_target"].keys() == {"y", "z"}
    assert found["by_target"]["z"]["mae"] > 100 * found["by_target"]["y"]["mae"]
    pooled = (found["by_target"]["y"]["mse"] + found["by_target"]["z"]["mse"]) / 2
    assert found["test"]["mse"] == pytest.approx(pooled)
    alike = evaluation(table(a=NOISE[0]).assign(z=3 * NOISE[1]), **{"data.target_cols": ("y", "z")}).metrics
    assert "mixed_units" not in alike
    assert "by_target" in alike
    one = evaluation(table(a=NOISE[0])).metrics
    assert one.keys() == {"test", "test_scaled", "baselines", "baselines_scaled"}


def test_metrics_of_ones_own_stand_beside_the_others():
    given = table(a=10 + NOISE[0], b=20 + NOISE[1])
    forecaster = Forecaster(CONFIG).fit(given)
    own = {"bias": lambda y, forecast: np.mean(forecast - y)}
    rows = forecaster.evaluate(given)
    found = forecaster.metrics(given, own=own).set_index("model")
    assert list(found.columns) == [*metrics.METRICS, "bias", "n"]
    assert found.loc["lstm", "bias"] == pytest.approx((rows["lstm"] - rows["y"]).mean())
    by_series = forecaster.metrics(given, by="series", own=own).set_index(["key", "model"])
    part = rows[rows["unique_id"] == "b"]
    assert by_series.loc[("b", "naive"), "bias"] == pytest.approx((part["naive"] - part["y"]).mean())
    with pytest.raises(ConfigError, match="the metric 'bias' returned ndarray: expected one number"):
        forecaster.metrics(given, own={"bias": lambda y, forecast: forecast - y})
    with pytest.raises(ConfigError, match="named 'mse', as another column is"):
        forecaster.metrics(given, own={"mse": own["bias"]})
    with pytest.raises(ConfigError, match="metrics by 'step' are not known: expected one of series, target, horizon"):
        forecaster.metrics(given, by="step")
