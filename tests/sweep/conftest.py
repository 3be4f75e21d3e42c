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
from lstmjax.sweep import Space, Trial, train_block
from lstmjax.window import Forecast, lookback_features

ROWS = 110


class Tiny(nnx.Module):
    """Two dense layers with dropout between them, in the place of the direct network."""

    def __init__(self, spec, config, *, rngs):
        self.spec = spec
        self.dropout = nn.Hyperparameter(jnp.float32(config.dropout)) if config.dropout > 0.0 else 0.0
        self.mask = nn.Dropout(self.dropout)
        self.below = nnx.Linear(spec.input_size * spec.in_features, config.hidden_size, rngs=rngs)
        self.above = nnx.Linear(config.hidden_size, spec.h * spec.targets, rngs=rngs)

    def __call__(self, window, *, rngs=None, deterministic=None):
        flat = lookback_features(window).reshape(window.y.shape[0], -1)
        hidden = self.mask(jnp.tanh(self.below(flat)), rngs=rngs, deterministic=deterministic)
        return Forecast(self.above(hidden).reshape(-1, self.spec.h, self.spec.targets, 1))


# Every traced option has a part in this one program, which all tests share: two lanes, and these sizes.
BASE = RunConfig().replace(
    {
        "data.h": 2,
        "data.input_size": 6,
        "data.val_size": 20,
        "data.test_size": 12,
        "data.season_length": 8,
        "model.alias": "tiny",
        "model.name": "direct",
        "model.instance_norm": "none",
        "model.instance_scale": "none",
        "model.hidden_size": 3,
        "optimizer.name": "rmsprop",
        "optimizer.learning_rate": 0.01,
        "optimizer.schedule": "exponential",
        "optimizer.warmup_steps": 2,
        "optimizer.decay_steps": 20,
        "optimizer.clip_value": 0.5,
        "train.max_steps": 27,
        "train.batch_size": 12,
        "train.val_check_steps": 3,
        "train.chunk_steps": 9,
        "train.early_stop_patience_steps": -1,
        "train.loss": "huber",
    }
)

TRACED = {
    "optimizer.learning_rate": 0.03,
    "optimizer.warmup_steps": 5,
    "optimizer.decay_rate": 0.1,
    "optimizer.decay_steps": 3,
    "optimizer.momentum": 0.5,
    "optimizer.weight_decay": 0.3,
    "optimizer.clip_norm": 0.05,
    "optimizer.clip_value": 0.01,
    "train.huber_delta": 0.2,
    "train.seed": 7,
    "model.dropout": 0.5,
}
"""Another value for each traced option that has a part in the program."""

SPACE = Space.from_dict({name: {"type": "choice", "values": [value, 1]} for name, value in TRACED.items()})


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


def train(panel, trials, *, base=BASE, space=SPACE, population=2, **options):
    """A block of trials, two members at a time."""
    return train_block(base, panel, space, trials, population=population, **options)


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
        yield types.SimpleNamespace(
            base=BASE, space=SPACE, traced=TRACED, table=table, train=train, trials_at=trials_at, same_bytes=same_bytes
        )


@pytest.fixture(scope="session")
def compilations():
    """The programs compiled so far, one entry each."""
    compiled = []

    def listen(event, duration, **details):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return compiled
