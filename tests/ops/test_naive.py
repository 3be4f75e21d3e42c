"""The naive forecasts, against a plain loop over what was observed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmjax.ops.naive import repeat_last, seasonal_naive

_repeat_last = jax.jit(repeat_last, static_argnums=2)
_seasonal_naive = jax.jit(seasonal_naive, static_argnums=(2, 3))


def _last(y, mask):
    observed = np.flatnonzero(mask)
    return y[observed[-1]] if len(observed) else 0.0


def _seasonal(y, mask, h, season_length):
    forecast = []
    for step in range(h):
        rows = [len(y) + step - season_length * season for season in range(1, len(y) + h + 1)]
        earlier = [row for row in rows if 0 <= row < len(y) and mask[row]]
        forecast.append(y[earlier[0]] if earlier else _last(y, mask))
    return forecast


SHAPES = ((12, 9, 5), (7, 3, 1), (4, 6, 6), (1, 2, 3))  # length, h, season_length: each is a program to compile


@given(st.sampled_from(SHAPES), st.floats(0, 1), st.integers(0, 10_000))
def test_both_take_the_nearest_value_that_was_observed(shape, share, seed):
    length, h, season_length = shape
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(3, length, 2)).astype(np.float32)
    mask = rng.random(y.shape) < share
    last = _repeat_last(jnp.asarray(y), jnp.asarray(mask), h)
    seasonal = _seasonal_naive(jnp.asarray(y), jnp.asarray(mask), h, season_length)
    assert last.dtype == seasonal.dtype == jnp.float32
    last, seasonal = np.asarray(last), np.asarray(seasonal)
    for batch, channel in np.ndindex(3, 2):
        series, seen = y[batch, :, channel], mask[batch, :, channel]
        np.testing.assert_array_equal(last[batch, :, channel], [_last(series, seen)] * h)
        np.testing.assert_array_equal(seasonal[batch, :, channel], _seasonal(series, seen, h, season_length))


def test_a_season_longer_than_the_lookback_leaves_the_last_value():
    y = jnp.arange(1.0, 4.0).reshape(1, 3, 1)
    forecast = _seasonal_naive(y, jnp.ones_like(y, bool), 6, 5)
    assert forecast[0, :, 0].tolist() == [3.0, 3.0, 1.0, 2.0, 3.0, 3.0]


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises((TypeError, ValueError)):
        repeat_last(jnp.zeros((2, 5, 1)), jnp.ones((2, 4, 1), bool), 3)
