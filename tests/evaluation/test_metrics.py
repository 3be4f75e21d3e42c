"""Metrics by hand, against utilsforecast on the written table, and against M4's published figures."""

import math

import numpy as np
import pandas as pd
import pytest
import utilsforecast.losses

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


def windows_table(lengths, h, missing, seed=0):
    """Histories of some series, and the table of their windows as a run writes it."""
    random = np.random.default_rng(seed)
    history, rows = [], []
    for name, windows in lengths.items():
        y = random.normal(10, 3, 40)
        history.append(pd.DataFrame({"unique_id": name, "ds": np.arange(40), "y": y}))
        for cutoff in range(39, 39 + windows):
            truth = np.where(random.random(h) < missing, NAN, random.normal(10, 3, h))
            steps = np.arange(cutoff + 1, cutoff + 1 + h)
            row = {"unique_id": name, "ds": steps, "cutoff": cutoff, "y": truth}
            rows.append(pd.DataFrame(row | {m: random.normal(10, 3, h) for m in ("lstm", "naive")}))
    return pd.concat(history, ignore_index=True), pd.concat(rows, ignore_index=True)


def scales_of(history, season_length):
    return pd.DataFrame(
        [
            {"unique_id": name, "scale": metrics.seasonal_scale(group[["y"]].to_numpy(), season_length)[0]}
            for name, group in history.groupby("unique_id")
        ]
    )


def by_utilsforecast(history, table, model, season_length):
    """What anybody gets from ``test_forecasts.csv.gz`` with the library's own averages, for series of equal length."""
    losses, windows = utilsforecast.losses, table.drop(columns="cutoff")
    pooled = windows.assign(unique_id="all")
    return {
        "mse": losses.mse(windows, [model])[model].mean(),
        "rmse": losses.rmse(pooled, [model])[model].item(),
        "mae": losses.mae(windows, [model])[model].mean(),
        "smape": 200 * losses.smape(windows, [model])[model].mean(),
        "mase": losses.mase(windows, [model], season_length, history)[model].mean(),
    }


def test_table_agrees_with_utilsforecast(tmp_path):
    history, table = windows_table({"b": 6, "a": 6, "c": 6}, h=5, missing=0)
    table.to_csv(tmp_path / "test_forecasts.csv.gz", index=False)
    written = pd.read_csv(tmp_path / "test_forecasts.csv.gz")
    ours = metrics.table_metrics(table, ["lstm", "naive"], scales_of(history, 4))
    for model in ("lstm", "naive"):
        assert ours[model] == pytest.approx(by_utilsforecast(history, written, model, 4), abs=1e-6)


def test_table_agrees_with_the_array_metrics_on_unequal_series_with_gaps():
    history, table = windows_table({"b": 2, "a": 7}, h=5, missing=0.3)
    scales = scales_of(history, 4)
    ours = metrics.table_metrics(table, ["lstm"], scales)["lstm"]
    y, forecast = (table[name].to_numpy().reshape(-1, 5, 1) for name in ("y", "lstm"))
    scale = scales.set_index("unique_id")["scale"].loc[["b", "a"]].to_numpy()[:, None]
    expected = {name: getattr(metrics, name)(y, forecast) for name in ("mse", "rmse", "mae", "smape")}
    expected["mase"] = metrics.mase(y, forecast, scale, np.repeat([0, 1], [2, 7]))
    assert ours == pytest.approx(expected, rel=1e-12)


def test_several_targets_have_scales_of_their_own():
    table = pd.DataFrame(
        {"station": ["s", "s"], "target": ["OT", "HUFL"], "y": [1.0, 1.0], "lstm": [3.0, 5.0], "naive": [1.0, 1.0]}
    )
    scales = pd.DataFrame({"station": ["s", "s"], "target": ["HUFL", "OT"], "scale": [8.0, 1.0]})
    ours = metrics.table_metrics(table, ["lstm", "naive"], scales, id_col="station")
    assert ours["lstm"]["mase"] == pytest.approx((2 / 1 + 4 / 8) / 2)
    assert ours["naive"] == dict.fromkeys(metrics.METRICS, 0.0)


def test_unanswered_row_makes_the_model_nan_and_no_other():
    history, table = windows_table({"a": 3}, h=2, missing=0)
    table.loc[1, "lstm"] = NAN
    ours = metrics.table_metrics(table, ["lstm", "naive"], scales_of(history, 1))
    assert all(math.isnan(value) for value in ours["lstm"].values())
    assert all(math.isfinite(value) for value in ours["naive"].values())


def test_unanswered_row_without_truth_does_not_matter():
    history, table = windows_table({"a": 3}, h=2, missing=0)
    table.loc[1, ["y", "lstm"]] = NAN
    assert math.isfinite(metrics.table_metrics(table, ["lstm"], scales_of(history, 1))["lstm"]["mae"])


def test_table_without_any_truth():
    history, table = windows_table({"a": 3}, h=2, missing=1)
    ours = metrics.table_metrics(table, ["lstm"], scales_of(history, 1))
    assert all(math.isnan(value) for value in ours["lstm"].values())


def test_missing_column_is_named():
    history, table = windows_table({"a": 1}, h=1, missing=0)
    with pytest.raises(ValueError, match="forecasts has no column 'gru'"):
        metrics.table_metrics(table, ["gru"], scales_of(history, 1))
    with pytest.raises(ValueError, match="scales has no column 'scale'"):
        metrics.table_metrics(table, ["lstm"], table)
