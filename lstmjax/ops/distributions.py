"""Distributions of a forecast value: densities, distribution functions, quantiles and samples.

All are pure and elementwise: arguments are arrays or numbers that broadcast against each other, and work under ``jit``,
``vmap`` and ``grad``. They compute in float32, or in float64 where an argument is. Log-likelihoods keep their digits in
float32, and have finite gradients at extreme values.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, PRNGKeyArray

from lstmjax.ops.special import LOG_2PI, beta_fraction, floats, stirling_error

LARGEST_Z = 1e15
"""Largest number of scales from the location: its square is still a float32."""


@jax.jit
def normal_log_prob(y: ArrayLike, loc: ArrayLike, scale: ArrayLike) -> Array:
    """The logarithm of the normal density: -z² / 2 - log σ - ½ log 2π, where z = (y - μ) / σ.

    Args:
        y: where.
        loc: μ.
        scale: σ, above 0.
    """
    y, loc, scale = floats(y, loc, scale)
    return -0.5 * ((y - loc) / scale) ** 2 - jnp.log(scale) - 0.5 * LOG_2PI


@jax.jit
def normal_cdf(y: ArrayLike, loc: ArrayLike, scale: ArrayLike) -> Array:
    """The fraction of a normal distribution below ``y``: Φ((y - μ) / σ)."""
    y, loc, scale = floats(y, loc, scale)
    return jax.scipy.special.ndtr((y - loc) / scale)


@jax.jit
def normal_quantile(q: ArrayLike, loc: ArrayLike, scale: ArrayLike) -> Array:
    """The value below which a fraction ``q`` of a normal distribution lies: μ + σ Φ⁻¹(q); ±infinity at 0 and 1."""
    q, loc, scale = floats(q, loc, scale)
    return loc + scale * jax.scipy.special.ndtri(q)


def normal_sample(key: PRNGKeyArray, n: int, loc: ArrayLike, scale: ArrayLike) -> Array:
    """Draws ``n`` normal values each, shape (n, ...)."""
    loc, scale = floats(loc, scale)
    return loc + scale * jax.random.normal(key, (n, *loc.shape), loc.dtype)


@jax.jit
def student_t_log_prob(y: ArrayLike, loc: ArrayLike, scale: ArrayLike, df: ArrayLike) -> Array:
    """The logarithm of Student's density.

    log Γ((ν + 1) / 2) - log Γ(ν / 2) - ½ log(π ν) - log σ - ½ (ν + 1) log(1 + z² / ν), where z = (y - μ) / σ.

    Args:
        y: where.
        loc: μ.
        scale: σ, above 0; the standard deviation is σ √(ν / (ν - 2)).
        df: degrees of freedom ν, above 0.
    """
    y, loc, scale, df = floats(y, loc, scale, df)
    return _standard_t_log_prob((y - loc) / scale, df) - jnp.log(scale)


def _standard_t_log_prob(z: Array, df: Array) -> Array:
    half = df / 2
    # log Γ(x + ½) - log Γ(x) - ½ log x by Stirling's formula: the large parts cancel before they are computed
    ratio = half * jnp.log1p(1 / df) - 0.5 + stirling_error(1 / (half + 0.5)) - stirling_error(1 / half)
    return ratio - 0.5 * LOG_2PI - (half + 0.5) * jnp.log1p(z * z / df)


def _standard_t_density(z: Array, df: Array) -> Array:
    return jnp.maximum(jnp.exp(_standard_t_log_prob(z, df)), jnp.finfo(z.dtype).tiny)


@jax.custom_jvp
def _t_tail(z: Array, df: Array) -> Array:
    """The fraction of Student's distribution above z, which is at least 0.

    With x = ν / (ν + z²) it is ½ I_x(ν/2, ½) = ½ - ½ I_{1-x}(½, ν/2); the factor before both fractions is the density
    times z.
    """
    half, square = df / 2, z * z
    far = square * (half + 2.5) > 1.5 * (df + square)
    x, y, slope = df / (df + square), square / (df + square), half * (square - 1) / (df + square)
    fraction = beta_fraction(
        jnp.where(far, half, 0.5),
        jnp.where(far, 0.5, half),
        jnp.where(far, x, y),
        jnp.where(far, y, x),
        jnp.where(far, slope, -slope),
    )
    part = 0.5 * z * _standard_t_density(z, df) * fraction
    return jnp.where(far, part, 0.5 - part)


@_t_tail.defjvp
def _t_tail_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """By z it is minus the density; by ν it is computed forwards, so that the fraction's loop keeps nothing."""
    z, df = primals
    tail, by_df = jax.jvp(lambda df: _t_tail.fun(z, df), (df,), (jnp.ones_like(df),))
    return tail, by_df * tangents[1] - _standard_t_density(z, df) * tangents[0]


