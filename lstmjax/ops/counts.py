"""The negative binomial distribution of counts, by its mean m and its dispersion α: the variance is m + α m².

It is a Poisson distribution whose rate has a gamma distribution of mean m and variance α m²; at α = 0 it is the Poisson
distribution itself. With r = 1/α it is ``scipy.stats.nbinom(r, r / (r + m))``. The formulas are in α: in r, which is
huge where the dispersion is small, they would lose their digits. Arguments are as in `lstmjax.ops.distributions`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from lstmjax.ops.distributions import normal_log_prob
from lstmjax.ops.special import beta_fraction, deviance_slope, floats, log_factorial_excess, stirling_error

LARGE = 100.0
"""Where k and 1/α are both above it the continued fraction is slow, and an integral gives the distribution function."""

NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(24)

EXACT_RATE = 4096.0
"""Up to this rate Poisson numbers are drawn exactly. In float32 the exact method loses digits above it; a normal number
corrected for its skewness is then off by less than a thousandth of the standard deviation."""


@jax.jit
def negative_binomial_log_prob(k: ArrayLike, mean: ArrayLike, dispersion: ArrayLike) -> Array:
    """The logarithm of the probability of a count.

    log Γ(k + r) - log Γ(r) - log k! + r log(r / (r + m)) + k log(m / (r + m)), computed as a sum of Stirling's errors
    and of a deviance, so that large parts cancel before they are computed (Loader 2000).

    Args:
        k: the count; between whole numbers the formula is continued, below 0 the result is -infinity.
        mean: m, above 0.
        dispersion: α, at least 0.

    References:
        Loader, Fast and Accurate Computation of Binomial Probabilities, 2000
    """
    k, mean, dispersion = floats(k, mean, dispersion)
    return jnp.where(k >= 0, _log_prob(jnp.maximum(k, 0.0), mean, dispersion), -jnp.inf)


def _log_prob(k: Float[Array, "*S"], mean: Float[Array, "*S"], dispersion: Float[Array, "*S"]) -> Float[Array, "*S"]:
    at_k, at_mean = 1 + dispersion * k, 1 + dispersion * mean
    ratio, difference = at_mean / at_k, k - mean
    of_counts = deviance_slope(k / mean * ratio, difference / mean / at_k)
    of_rest = deviance_slope(ratio, -dispersion * difference / at_k)
    errors = stirling_error(dispersion / at_k) - stirling_error(dispersion) - log_factorial_excess(k)
    return errors - 0.5 * jnp.log(at_k) - difference / at_mean * (of_counts - of_rest)


@jax.jit
def negative_binomial_cdf(k: ArrayLike, mean: ArrayLike, dispersion: ArrayLike) -> Array:
    """The probability of a count of at most ``k``: to about 1e-5 in float32, 1e-9 in float64.

    Above a dispersion of 100 it is to 1e-4 in float32 (with jaxlib 0.12; 0.10 keeps 1e-5).

    With p = 1 / (1 + α m) it is the incomplete beta function I_p(r, k + 1).
    """
    k, mean, dispersion = floats(k, mean, dispersion)
    cdf = _cdf(jax.lax.stop_gradient(jnp.maximum(jnp.floor(k), 0.0)), mean, dispersion)
    return jnp.where(k >= 0, jnp.clip(cdf, 0.0, 1.0), 0.0)


@jax.custom_jvp
def _cdf(k: Array, mean: Array, dispersion: Array) -> Array:
    large = (k > LARGE) & (dispersion * LARGE < 1)
    by_fraction = _cdf_by_fraction(jnp.where(large, 1.0, k), mean, jnp.where(large, 1.0, dispersion))
    safe = jnp.where(large, k, 1e3), jnp.where(large, mean, 1e3), jnp.where(large, dispersion, 0.0)
    by_integral = jax.lax.cond(jnp.any(large), _cdf_by_integral, lambda k, mean, dispersion: k, *safe)
    return jnp.where(large, by_integral, by_fraction)


@_cdf.defjvp
def _cdf_jvp(primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]) -> tuple[Array, Array]:
    """By the dispersion it is computed forwards, so that the loops keep nothing for a pass back."""
    k, mean, dispersion = primals
    cdf, by_dispersion = jax.jvp(lambda at: _cdf.fun(k, mean, at), (dispersion,), (jnp.ones_like(dispersion),))
    return cdf, by_dispersion * tangents[2] - _density_of_mean(k, mean, dispersion) / mean * tangents[1]


def _density_of_mean(k: Float[Array, "*S"], mean: Float[Array, "*S"], dispersion: Float[Array, "*S"]) -> Array:
    """Minus the derivative of the distribution function of k with respect to log m."""
    return jnp.exp(_log_prob(k, mean, dispersion)) * mean * ((1 + dispersion * k) / (1 + dispersion * mean))


def _cdf_by_fraction(k: Float[Array, "*S"], mean: Float[Array, "*S"], dispersion: Float[Array, "*S"]) -> Array:
    """I_p(r, k + 1), or 1 - I_q(k + 1, r), whichever fraction converges; both have one factor."""
    r = 1 / jnp.maximum(dispersion, 1e-12)  # at 1e-12 it is the Poisson distribution in every digit
    at_mean = 1 + mean / r
    p, q, slope = 1 / at_mean, mean / (r + mean), (mean - k - 1) / at_mean
    lower = k + 1 < mean * (1 + dispersion)
    fraction = beta_fraction(
        jnp.where(lower, r, k + 1),
        jnp.where(lower, k + 1, r),
        jnp.where(lower, p, q),
        jnp.where(lower, q, p),
        jnp.where(lower, slope, -slope),
    )
    part = _density_of_mean(k, mean, dispersion) * fraction
    return jnp.where(lower, part, 1 - part)


def _cdf_by_integral(k: Float[Array, "*S"], mean: Float[Array, "*S"], dispersion: Float[Array, "*S"]) -> Array:
    """The integral of `_density_of_mean` over all larger means, or 1 - that over all smaller ones (Gauss-Legendre).

    The density is nearly a normal one of log m, about log(k + 1).
    """
    scale = jnp.sqrt(1 / (k + 1) + dispersion)
    distance = jnp.log(mean / (k + 1)) / scale
    upper = distance > 0
    # Up to 8 scales from the middle, or 4 scales further outside.
    length = scale * jnp.where(upper, jnp.maximum(8 - distance, 4.0), -jnp.maximum(8 + distance, 4.0))
    nodes, weights = jnp.asarray(NODES, k.dtype), jnp.asarray(NODE_WEIGHTS, k.dtype)

    def add(i: Array, total: Array) -> Array:
        at = mean * jnp.exp(length * (0.5 + 0.5 * nodes[i]))
        return total + weights[i] * _density_of_mean(k, at, dispersion)

    integral = 0.5 * length * jax.lax.fori_loop(0, len(NODES), add, jnp.zeros_like(k))
    return jnp.where(upper, integral, 1 + integral)


class _Search(NamedTuple):
    """The search of a quantile: between a count that is too small and one that is large enough."""

    too_small: Array
    enough: Array
    probe: Array
    """The count to try next; the search has ended where it is not between both."""

    def open(self) -> Array:
        """Where it has not ended."""
        return (self.probe > self.too_small) & (self.probe < self.enough)


NEWTON_STEPS = 6
"""Steps of Newton's method, before the interval is halved instead."""


