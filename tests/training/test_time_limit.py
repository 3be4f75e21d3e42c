"""A run that is limited in time ends in good order, and is resumed to the bytes of one that was not."""

import time

import numpy as np
import pandas as pd

from lstmjax import Forecaster, RunConfig
from lstmjax.training import Status, TimeLimit

CONFIG = RunConfig().replace(
    {
        "data.h": 3,
        "data.input_size": 6,
        "data.season_length": 3,
        "model.hidden_size": 3,
        "train.max_steps": 60,
        "train.val_check_steps": 5,
        "train.batch_size": 16,
        "train.chunk_steps": 2,
        "train.early_stop_patience_steps": -1,
        "train.batch_shards": 1,
    }
)


def table():
    y = np.sin(np.arange(200) / 2) + 0.2 * np.random.default_rng(0).normal(size=200)
    return pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=200, freq="h"), "y": y})


def test_the_clock_starts_with_training(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    limit = TimeLimit(10.0)
    now[0] = 200.0
    limit.on_start(Status(0, 60, 0.0, np.zeros(1, np.float32)))
    assert not limit.should_stop()
    now[0] = 210.0
    assert limit.should_stop()


def test_it_ends_in_good_order_and_is_resumed_to_the_same_bytes(tmp_path):
    whole = Forecaster(CONFIG).fit(table(), val_size=30)
    limited = Forecaster(CONFIG.replace({"train.max_seconds": 1e-6})).fit(
        table(), val_size=30, directory=tmp_path / "r"
    )
    assert limited.fitted.summary["steps"] == 2  # one chunk
    assert np.isfinite(limited.predict()["lstm"]).all()
    resumed = Forecaster(CONFIG).resume(tmp_path / "r", table())
    assert resumed.fitted.config.train.max_seconds == 1e-6  # left out is no change
    assert resumed.fitted.summary["steps"] == 4
    last = Forecaster(CONFIG.replace({"train.max_seconds": 1000.0})).resume(tmp_path / "r", table())
    assert last.fitted.summary["steps"] == 60
    for name, weights in whole.fitted.selected.weights.params.items():
        assert np.array_equal(weights, last.fitted.selected.weights.params[name])
    assert last.predict().equals(whole.predict())
