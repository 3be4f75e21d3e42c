"""A table and a network so small that a population of them compiles in a moment."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx

from lstmjax import models, nn
from lstmjax.config import RunConfig
from lstmjax.data.build import panel_from_table
from lstmjax.sweep import Space, Trial
from lstmjax.window import Forecast, lookback_features

ROWS = 110


class Tiny(nnx.Module):
    """Two dense layers with dropout between them, in the place of the direct network."""

    def __init__(self, spec, config, *, rngs):
        self.spec = spec
        self.dropout = nn.Hyperparameter(jnp.float32(config.dropout)) if config.dropout > 0.0 else 0.0
        self.drop = nn.Dropout(self.dropout)
        self.below = nnx.Linear(spec.input_size * spec.in_features, config.hidden_size, rngs=rngs)
        self.above = nnx.Linear(config.hidden_size, spec.h * spec.targets, rngs=rngs)

    def __call__(self, window, *, rngs=None, deterministic=None):
        flat = lookback_features(window).reshape(window.y.shape[0], -1)
        hidden = self.drop(jnp.tanh(self.below(flat)), rngs=rngs, deterministic=deterministic)
        return Forecast(self.above(hidden).reshape(-1, self.spec.h, self.spec.targets, 1))


BASE = RunConfig().replace(
    {
        "data.h": 2,
        "data.input_size": 6,
        "data.val_size": 20,
        "data.test_size": 12,
        "data.season_length": 8,
        "model.alias": "tiny",
        "model.hidden_size": 3,
        "optimizer.learning_rate": 0.02,
        "train.max_steps": 27,
        "train.batch_size": 12,
        "train.val_check_steps": 3,
        "train.chunk_steps": 9,
        "train.early_stop_patience_steps": -1,
    }
)

RATES = Space.from_dict({"optimizer.learning_rate": {"type": "loguniform", "low": 1e-4, "high": 1.0}})


def table(rows=ROWS, seed=0, series=("a",)):
    """Positive series that differ in level and size."""
    frames = []
    for number, name in enumerate(series):
        noise = np.random.default_rng(seed + number).normal(size=rows)
        y = (number + 1) * (np.sin(np.arange(rows) * np.pi / 4) + 0.3 * noise) + 10.0 * (number + 1)
        frames.append(pd.DataFrame({"unique_id": name, "ds": pd.date_range("2024", periods=rows, freq="h"), "y": y}))
    return pd.concat(frames, ignore_index=True)


def trials_at(rates, name="optimizer.learning_rate", first=0):
    return [Trial(first + number, {name: rate}) for number, rate in enumerate(rates)]


def same_bytes(left, right):
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


@pytest.fixture(scope="session")
def panel():
    return panel_from_table(table(), BASE.data)


@pytest.fixture(scope="module")
def small():
    """What several files of tests use; while they run, the direct network is `Tiny`."""
    with pytest.MonkeyPatch.context() as patch:
        # The alias in their config tells their compiled programs from those of others.
        patch.setitem(models.NETWORKS, "direct", Tiny)
        yield types.SimpleNamespace(base=BASE, rates=RATES, table=table, trials_at=trials_at, same_bytes=same_bytes)
