"""The published figures of the naive baselines, from named dataset to metric: they hold the protocols in place."""

import numpy as np
import pytest

from lstmjax.config import DataConfig
from lstmjax.data import datasets, frames, origins, panel_from_table, scaling_fit, split, unscaling
from lstmjax.evaluation import metrics
from lstmjax.evaluation.baselines import BASELINES


def evaluated(name):
    """Config, panel, split and test windows of a named dataset with its own settings."""
    config = DataConfig(dataset=name, **datasets.settings(name))
    table = panel_from_table(datasets.load(name), config)
    parts, _, _ = split.split_panel(table, config, with_test=True)
    return config, table, parts, origins.test_windows(parts, h=config.h)


@pytest.mark.parametrize(("baseline", "mse", "mae"), [("naive", 1.2944, 0.7132), ("seasonal_naive", 0.5122, 0.4333)])
def test_etth1(public_data, baseline, mse, mae):
    public_data("ETTh1.csv")
    config, table, parts, test = evaluated("etth1")
    assert len(test.origin) == 7 * 2785
    forecast = BASELINES[baseline](
        table.y, table.offsets, test.series, test.origin, h=config.h, season_length=config.season_length
    )
    statistics = scaling_fit.fit_scaling(table, parts, config)
    truth, forecast = (
        unscaling.scale_targets(values, test.series, statistics)
        for values in (frames.truth(table, test, config.h), forecast)
    )
    assert metrics.mse(truth, forecast) == pytest.approx(mse, abs=5e-5)
    assert metrics.mae(truth, forecast) == pytest.approx(mae, abs=5e-5)


def test_m4_hourly(public_data):
    public_data("M4-Hourly-train.csv", "M4-Hourly-test.csv")
    config, table, parts, test = evaluated("m4_hourly")
    assert len(test.origin) == 414
    forecast = BASELINES["seasonal_naive"](
        table.y, table.offsets, test.series, test.origin, h=config.h, season_length=config.season_length
    )
    scale = np.stack(
        [
            metrics.seasonal_scale(table.y[start : start + rows], config.season_length)
            for start, rows in zip(table.offsets, parts.val_end, strict=False)
        ]
    )
    truth = frames.truth(table, test, config.h)
    smape, mase = metrics.smape(truth, forecast), metrics.mase(truth, forecast, scale, test.series)
    assert smape == pytest.approx(13.912, abs=5e-4)
    assert mase == pytest.approx(1.193, abs=5e-4)
    assert (smape / 18.383 + mase / 2.395) / 2 == pytest.approx(0.628, abs=5e-4)


def test_elecdemand_seasonal_naive_one_week_back():
    config, table, _, test = evaluated("elecdemand")
    assert len(test.origin) == 1921
    forecast = BASELINES["seasonal_naive"](
        table.y, table.offsets, test.series, test.origin, h=config.h, season_length=config.season_length
    )
    assert metrics.mae(frames.truth(table, test, config.h), forecast) == pytest.approx(0.334, abs=5e-4)
