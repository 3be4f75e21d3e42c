"""The quantile head: quantiles at given levels, which never cross."""

import dataclasses
import math
from statistics import NormalDist
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from lstmjax.errors import ConfigError
from lstmjax.ops import quantile_function
from lstmjax.ops.pinball import pinball


@dataclasses.dataclass(frozen=True)
class Quantiles:
    """Quantiles at given levels, which never cross; parameters are their values, ascending.

    Between the levels the quantile function is linear, beyond them its tails are exponential
    (`lstmjax.ops.quantile_function`).

    Attributes:
        levels: between 0 and 1, ascending.
    """

    levels: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    loss_name: ClassVar[str] = "pinball"
    lower: ClassVar[float] = -math.inf
    counts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        levels = tuple(float(level) for level in self.levels)
        object.__setattr__(self, "levels", levels)
        if not levels or not all(0 < level < 1 for level in levels) or list(levels) != sorted(set(levels)):
            raise ConfigError(f"the quantile levels are {self.levels}: expected numbers between 0 and 1, ascending")

    @property
    def size(self) -> int:
        """The number of levels."""
        return len(self.levels)

    def constrain(self, raw: Float[Array, "*S P"]) -> Float[Array, "*S P"]:
        """The level nearest to 0.5 is the first number; the others are steps away from it, positive by a softplus.

        Where the raw steps are 0 they have the lengths of the standard normal distribution.
        """
        middle = int(np.argmin(np.abs(np.asarray(self.levels) - 0.5)))
        unit = np.diff([NormalDist().inv_cdf(level) for level in self.levels]) / math.log(2)
        steps = jax.nn.softplus(raw[..., 1:]) * unit.astype(raw.dtype)
        # One after the other: rounding cannot make such sums cross, while those of a product or a tree may.
        values = [raw[..., 0]]
        for i in range(middle, self.size - 1):
            values.append(values[-1] + steps[..., i])
        for i in reversed(range(middle)):
            values.insert(0, values[0] - steps[..., i])
        return jnp.stack(values, axis=-1)

    def affine(self, parameters: Float[Array, "*S P"], shift: ArrayLike, scale: ArrayLike) -> Float[Array, "*S P"]:
        """Shifts and scales all quantiles; a negative scale also mirrors them.

        Where the levels are not symmetric about 0.5, the mirrored quantiles are interpolated.
        """
        shift, scale = jnp.asarray(shift)[..., None], jnp.asarray(scale)[..., None]
        return jnp.where(scale < 0, self._mirrored(parameters), parameters) * scale + shift

    def _mirrored(self, parameters: Float[Array, "*S P"]) -> Float[Array, "*S P"]:
        if np.allclose(self.levels, 1 - np.asarray(self.levels)[::-1]):
            return jnp.flip(parameters, axis=-1)
        return jnp.stack([self.quantile(parameters, 1 - level) for level in self.levels], axis=-1)

    def median(self, parameters: Float[Array, "*S P"]) -> Float[Array, "*S"]:
        """The median: a parameter, where 0.5 is among the levels."""
        if 0.5 in self.levels:
            return parameters[..., self.levels.index(0.5)]
        return self.quantile(parameters, 0.5)

    point = median

    def mean(self, parameters: Float[Array, "*S P"]) -> Float[Array, "*S"]:
        """The mean of the interpolated distribution."""
        return quantile_function.interpolated_mean(parameters, self.levels)

    def spread(self, parameters: Float[Array, "*S P"]) -> Float[Array, "*S"]:
        """The distance of the outermost quantiles, above 0; 1 where there is only one."""
        if self.size == 1:
            return jnp.ones_like(parameters[..., 0])
        least = jnp.finfo(parameters.dtype).eps * jnp.maximum(jnp.abs(parameters[..., 0]), 1.0)
        return jnp.maximum(parameters[..., -1] - parameters[..., 0], least)

    def quantile(self, parameters: Float[Array, "*S P"], q: ArrayLike) -> Array:
        """The value below which a fraction ``q`` lies, of any level."""
        return quantile_function.interpolated_quantile(parameters, self.levels, q)

    def cdf(self, parameters: Float[Array, "*S P"], y: ArrayLike) -> Array:
        """The fraction below ``y``."""
        return quantile_function.interpolated_cdf(parameters, self.levels, y)

    def sample(self, parameters: Float[Array, "*S P"], key: PRNGKeyArray, n: int) -> Array:
        """Draws ``n`` values of each, shape (n, ...)."""
        shape, dtype = (n, *parameters.shape[:-1]), parameters.dtype
        return self.quantile(parameters, jax.random.uniform(key, shape, dtype, minval=jnp.finfo(dtype).tiny))

    def log_prob(self, parameters: Float[Array, "*S P"], y: ArrayLike) -> Array:
        """The logarithm of the density.

        Raises:
            ConfigError: there is only one level.
        """
        if self.size == 1:
            raise ConfigError(
                f"the quantile {self.levels[0]:g} alone has no density: model.quantiles needs two or more"
            )
        return quantile_function.interpolated_log_prob(parameters, self.levels, y)

    def loss(self, parameters: Float[Array, "*S P"], y: Array, hyper: Any = None) -> Array:
        """The pinball loss, its mean over the levels; of the level 0.5 alone it is the absolute error."""
        return jnp.mean(pinball(y[..., None], parameters, np.asarray(self.levels, parameters.dtype)), axis=-1)
