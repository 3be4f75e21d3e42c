"""Parts of log-likelihoods and of distribution functions, in forms that lose no digits: float32 is enough for training.

The textbook forms subtract large numbers from each other, such as lgamma(k + r) - lgamma(r): at k = 1,000 in float32
only three digits are left, and a gradient at a small dispersion has none.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from lstmjax.ops.precision import wide

LOG_2PI = float(np.log(2 * np.pi))

STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
"""Coefficients of Stirling's series in u, u³, u⁵ ...: to 1e-15 where u is at most 0.1."""

ATANH = tuple(1 / (2 * j + 3) for j in range(12))
"""Coefficients of (atanh(v) / v - 1) / v² in powers of v²: to 1e-17 where v is at most 0.2."""


def stirling_error(inverse: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """What Stirling's formula for the logarithm of the gamma function misses.

    S(x) = log Γ(x) - (x - ½) log x + x - ½ log 2π, which is about 1 / (12 x).

    Args:
        inverse: 1 / x, at least 0; at 0 the error is 0.
    """
    small = inverse <= 0.1
    x = 1 / jnp.where(small, 1.0, inverse)
    exact = jax.lax.lgamma(1 + x) - (x + 0.5) * jnp.log(x) + x - 0.5 * LOG_2PI
    return jnp.where(small, _stirling_series(jnp.where(small, inverse, 0.0)), exact)


def log_factorial_excess(k: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """Log k! - k log k + k, for k of at least 0; at 0 it is 0.

    It grows as ½ log(2π k), so that it stays small where log k! is large.
    """
    small = k < 10
    few, many = jnp.where(small, k, 1.0), jnp.where(small, 10.0, k)
    exact = jax.lax.lgamma(few + 1) - few * jnp.log(jnp.maximum(few, jnp.finfo(k.dtype).tiny)) + few
    return jnp.where(small, exact, 0.5 * (LOG_2PI + jnp.log(many)) + _stirling_series(1 / many))


def _stirling_series(u: Float[Array, "*S"]) -> Float[Array, "*S"]:
    return u * _polynomial(STIRLING, u * u)


def _polynomial(coefficients: tuple[float, ...], x: Float[Array, "*S"]) -> Float[Array, "*S"]:
    return functools.reduce(lambda total, c: total * x + c, reversed(coefficients), jnp.zeros_like(x))


def deviance_slope(ratio: Float[Array, "*S"], excess: Float[Array, "*S"]) -> Float[Array, "*S"]:
    """ρ log ρ / (ρ - 1) - 1: about (ρ - 1) / 2 near 1, and -1 at 0.

    Deviances are sums of it: x log(x / μ) - x + μ = (x - μ) times it, at ρ = x / μ.

    Args:
        ratio: ρ, at least 0.
        excess: ρ - 1, which the caller computes without the subtraction.
    """
    v = excess / (1 + ratio)  # log ρ = 2 atanh v
    near = jnp.abs(v) < 0.2
    w = jnp.where(near, v, 0.0)
    series = w + w * w * (1 + w) * _polynomial(ATANH, w * w)
    far_ratio, far_excess = jnp.where(near, 2.0, ratio), jnp.where(near, 1.0, excess)
    log_ratio = jnp.log(jnp.maximum(far_ratio, jnp.finfo(ratio.dtype).tiny))
    return jnp.where(near, series, far_ratio * log_ratio / far_excess - 1)


def beta_fraction(
    a: Float[Array, "*S"],
    b: Float[Array, "*S"],
    x: Float[Array, "*S"],
    y: Float[Array, "*S"],
    slope: Float[Array, "*S"],
) -> Float[Array, "*S"]:
    """The continued fraction of the incomplete beta function.

    I_x(a, b) = x^a (1 - x)^b / B(a, b) times it. It converges where x is below about a / (a + b); elsewhere use
    I_x(a, b) = 1 - I_{1-x}(b, a). `jax.scipy.special.betainc` loses all digits in float32 where a or b is large, and
    has no gradient for a and b.

    Args:
        a: above 0.
        b: above 0. Where one of both is at most 100, the result has six digits in float32, twelve in float64.
        x: from 0 to 1.
        y: 1 - x, without the loss of digits of that subtraction.
        slope: a y - b x, likewise.

    References:
        DiDonato & Morris, Algorithm 708: Significant Digit Computation of the Incomplete Beta Function Ratios, 1992
    """
    terms = 32 if x.dtype == jnp.float32 else 60

    def whole(n: Array | float) -> Array:
        return n + n * (b - n) * x / (a + 2 * n - 1) + (a + n) / (a + 2 * n + 1) * (slope + 1 + n * (1 + y))

    def part(n: Array | float) -> Array:
        middle = a + 2 * n - 1
        return (a + n - 1) / middle * ((a + b + n - 1) / middle) * n * (b - n) * x * x

    def term(i: Array, rest: Array) -> Array:
        n = (terms - i).astype(x.dtype)
        return whole(n - 1) + part(n) / rest

    rest = jax.lax.fori_loop(0, terms - 1, term, whole(float(terms)))
    return 1 / (a / (a + 1) * (slope + 1) + part(1.0) / rest)


def floats(*arrays: ArrayLike) -> list[Array]:
    """Numbers and arrays as arrays of one shape, in float32, or in float64 where one of them is."""
    dtype = wide(jnp.result_type(1.0, *arrays))
    return list(jnp.broadcast_arrays(*(jnp.asarray(array, dtype) for array in arrays)))
