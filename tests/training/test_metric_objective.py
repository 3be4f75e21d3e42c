"""The number that trials are ranked by, against the metrics of evaluation, whatever the scaler."""

import contextlib

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.frames import truth
from lstmjax.data.prepare import prepare
from lstmjax.data.table import DataWarning
from lstmjax.data.transform import TRANSFORMS
from lstmjax.data.unscaling import unscale
from lstmjax.data.windows import gather
from lstmjax.errors import ConfigError
from lstmjax.evaluation import metrics, probabilistic
from lstmjax.nn import HEADS
from lstmjax.training.metric_objective import make_objective, metric_names
from lstmjax.training.objective import LEVELS, PROBABILISTIC
from lstmjax.window import Forecast, Point

ROWS = 110


def positive(series):
    """Positive series that differ in level and size."""
    frames = []
    for number, name in enumerate(series):
        noise = np.random.default_rng(number).normal(size=ROWS)
        y = (number + 1) * (np.sin(np.arange(ROWS) * np.pi / 4) + 0.3 * noise) + 10.0 * (number + 1)
        frames.append(pd.DataFrame({"unique_id": name, "ds": pd.date_range("2024", periods=ROWS, freq="h"), "y": y}))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def table():
    """Two series of different size and length, with missing values; one is constant while it is trained on."""
    found = positive(series=("a", "b", "c")).drop(range(20))
    found.loc[[60, 95, 100, 205], "y"] = np.nan
    constant = (found.unique_id == "c") & (found.groupby("unique_id").cumcount() < 78)
    return found.assign(y=found.y.where(~constant, 30.0))


def prepared(table, **options):
    config = DataConfig(h=3, input_size=6, val_size=20, test_size=12, season_length=8, **options)
    with pytest.warns(UserWarning, match="constant over the training rows"):
        return prepare(panel_from_table(table, config), config, with_test=True)


def score(metric, data, forecast):
    """The objective of scaled forecasts of the validation windows, as a check computes it."""
    left_out = pytest.warns(DataWarning, match=r"MASE leaves out .* over 8 rows: 'c' \('y' repeats itself\)$")
    with left_out if metric in ("mase", "sql") else contextlib.nullcontext():
        objective = make_objective(metric, data)
    _, target = gather(data.arrays, data.validation, input_size=6, h=3)
    series = jnp.asarray(data.validation.series)
    errors = objective.measure.errors(forecast, target.y, objective.units, series)
    mean = jnp.sum(jnp.where(target.mask, errors, 0.0)) / jnp.sum(target.mask)
    return float(objective.measure.finish(mean))


def by_hand(metric, data, forecast):
    """The same in float64, from the table."""
    y = truth(data.panel, data.validation, 3)
    values = [unscale(column, data.validation.series, data.scaling) for column in np.moveaxis(forecast, -1, 0)]
    forecast = values[0]
    series = np.asarray(data.validation.series)
    rows = zip(data.panel.offsets[:-1], data.split.train_end, strict=True)
    trained = [data.panel.y[begin : begin + count] for begin, count in rows]
    if metric in PROBABILISTIC:
        quantiles = np.stack(values, axis=-1)
        errors = probabilistic.crps(y, quantiles, LEVELS)
        if metric == "sql":
            scale = np.stack([metrics.seasonal_scale(values, 8) for values in trained])
            cells = [(n, c) for n in range(len(scale)) for c in range(scale.shape[1]) if scale[n, c] > 0]
            return np.mean([np.nanmean(errors[series == n][..., c]) / scale[n, c] for n, c in cells])
        return np.nanmean(errors) if metric == "crps" else probabilistic.wql(y, quantiles, LEVELS)
    if metric == "mase":
        scale = np.stack([metrics.seasonal_scale(values, 8) for values in trained])
        return metrics.mase(y, forecast, scale, series)
    if metric == "scaled_mae":
        deviation = np.array([np.nanstd(values) for values in trained])
        deviation[deviation < 1e-9] = 1.0
        return float(np.nanmean(np.abs(y - forecast) / deviation[series, None, None]))
    return getattr(metrics, metric)(y, forecast)


@pytest.mark.filterwarnings("ignore:.*empty cells")
@pytest.mark.parametrize("metric", metric_names())
@pytest.mark.parametrize(
    "options",
    [{}, {"scaler": "minmax", "scaler_scope": "global"}, {"scaler": "none"}, {"transform": "log"}],
    ids=["standard", "global minmax", "none", "log"],
)
def test_metrics_are_those_of_evaluation(table, metric, options):
    data = prepared(table, **options)
    noise = np.random.default_rng(0).normal(size=(len(data.validation.series), 3, 1)).astype(np.float32)
    parameters = 0.3 * noise[..., None]
    if metric in PROBABILISTIC:
        parameters = parameters + np.linspace(-1, 1, 9, dtype=np.float32)
    forecast = Forecast(jnp.asarray(parameters), HEADS["quantile"](LEVELS) if metric in PROBABILISTIC else Point())
    assert score(metric, data, forecast) == pytest.approx(by_hand(metric, data, parameters), rel=1e-4)


@pytest.mark.filterwarnings("ignore:.*empty cells")
@pytest.mark.parametrize("metric", PROBABILISTIC)
def test_metrics_of_distributions_are_means_over_the_targets(metric):
    table = positive(series=("a", "b"))
    config = DataConfig(h=3, input_size=6, val_size=20, test_size=12, season_length=8, target_cols=("y", "z"))
    table.loc[60:70, "y"] = np.nan
    data = prepare(panel_from_table(table.assign(z=1e3 + 9 * table["y"]), config), config, with_test=True)
    noise = np.random.default_rng(0).normal(size=(len(data.validation.series), 3, 2, 1)).astype(np.float32)
    parameters = 0.3 * noise + np.linspace(-1, 1, 9, dtype=np.float32)
    forecast = Forecast(jnp.asarray(parameters), HEADS["quantile"](LEVELS))
    objective = make_objective(metric, data)
    _, target = gather(data.arrays, data.validation, input_size=6, h=3)
    errors = objective.measure.errors(forecast, target.y, objective.units, jnp.asarray(data.validation.series))
    found = objective.measure.finish(jnp.sum(jnp.where(target.mask, errors, 0.0)) / jnp.sum(target.mask))
    assert float(found) == pytest.approx(by_hand(metric, data, parameters), rel=1e-4)


@pytest.mark.filterwarnings("ignore:.*constant over the training rows", "ignore:.*MASE leaves out")
def test_targets_of_nothing_but_zeros_have_no_wql():
    config = DataConfig(h=3, input_size=6, val_size=20, test_size=12)
    data = prepare(panel_from_table(positive(series=("a",)).assign(y=0.0), config), config, with_test=True)
    with pytest.raises(ConfigError, match=r"metric is 'wql', .* and those of 'y' are all 0: choose crps"):
        make_objective("wql", data)


def test_the_metrics_are_those_of_evaluation_and_the_transforms_are_undone_by_jax_too():
    assert metric_names() == ["scaled_mae", *metrics.METRICS, *probabilistic.QUANTILE_METRICS]
    values = np.array([0.5, 2.0])
    for transform in TRANSFORMS.values():
        np.testing.assert_allclose(transform.inverse(jnp.asarray(transform.forward(values))), values, rtol=1e-6)
