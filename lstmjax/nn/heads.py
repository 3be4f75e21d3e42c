"""Heads: what a network's outputs mean as a forecast distribution, for the package's networks and for your own.

A head owns the parameters of one value, their loss, and the way back to other units; `lstmjax.window.Head` says what
one needs. Parameters have the shape (..., P), values (...,). All methods are elementwise.

>>> from lstmjax.window import Forecast
>>> layer = HeadLayer(8, StudentT(), rngs=nnx.Rngs(0))
>>> forecast = Forecast(layer(jnp.ones((2, 24, 1, 8))), head=layer.head)
>>> forecast.quantile([0.1, 0.9]).shape
(2, 24, 1, 2)
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from lstmjax.errors import ConfigError
from lstmjax.nn.quantile_head import Quantiles
from lstmjax.ops import counts, distributions
from lstmjax.window import Head, Point

LEAST_SCALE = 1e-4
"""Smallest scale of a distribution, in scaled units: no value gets an unlimited likelihood."""

LEAST_DF = 2.001
"""Smallest number of degrees of freedom: the variance is finite."""

LEAST_COUNT = 1e-6
"""Smallest mean and smallest dispersion of counts."""


class _Distribution:
    """What the heads share whose distribution is one of `lstmjax.ops`; its parameters are the last arguments there."""

    loss_name: ClassVar[str] = "nll"
    lower: ClassVar[float] = -math.inf
    counts: ClassVar[bool] = False
    _log_prob: ClassVar[Callable]
    _cdf: ClassVar[Callable]
    _quantile: ClassVar[Callable]
    _sample: ClassVar[Callable]

    def median(self, parameters: Float[Array, "*S P"]) -> Float[Array, "*S"]:
        """The median."""
        return self.quantile(parameters, 0.5)

    def point(self, parameters: Float[Array, "*S P"]) -> Float[Array, "*S"]:
        """The median."""
        return self.median(parameters)

    def quantile(self, parameters: Float[Array, "*S P"], q: ArrayLike) -> Array:
        """The value below which a fraction ``q`` lies; of counts, the smallest with at least that below or at it."""
        return self._quantile(q, *_split(parameters))

    def cdf(self, parameters: Float[Array, "*S P"], y: ArrayLike) -> Array:
        """The fraction of at most ``y``."""
        return self._cdf(y, *_split(parameters))

    def sample(self, parameters: Float[Array, "*S P"], key: PRNGKeyArray, n: int) -> Array:
        """Draws ``n`` values of each, shape (n, ...)."""
        return self._sample(key, n, *_split(parameters))

    def log_prob(self, parameters: Float[Array, "*S P"], y: ArrayLike) -> Array:
        """The logarithm of the density; of counts, of the probability."""
        return self._log_prob(y, *_split(parameters))

    def loss(self, parameters: Float[Array, "*S P"], y: Array, hyper: Any = None) -> Array:
        """The negative log-likelihood."""
        return -self.log_prob(parameters, y)


class _LocationScale(_Distribution):
    """What the symmetric ones share, whose first two parameters are a location and a scale."""

    def affine(self, parameters: Float[Array, "*S P"], shift: ArrayLike, scale: ArrayLike) -> Float[Array, "*S P"]:
        """Shifts and scales the location; the scale is times the size of ``scale``."""
        loc, spread = parameters[..., 0] * scale + shift, parameters[..., 1] * jnp.abs(scale)
        rest = [jnp.broadcast_to(parameters[..., i], loc.shape) for i in range(2, parameters.shape[-1])]
        return jnp.stack([loc, spread, *rest], axis=-1)

    def mean(self, parameters: Float[Array, "*S P"]) -> Float[Array, "*S"]:
        """The location: the distribution is symmetric."""
        return parameters[..., 0]

    median = point = mean

    def spread(self, parameters: Float[Array, "*S P"]) -> Float[Array, "*S"]:
        """The scale."""
        return parameters[..., 1]


@dataclasses.dataclass(frozen=True)
class Normal(_LocationScale):
    """The normal distribution; parameters (location, scale)."""

    size: ClassVar[int] = 2
    _log_prob: ClassVar[Callable] = staticmethod(distributions.normal_log_prob)
    _cdf: ClassVar[Callable] = staticmethod(distributions.normal_cdf)
    _quantile: ClassVar[Callable] = staticmethod(distributions.normal_quantile)
    _sample: ClassVar[Callable] = staticmethod(distributions.normal_sample)

    def constrain(self, raw: Float[Array, "*S P"]) -> Float[Array, "*S P"]:
        """The location itself; a softplus makes the scale positive."""
        return jnp.stack([raw[..., 0], jax.nn.softplus(raw[..., 1]) + LEAST_SCALE], axis=-1)


@dataclasses.dataclass(frozen=True)
class StudentT(_LocationScale):
    """Student's distribution, for data with outliers; parameters (location, scale, degrees of freedom)."""

    size: ClassVar[int] = 3
    _log_prob: ClassVar[Callable] = staticmethod(distributions.student_t_log_prob)
    _cdf: ClassVar[Callable] = staticmethod(distributions.student_t_cdf)
    _quantile: ClassVar[Callable] = staticmethod(distributions.student_t_quantile)
    _sample: ClassVar[Callable] = staticmethod(distributions.student_t_sample)

    def constrain(self, raw: Float[Array, "*S P"]) -> Float[Array, "*S P"]:
        """The location itself; softplus makes the scale positive and the degrees of freedom larger than 2."""
        scale, df = jax.nn.softplus(raw[..., 1]) + LEAST_SCALE, jax.nn.softplus(raw[..., 2]) + LEAST_DF
        return jnp.stack([raw[..., 0], scale, df], axis=-1)