@jax.jit
def student_t_cdf(y: ArrayLike, loc: ArrayLike, scale: ArrayLike, df: ArrayLike) -> Array:
    """The fraction of Student's distribution below ``y``, to 1e-6 in float32 and 1e-12 in float64."""
    y, loc, scale, df = floats(y, loc, scale, df)
    z = jnp.clip((y - loc) / scale, -LARGEST_Z, LARGEST_Z)
    tail = _t_tail(jnp.where(z < 0, -z, z), df)
    return jnp.where(z < 0, tail, 1 - tail)


@jax.jit
def student_t_quantile(q: ArrayLike, loc: ArrayLike, scale: ArrayLike, df: ArrayLike) -> Array:
    """The value below which a fraction ``q`` of Student's distribution lies; ±infinity at 0 and 1.

    Hill's Algorithm 396 and steps of Newton's method. Its relative error is below 1e-5 in float32 and 1e-10 in float64,
    for ν from 1 to 1e6.

    Args:
        q: the fraction, from 0 to 1.
        loc: μ.
        scale: σ, above 0.
        df: degrees of freedom ν, at least 1.

    References:
        Hill, Algorithm 396: Student's t-quantiles, Communications of the ACM 13 (10), 1970
    """
    q, loc, scale, df = floats(q, loc, scale, df)
    tail = jnp.where(q < 0.5, q, 1 - q)
    inside = tail > 0
    tail = jnp.where(inside, tail, 0.25)
    fixed_tail, fixed_df = jax.lax.stop_gradient((tail, df))
    z = _hill_quantile(fixed_tail, fixed_df)
    for _ in range(2):
        step = (_t_tail(z, fixed_df) - fixed_tail) / _standard_t_density(z, fixed_df)
        # The second term is that of Taylor's series of the inverse, as in R's qt.
        z = jnp.clip(z + step * (1 + step * z * (fixed_df + 1) / (2 * (z * z + fixed_df))), 0.0, LARGEST_Z)
    # The last step also gives the quantile its derivatives, those of the tail over the density.
    z = z + (_t_tail(z, df) - tail) / _standard_t_density(z, fixed_df)
    z = jnp.where(inside, z, jnp.where((q == 0) | (q == 1), jnp.inf, jnp.nan))
    return loc + scale * jnp.where(q < 0.5, -z, z)


def _hill_quantile(tail: Array, df: Array) -> Array:
    """The first guess: the value above which a fraction ``tail`` of at most ½ lies, to about three digits."""
    a = 1 / (df - 0.5)
    b = 48 / (a * a)
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * jnp.sqrt(a * (np.pi / 2)) * df
    y = jnp.maximum((d * 2 * tail) ** (2 / df), 1e-30)
    # Near the middle: from the normal quantile.
    x = jax.scipy.special.ndtri(tail)
    middle_c = c + jnp.where(df < 5, 0.3 * (df - 4.5) * (x + 0.6), 0.0)
    middle_c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + middle_c
    w = x * x
    middle = (((((0.4 * w + 6.3) * w + 36) * w + 94.5) / middle_c - w - 3) / b + 1) * x
    middle = jnp.expm1(a * middle * middle)
    # In the tail: from its power law.
    tail_y = ((1 / (((df + 6) / (df * y) - 0.089 * d - 0.822) * (df + 2) * 3) + 0.5 / (df + 4)) * y - 1) * (df + 1) / (
        df + 2
    ) + 1 / y
    return jnp.minimum(jnp.sqrt(df * jnp.where(y > 0.05 + a, middle, tail_y)), LARGEST_Z)


def student_t_sample(key: PRNGKeyArray, n: int, loc: ArrayLike, scale: ArrayLike, df: ArrayLike) -> Array:
    """Draws ``n`` values of Student's distribution each, shape (n, ...)."""
    loc, scale, df = floats(loc, scale, df)
    return loc + scale * jax.random.t(key, df, (n, *loc.shape), loc.dtype)
