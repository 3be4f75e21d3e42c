"""Validation on some of the windows: how many, which, and that the metrics of the end take all."""

import numpy as np
import pandas as pd
import pytest

from lstmjax import Forecaster, RunConfig
from lstmjax.config import TrainConfig
from lstmjax.data.windows import Windows
from lstmjax.training import evenly_spaced, val_windows

CONFIG = RunConfig().replace(
    {
        "data.h": 3,
        "data.input_size": 6,
        "data.season_length": 3,
        "model.hidden_size": 3,
        "train.max_steps": 4,
        "train.val_check_steps": 2,
        "train.batch_size": 16,
    }
)


def windows(count):
    return Windows(np.repeat(np.arange(3, dtype=np.int32), count // 3), np.arange(count, dtype=np.int32))


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 1920),  # three tenths of 100 x 64
        ({"val_check_steps": 10, "batch_size": 8}, 256),  # at least so many
        ({"val_check_steps": 1000, "batch_size": 512}, 153_600),
        ({"val_windows": 7}, 7),
        ({"val_windows": 0}, 0),
    ],
)
def test_a_check_takes_a_tenth_of_the_time_between_checks(options, count):
    assert val_windows(TrainConfig(**options)) == count


def test_windows_are_evenly_spaced_over_all_series():
    some = evenly_spaced(windows(300), 30)
    assert some.origin.tolist() == list(range(0, 300, 10))
    assert np.bincount(some.series).tolist() == [10, 10, 10]
    assert len(np.unique(evenly_spaced(windows(300), 299).origin)) == 299
    for all_of_them in (0, 300, 1000):
        assert evenly_spaced(windows(300), all_of_them).origin.tolist() == list(range(300))


def test_validation_looks_at_those_and_evaluation_at_every_window(calls):
    y = np.sin(np.arange(400) / 2) + 0.2 * np.random.default_rng(0).normal(size=400)
    table = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=400, freq="h"), "y": y})
    losses, tables = {}, {}
    for asked in (0, 1000, 5):
        config = CONFIG.replace({"train.val_windows": asked, "data.test_size": 60})
        checks: list = []
        forecaster = Forecaster(config).fit(table, val_size=100, callbacks=[calls(on_check=checks.append)])
        losses[asked] = [float(check.val_loss[0]) for check in checks]
        tables[asked] = forecaster.evaluate(table)
        assert forecaster.fitted.config.train.val_windows == asked
    assert losses[0] == losses[1000]
    assert losses[5] != losses[0]
    assert len(tables[5]) == len(tables[0]) == (60 - 3 + 1) * 3


def test_what_is_derived_is_stored():
    table = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=200, freq="h"), "y": np.arange(200.0) % 5})
    fitted = Forecaster(CONFIG).fit(table, val_size=50).fitted
    assert fitted.config.train.val_windows == 256
    assert fitted.config.model.segment_size == 1
    assert fitted.config.model.hidden_size == 3