@dataclasses.dataclass(frozen=True)
class NegativeBinomial(_Distribution):
    """Counts whose variance is at least their mean m: m + α m²; parameters (mean, dispersion α).

    References:
        Salinas et al., `DeepAR <https://arxiv.org/abs/1704.04110>`_, 2020
    """

    size: ClassVar[int] = 2
    _log_prob: ClassVar[Callable] = staticmethod(counts.negative_binomial_log_prob)
    _cdf: ClassVar[Callable] = staticmethod(counts.negative_binomial_cdf)
    _quantile: ClassVar[Callable] = staticmethod(counts.negative_binomial_quantile)
    _sample: ClassVar[Callable] = staticmethod(counts.negative_binomial_sample)
    lower: ClassVar[float] = 0.0
    counts: ClassVar[bool] = True

    def constrain(self, raw: Float[Array, "*S P"]) -> Float[Array, "*S P"]:
        """A softplus makes both positive."""
        return jax.nn.softplus(raw) + LEAST_COUNT

    def affine(self, parameters: Float[Array, "*S P"], shift: ArrayLike, scale: ArrayLike) -> Float[Array, "*S P"]:
        """Counts of other sizes, by the rule of DeepAR: mean times scale, dispersion over its square root.

        Counts that are scaled are no counts, so that this is not the distribution of scaled ones.

        Raises:
            ConfigError: ``shift`` is known and not 0.
        """
        if not isinstance(shift, jax.core.Tracer) and np.any(np.asarray(shift) != 0):
            raise ConfigError("counts cannot be shifted: the head negative_binomial needs data that are not centred")
        mean, dispersion = _split(parameters)
        scale = jnp.abs(scale)
        return jnp.stack([mean * scale, dispersion / jnp.sqrt(scale)], axis=-1)

    def mean(self, parameters: Float[Array, "*S P"]) -> Float[Array, "*S"]:
        """The mean."""
        return parameters[..., 0]

    def spread(self, parameters: Float[Array, "*S P"]) -> Float[Array, "*S"]:
        """The standard deviation."""
        mean, dispersion = _split(parameters)
        return jnp.sqrt(mean + dispersion * mean * mean)


def _split(parameters: Float[Array, "*S P"]) -> tuple[Array, ...]:
    return tuple(parameters[..., i] for i in range(parameters.shape[-1]))


HEADS: dict[str, Callable[[tuple[float, ...]], Head]] = {
    "point": lambda levels: Point(),
    "quantile": Quantiles,
    "normal": lambda levels: Normal(),
    "student_t": lambda levels: StudentT(),
    "negative_binomial": lambda levels: NegativeBinomial(),
}
"""The heads by the name that ``model.head`` gives them, made from ``model.quantiles``."""


class HeadLayer(nnx.Module):
    """A dense layer from features to the parameters of a head.

    Args:
        in_features: number of features.
        head: what the parameters mean.
        rngs: the initial weights come from its stream "params".
    """

    def __init__(self, in_features: int, head: Head, *, rngs: nnx.Rngs) -> None:
        self.head = head
        self.linear = nnx.Linear(in_features, head.size, rngs=rngs)

    def __call__(self, features: Float[Array, "*S I"]) -> Float[Array, "*S P"]:
        """Parameters, shape (..., P), from features of shape (..., in_features)."""
        return self.head.constrain(self.linear(features))
