"""A distribution given by some of its quantiles: straight lines between them, exponential tails beyond them.

With levels a_1 < ... < a_K and values v_1 ≤ ... ≤ v_K the quantile function is linear between two levels. Beyond the
outermost it continues as that of an exponential distribution through the last two:
v_K + b log((1 - a_K) / (1 - q)), where b = (v_K - v_{K-1}) / log((1 - a_{K-1}) / (1 - a_K)), and mirrored below (as
`ExponentialTailApproximation` of GluonTS). A single quantile is a distribution with that value only.

All functions are elementwise: values have the shape (..., K), levels are a tuple.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

Levels = tuple[float, ...]
"""Fractions between 0 and 1, ascending."""


class _Tails(NamedTuple):
    """The scales of both exponential tails, shape (...)."""

    low: Array
    high: Array


def _tails(values: Float[Array, "*S K"], levels: Levels) -> _Tails:
    if len(levels) == 1:
        return _Tails(jnp.zeros_like(values[..., 0]), jnp.zeros_like(values[..., 0]))
    low = (values[..., 1] - values[..., 0]) / np.log(levels[1] / levels[0])
    high = (values[..., -1] - values[..., -2]) / np.log((1 - levels[-2]) / (1 - levels[-1]))
    return _Tails(low, high)


def _segments(values: Float[Array, "*S K"], levels: Levels) -> tuple[np.ndarray, np.ndarray, Array, Array]:
    """Between each two quantiles: the level it begins at, its share, the value it begins at, its length."""
    start, share = np.asarray(levels[:-1]), np.diff(levels)
    return start.astype(values.dtype), share.astype(values.dtype), values[..., :-1], jnp.diff(values, axis=-1)


@functools.partial(jax.jit, static_argnums=1)
def interpolated_quantile(values: Float[Array, "*S K"], levels: Levels, q: ArrayLike) -> Array:
    """The value below which a fraction ``q`` lies: it never falls where ``q`` rises.

    Args:
        values: ascending.
        levels: of the values.
        q: broadcasts against (...,); 0 and 1 give minus and plus infinity where the tails have a length.
    """
    q = jnp.asarray(q, values.dtype)
    start, share, _, length = _segments(values, levels)
    tails = _tails(values, levels)
    # A sum of terms that all rise with q, so that rounding cannot make it fall.
    inside = jnp.sum(length * jnp.clip((q[..., None] - start) / share, 0.0, 1.0), axis=-1)
    below = jnp.log(jnp.minimum(q / levels[0], 1.0))
    above = -jnp.log(jnp.minimum((1 - q) / (1 - levels[-1]), 1.0))
    value = values[..., 0] + inside + _times(tails.low, below) + _times(tails.high, above)
    return jnp.where((q >= 0) & (q <= 1), value, jnp.nan)


def _times(scale: Array, log: Array) -> Array:
    """The product; 0 where the scale is, whatever the logarithm."""
    return scale * jnp.where(scale > 0, log, 0.0)


@functools.partial(jax.jit, static_argnums=1)
def interpolated_cdf(values: Float[Array, "*S K"], levels: Levels, y: ArrayLike) -> Array:
    """The fraction of at most ``y``, which broadcasts against (...,): the inverse of `interpolated_quantile`."""
    y = jnp.asarray(y, values.dtype)
    if len(levels) == 1:
        return jnp.where(y < values[..., 0], 0.0, 1.0).astype(values.dtype)
    _, share, begin, length = _segments(values, levels)
    tails = _tails(values, levels)
    beyond = y[..., None] - begin
    part = jnp.where(length > 0, jnp.clip(beyond / _or_one(length), 0.0, 1.0), (beyond >= 0).astype(values.dtype))
    inside = levels[0] + jnp.sum(share * part, axis=-1)
    below, above = values[..., 0] - y, y - values[..., -1]
    low = levels[0] * _decay(jnp.maximum(below, 0.0), tails.low)
    high = 1 - (1 - levels[-1]) * _decay(jnp.maximum(above, 0.0), tails.high)
    return jnp.where(below > 0, low, jnp.where(above >= 0, high, inside))


def _or_one(length: Array) -> Array:
    return jnp.where(length > 0, length, 1.0)


def _decay(distance: Array, scale: Array) -> Array:
    """exp(-distance / scale); at scale 0, 0."""
    return jnp.where(scale > 0, jnp.exp(-distance / _or_one(scale)), 0.0)


@functools.partial(jax.jit, static_argnums=1)
def interpolated_log_prob(values: Float[Array, "*S K"], levels: Levels, y: ArrayLike) -> Array:
    """The logarithm of the density at ``y``: constant between two quantiles; of at least two levels."""
    y = jnp.asarray(y, values.dtype)
    _, share, begin, length = _segments(values, levels)
    tails = _tails(values, levels)
    here = (y[..., None] >= begin) & (y[..., None] < begin + length)
    inside = jnp.sum(jnp.where(here, np.log(share) - jnp.log(_or_one(length)), 0.0), axis=-1)
    low = _log_tail(levels[0], values[..., 0] - y, tails.low)
    high = _log_tail(1 - levels[-1], y - values[..., -1], tails.high)
    return jnp.where(y < values[..., 0], low, jnp.where(jnp.any(here, axis=-1), inside, high))


def _log_tail(share: float, distance: Array, scale: Array) -> Array:
    return jnp.where(scale > 0, np.log(share) - jnp.log(_or_one(scale)) - distance / _or_one(scale), -jnp.inf)


@functools.partial(jax.jit, static_argnums=1)
def interpolated_mean(values: Float[Array, "*S K"], levels: Levels) -> Array:
    """The mean: trapezoids between the quantiles, and a_1 (v_1 - b_1) + (1 - a_K) (v_K + b_K) of the tails."""
    _, share, begin, length = _segments(values, levels)
    tails = _tails(values, levels)
    inside = jnp.sum(share * (begin + length / 2), axis=-1)
    outside = levels[0] * (values[..., 0] - tails.low) + (1 - levels[-1]) * (values[..., -1] + tails.high)
    return inside + outside
