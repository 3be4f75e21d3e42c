"""Metrics of arrays by hand."""

import math
import subprocess
import sys

import numpy as np
import pytest

from lstmjax.evaluation import metrics

NAN = np.nan


def test_values_by_hand():
    y, forecast = np.array([1.0, -2.0, 4.0]), np.array([2.0, -2.0, 1.0])
    assert metrics.mse(y, forecast) == pytest.approx(10 / 3)
    assert metrics.rmse(y, forecast) == pytest.approx(math.sqrt(10 / 3))
    assert metrics.mae(y, forecast) == pytest.approx(4 / 3)
    assert metrics.smape(y, forecast) == pytest.approx((200 / 3 + 0 + 600 / 5) / 3)


def test_smape_spans_0_to_200():
    assert metrics.smape(np.array([0.0, 5.0]), np.array([0.0, 5.0])) == 0
    assert metrics.smape(np.array([1.0, -3.0]), np.array([-1.0, 0.0])) == 200


@pytest.mark.parametrize("metric", [metrics.mse, metrics.rmse, metrics.mae, metrics.smape])
def test_missing_truth_does_not_count_and_missing_forecast_does(metric):
    y, forecast = np.array([1.0, NAN, 3.0]), np.array([2.0, 7.0, 5.0])
    assert metric(y, forecast) == metric(y[[0, 2]], forecast[[0, 2]])
    assert math.isnan(metric(y, np.array([2.0, 7.0, NAN])))
    assert math.isnan(metric(np.array([NAN]), np.array([1.0])))


@pytest.mark.parametrize("metric", [metrics.mse, metrics.mae, metrics.smape])
def test_shapes_never_broadcast(metric):
    with pytest.raises(ValueError, match=r"y has shape \(3, 1\) and forecast \(1, 3\)"):
        metric(np.zeros((3, 1)), np.zeros((1, 3)))


def test_float32_sums_lose_nothing():
    y = np.full(3_000_000, 0.1, np.float32)
    assert metrics.mae(y, np.zeros_like(y)) == pytest.approx(0.1, rel=1e-7)


def test_seasonal_scale_by_hand():
    y = np.array([[1.0, 1.0], [5.0, NAN], [2.0, 4.0], [8.0, 0.0], [NAN, 1.0]])
    np.testing.assert_allclose(metrics.seasonal_scale(y, 2), [(1 + 3) / 2, (3 + 3) / 2])
    assert np.isnan(metrics.seasonal_scale(y, 5)).all()


def test_mase_scales_each_series_then_averages():
    y = np.array([[[1.0], [1.0]], [[2.0], [NAN]], [[3.0], [3.0]]])
    forecast = np.array([[[2.0], [3.0]], [[5.0], [9.0]], [[4.0], [5.0]]])
    # series 0: errors 1, 2, 3 in units of 4; series 1: errors 1, 2 in units of 0.5
    value = metrics.mase(y, forecast, scale=np.array([[4.0], [0.5]]), series=np.array([0, 0, 1]))
    assert value == pytest.approx((2 / 4 + 1.5 / 0.5) / 2)


def test_mase_leaves_out_series_that_cannot_be_scaled():
    y, forecast = np.ones((3, 1, 1)), np.zeros((3, 1, 1))
    scale = np.array([[2.0], [0.0], [NAN]])
    assert metrics.mase(y, forecast, scale, series=np.array([0, 1, 2])) == 0.5
    assert math.isnan(metrics.mase(y[1:], forecast[1:], scale, series=np.array([1, 2])))


def test_metrics_of_arrays_need_no_pandas():
    code = "import sys, lstmjax.evaluation.metrics; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
