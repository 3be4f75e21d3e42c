"""A small panel and a network small enough to compile in a moment."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lstmjax.data.windows import PanelArrays, Windows
from lstmjax.training import TrainingData
from lstmjax.window import Forecast, WindowSpec, lookback_features

LOOKBACK, HORIZON, ROWS = 6, 2, 90


class Tiny(nnx.Module):
    """A linear map from the lookback to the horizon; counts how often it is traced."""

    traces = 0

    def __init__(self, spec, rngs):
        self.spec = spec
        self.linear = nnx.Linear(spec.input_size * spec.in_features, spec.h * spec.targets, rngs=rngs)

    def __call__(self, window, *, rngs=None, deterministic=None):
        Tiny.traces += 1
        flat = lookback_features(window).reshape(window.y.shape[0], -1)
        return Forecast(self.linear(flat).reshape(-1, self.spec.h, self.spec.targets, 1))


def make_arrays(y, mask=None):
    """One series with no covariates."""
    y = np.asarray(y, np.float32).reshape(len(y), -1)
    mask = np.ones_like(y, bool) if mask is None else mask
    none = np.zeros((len(y), 0), np.float32)
    return PanelArrays(
        y=np.where(mask, y, 0).astype(np.float32),
        y_mask=mask,
        hist=none,
        hist_mask=none.astype(bool),
        futr=none,
        futr_mask=none.astype(bool),
        stat=np.zeros((1, 0), np.float32),
        offsets=np.array([0, len(y)], np.int32),
    )


def make_windows(first, stop):
    """Windows of one series with origins first, first + 1, ..., stop - 1."""
    origin = np.arange(first, stop, dtype=np.int32)
    return Windows(np.zeros_like(origin), origin)


def series(rows=ROWS, seed=0):
    noise = np.random.default_rng(seed).normal(size=rows)
    return np.sin(np.arange(rows) / 3) + 0.3 * noise


@pytest.fixture(scope="session")
def data():
    """Forty-eight training windows, twenty for validation."""
    return TrainingData(
        make_arrays(series()), make_windows(6, 54), make_windows(54, 74), WindowSpec(input_size=LOOKBACK, h=HORIZON)
    )


class Build:
    """A builder of `Tiny`; one object, so that programs are shared by all tests."""

    def __init__(self, spec):
        self.spec = spec

    def __call__(self, key):
        return Tiny(self.spec, nnx.Rngs(key))


@pytest.fixture(scope="session")
def tiny(data):
    return Build(data.spec)


@pytest.fixture(scope="session")
def tools():
    """Functions that several files of tests use."""
    return types.SimpleNamespace(
        Tiny=Tiny,
        Build=Build,
        make_arrays=make_arrays,
        make_windows=make_windows,
        series=series,
        same_bytes=same_bytes,
        member=member,
        pairs_of=pairs_of,
    )


def same_bytes(left, right):
    """Whether two trees of arrays are alike to the last bit."""
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def member(tree, number):
    """One member of a tree with a leading axis of members."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[number], tree)


def pairs_of(data, windows):
    """Inputs and targets of windows, cut by hand from the panel."""
    y = np.asarray(data.arrays.y)
    length, h = data.spec.input_size, data.spec.h
    past = np.stack([y[o - length : o] for o in windows.origin])
    features = np.concatenate([past, np.ones_like(past)], axis=-1).reshape(len(past), -1)
    return jnp.asarray(features), jnp.asarray(np.stack([y[o : o + h] for o in windows.origin]))