@jax.jit
def negative_binomial_quantile(q: ArrayLike, mean: ArrayLike, dispersion: ArrayLike) -> Array:
    """The smallest count whose distribution function is at least ``q``: a whole number, infinity at 1.

    It starts from the quantile of the gamma distribution with the same mean and variance. Its derivatives are zero.
    """
    q, mean, dispersion = jax.lax.stop_gradient(floats(q, mean, dispersion))
    limits = jnp.finfo(q.dtype)
    level = jnp.clip(q, 0.0, 1 - limits.epsneg)
    z = jax.scipy.special.ndtri(jnp.maximum(level, limits.tiny))
    squared = 1 / mean + dispersion  # variance over mean²
    # Wilson & Hilferty: the cube root of a gamma distribution is nearly normal.
    guess = jnp.floor(mean * jnp.maximum(1 - squared / 9 + z * jnp.sqrt(squared) / 3, 0.0) ** 3)

    def advance(iteration_and_search: tuple[Array, _Search]) -> tuple[Array, _Search]:
        i, search = iteration_and_search
        return i + 1, _advance(search, i < NEWTON_STEPS, level, z, mean, dispersion)

    start = _Search(jnp.full_like(q, -1.0), jnp.full_like(q, jnp.inf), guess)
    found = jax.lax.while_loop(lambda state: jnp.any(state[1].open()), advance, (jnp.array(0), start))[1].enough
    return jnp.where((q >= 0) & (q < 1), found, jnp.where(q == 1, jnp.inf, jnp.nan))


def _advance(search: _Search, newton: Array, level: Array, z: Array, mean: Array, dispersion: Array) -> _Search:
    """Tries one count, and chooses the next."""
    too_small, enough, probe = search
    cdf = negative_binomial_cdf(probe, mean, dispersion)
    reached, searching = cdf >= level, search.open()
    enough = jnp.where(searching & reached, probe, enough)
    too_small = jnp.where(searching & ~reached, probe, too_small)
    # Newton's step on the scale of the normal distribution, where the function is nearly a line.
    here = jax.scipy.special.ndtri(cdf)
    slope = _log_prob(probe, mean, dispersion) - normal_log_prob(here, 0.0, 1.0)
    probe = jnp.clip(jnp.ceil(probe + (z - here) * jnp.exp(-slope)), too_small + 1, enough - 1)
    newton &= jnp.isfinite(probe) & (probe > too_small)  # float32 has no number next to a large one
    halved = jnp.where(jnp.isinf(enough), 2 * too_small + 8, jnp.floor(too_small + (enough - too_small) / 2))
    return _Search(too_small, enough, jnp.where(newton, probe, halved))


def negative_binomial_sample(key: PRNGKeyArray, n: int, mean: ArrayLike, dispersion: ArrayLike) -> Array:
    """Draws ``n`` counts each, shape (n, ...): Poisson numbers whose rates come from a gamma distribution."""
    mean, dispersion = floats(mean, dispersion)
    shape = (n, *mean.shape)
    of_rate, of_count, of_large = jax.random.split(key, 3)
    r = 1 / jnp.maximum(dispersion, 1e-12)
    rate = jax.random.gamma(of_rate, r, shape, mean.dtype) / r * mean
    few = jax.random.poisson(of_count, jnp.minimum(rate, EXACT_RATE), shape).astype(mean.dtype)
    z = jax.random.normal(of_large, shape, mean.dtype)
    many = jnp.floor(rate + jnp.sqrt(rate) * z + (z * z - 1) / 6 + 0.5)
    return jnp.where(rate <= EXACT_RATE, few, many)
