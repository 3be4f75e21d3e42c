"""What differs by rounding alone is constant or repeats itself; what is small is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstmjax.data.rounding import constant, precision, repeats

T = np.arange(1000.0)
WAVE = np.sin(T * np.pi / 12)
RANDOM = np.random.default_rng(0).normal(size=1000)

REPEATED = {
    "float64": WAVE,
    "with a level": 10 + WAVE,
    "float32": (10 + WAVE).astype(np.float32).astype(float),
    "computed in float32": np.sin(T.astype(np.float32) * np.float32(np.pi / 12)).astype(float),
    "a level of 1e9": 1e9 + WAVE,
    "a level of 1e9 in float32": (1e9 + 1000 * WAVE).astype(np.float32).astype(float),
    "tiny": 1e-12 * (3 + WAVE),
    "huge": 1e30 * (3 + WAVE),
    "whole numbers": T % 24,
    "long": np.sin(np.arange(200_000.0) * np.pi / 12),
    "with gaps": np.where(RANDOM > 1, np.nan, WAVE),
    "constant": np.full(1000, 0.1),
    "one season and a bit": WAVE[:30],
}

CHANGED = {
    "noise": WAVE + 1e-6 * RANDOM,
    "noise of 1e-12 of everything": 1e-12 * RANDOM,
    "a level of 1e9": 1e9 + 0.1 * RANDOM,
    "a level of 1 and a 1e-9 of it": 1 + 1e-9 * RANDOM,
    "one row": WAVE + (T == 500),
    "whole numbers, one row": 1e6 + T % 24 + (T == 500),
    "a slow trend": WAVE + 1e-7 * T,
    "a slow trend in float32": (10 + WAVE + 1e-5 * T).astype(np.float32).astype(float),
    "halves": 1000 + 0.5 * (RANDOM > 0),
    "a random walk": np.cumsum(RANDOM),
}


@pytest.mark.parametrize("kind", REPEATED)
def test_a_series_that_repeats_itself_is_found(kind):
    assert repeats(REPEATED[kind][:, None], 24).tolist() == [True]


@pytest.mark.parametrize("kind", CHANGED)
def test_a_series_that_changes_is_not_taken_for_one_that_repeats_itself(kind):
    assert repeats(CHANGED[kind][:, None], 24).tolist() == [False]
    assert not constant(CHANGED[kind])


def test_each_column_is_looked_at_by_itself():
    both = np.stack([WAVE, CHANGED["noise"]], axis=1)
    assert repeats(both, 24).tolist() == [True, False]
    assert repeats(both, 23).tolist() == [False, False]


@pytest.mark.parametrize("level", [0.1, 1.0, 7e8, 1e-30, -3.3])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_a_constant_with_rounding_is_constant(level, kind):
    steps = np.random.default_rng(1).integers(-1, 2, 50)
    values = (kind(level) + steps * np.spacing(kind(level))).astype(float)
    assert constant(values)
    assert not constant(values * (1 + 1e-5 * np.arange(50)))


def test_jax_finds_the_same():
    values = np.stack([WAVE, np.full(1000, 0.1), 5 + T % 2, 1e6 + T % 2], axis=1).astype(np.float32)
    values[::7] = np.nan
    np.testing.assert_array_equal(jax.jit(constant)(jnp.asarray(values)), constant(values.astype(float)))
    np.testing.assert_array_equal(jax.jit(precision)(jnp.asarray(values)), precision(values.astype(float)))


def test_nothing_observed_is_constant():
    assert constant(np.full(3, np.nan))
    assert constant(np.empty((0, 2))).tolist() == [True, True]
    assert repeats(np.empty((0, 2)), 24).tolist() == [True, True]
    assert repeats(np.full((30, 1), np.nan), 24).tolist() == [True]
