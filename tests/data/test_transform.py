"""The logarithm of positive series, weights of rows, and the numbers by which a network knows its series."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest

from lstmjax.config import DataConfig
from lstmjax.data import DataWarning, align, fit_scaling, panel_from_table, scale, scale_targets, unscale
from lstmjax.data.split import Split
from lstmjax.data.windows import Windows, gather
from lstmjax.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*empty cell.*masked", "ignore:.*the forecast begins there")


SPLIT = Split(*(np.full(2, end) for end in (30, 40, 40, 50)))


def positive(seed=0):
    return np.exp(3.0 * np.random.default_rng(seed).normal(size=(2, 50)))


@pytest.mark.parametrize("scope", ["series", "global"])
def test_the_logarithm_is_what_is_scaled_and_is_undone(series_of, scope):
    y = positive()
    y[0, 7] = np.nan
    panel = series_of(*y)
    scaling = fit_scaling(panel, SPLIT, DataConfig(transform="log", scaler_scope=scope))
    logs = np.log(y[:, :30])
    expected = [np.nanmean(row) for row in logs] if scope == "series" else [np.nanmean(logs)]
    np.testing.assert_allclose(scaling.y_center[:, 0], expected, rtol=1e-12)
    series, windows = np.array([1, 0]), y[[1, 0], 10:20][..., None]
    np.testing.assert_allclose(unscale(scale_targets(windows, series, scaling), series, scaling), windows, rtol=1e-12)
    arrays = scale(panel, scaling)
    np.testing.assert_allclose(unscale(arrays.y[None, 50:], np.array([1]), scaling)[0, :, 0], y[1], rtol=1e-5)
    assert not arrays.y_mask[7, 0]


def test_log1p_takes_zeros_and_is_undone(series_of):
    y = np.floor(positive())
    assert (y == 0).any()
    panel = series_of(*y)
    scaling = fit_scaling(panel, SPLIT, DataConfig(transform="log1p"))
    np.testing.assert_allclose(scaling.y_center[:, 0], np.log1p(y[:, :30]).mean(axis=1), rtol=1e-12)
    back = unscale(scale(panel, scaling).y[None], np.array([0]), scaling)[0, :50, 0]
    np.testing.assert_allclose(back, y[0], rtol=1e-5, atol=1e-5)
    y[1, 26] = -1.0
    with pytest.raises(DataError, match=r"'y' is -1 at 2024-01-02 02:00:00: data.transform 'log1p' needs values above"):
        fit_scaling(series_of(*y), SPLIT, DataConfig(transform="log1p"))


@pytest.mark.parametrize("value", [0.0, -2.5])
def test_a_value_without_a_logarithm_is_named(series_of, value):
    y = positive()
    y[1, 26] = value
    message = (
        rf"series 's1', column 'y' is {value:g} at 2024-01-02 02:00:00: data.transform 'log' needs positive values"
    )
    with pytest.raises(DataError, match=message):
        fit_scaling(series_of(*y), SPLIT, DataConfig(transform="log"))
    scaling = fit_scaling(series_of(*positive()), SPLIT, DataConfig(transform="log"))
    for call in (lambda panel: scale(panel, scaling), lambda panel: align(scaling, ["s0"], panel)):
        with pytest.raises(DataError, match=message):
            call(series_of(*y))


def test_new_series_are_told_from_those_trained_on(series_of):
    old = series_of(*positive())
    scaling = fit_scaling(old, SPLIT, DataConfig())
    assert scale(old, scaling).series.tolist() == [0, 1]
    names = {"s0": "new", "s1": "s1"}
    new = dataclasses.replace(old, ids=np.array([names[name] for name in old.ids], object))
    arrays = scale(new, align(scaling, old.ids, new))
    assert arrays.series.tolist() == [-1, 1]
    window, _ = gather(arrays, Windows(np.array([1, 0], np.int32), np.array([20, 20], np.int32)), input_size=5, h=3)
    assert window.series.tolist() == [1, -1]


def test_weights_come_with_the_rows_of_the_horizon(hourly):
    table = hourly(20, w=np.arange(20.0))
    with pytest.warns(DataWarning, match="1 missing time step"):
        panel = panel_from_table(table.drop(index=5), DataConfig(weight_col="w", freq="h"))
    arrays = scale(panel, fit_scaling(panel, Split(*(np.array([20]),) * 4), DataConfig()))
    cut = jax.jit(gather, static_argnames=("input_size", "h"))
    window, target = cut(arrays, Windows(np.zeros(1, np.int32), np.array([4], np.int32)), input_size=3, h=3)
    assert target.weight.tolist() == [[4.0, 0.0, 6.0]]
    assert target.mask[0, :, 0].tolist() == [True, False, True]
    assert window.y.shape == (1, 3, 1)


@pytest.mark.parametrize(("weight", "found"), [(-1.0, "-1"), (np.nan, "empty")])
def test_a_weight_must_be_there_and_not_negative(hourly, weight, found):
    table = hourly(20, w=np.ones(20))
    table.loc[3, "w"] = weight
    with pytest.raises(DataError, match=f"the table: row 3: the weight is {found}: expected a number of at least 0"):
        panel_from_table(table, DataConfig(weight_col="w"))
    table.loc[3, "y"] = np.nan
    assert panel_from_table(table, DataConfig(weight_col="w")).weight.shape == (20, 1)


def test_weights_in_the_wide_layout_are_those_of_the_rows():
    table = pd.DataFrame({"ds": np.arange(4), "a": np.ones(4), "b": np.ones(4), "w": [1.0, 2, 3, 4]})
    panel = panel_from_table(table, DataConfig(layout="wide", target_cols=("a", "b"), weight_col="w"))
    assert panel.weight[:, 0].tolist() == [1, 2, 3, 4] * 2
