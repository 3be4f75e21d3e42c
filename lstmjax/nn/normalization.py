"""Normalisation of a window by its own statistics, undone on the forecast."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float


class WindowStatistics(NamedTuple):
    """Mean and deviation of each window and channel, shape (B, 1, C)."""

    mean: Float[Array, "B 1 C"]
    deviation: Float[Array, "B 1 C"]


class ReversibleNorm(nnx.Module):
    """Takes each window's own level and spread out of the input, and puts them back into the forecast.

    A series whose level drifts looks alike to the network at all times. The statistics belong to the window, so they
    are returned and handed back, never stored: one module serves many windows at once.

    Args:
        features: number of channels C.
        affine: learn a scale and a shift for each channel besides.
        epsilon: added to the variance, so that a constant window divides by no zero.
        param_dtype: of scale and shift.

    References:
        Kim et al. (2022), "Reversible instance normalization for accurate time-series forecasting against
        distribution shift", ICLR.

    >>> norm = ReversibleNorm(1)
    >>> window = jnp.array([[[10.0], [12.0], [14.0]]])
    >>> normalized, statistics = norm(window)
    >>> float(statistics.mean[0, 0, 0]), float(normalized[0, 1, 0])
    (12.0, 0.0)
    >>> bool(jnp.allclose(norm.inverse(normalized, statistics), window))
    True
    """

    def __init__(
        self, features: int, *, affine: bool = True, epsilon: float = 1e-5, param_dtype: DTypeLike = jnp.float32
    ) -> None:
        if features < 1:
            raise ValueError(f"features is {features}: expected at least 1")
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones(features, param_dtype)) if affine else None
        self.shift = nnx.Param(jnp.zeros(features, param_dtype)) if affine else None

    def __call__(
        self, x: Float[Array, "B T C"], mask: Bool[Array, "B T C"] | None = None
    ) -> tuple[Float[Array, "B T C"], WindowStatistics]:
        """Normalises windows.

        Args:
            x: windows, shape (B, T, C).
            mask: True where a value was observed; default everywhere. The others count in no statistic and come out
                as 0. A channel with none observed has mean 0 and deviation 1.

        Returns:
            The normalised windows, and the statistics for `inverse`. No gradient flows through the statistics.
        """
        observed = jnp.ones_like(x, jnp.bool) if mask is None else mask
        count = jnp.maximum(jnp.sum(observed, axis=1, keepdims=True), 1).astype(x.dtype)
        mean = jnp.sum(jnp.where(observed, x, 0), axis=1, keepdims=True) / count
        centered = jnp.where(observed, x - mean, 0)
        variance = jnp.sum(centered * centered, axis=1, keepdims=True) / count
        deviation = jnp.where(jnp.any(observed, axis=1, keepdims=True), jnp.sqrt(variance + self.epsilon), 1)
        statistics = WindowStatistics(jax.lax.stop_gradient(mean), jax.lax.stop_gradient(deviation))
        normalized = (x - statistics.mean) / statistics.deviation
        if self.scale is not None and self.shift is not None:
            normalized = normalized * self.scale[...] + self.shift[...]
        return jnp.where(observed, normalized, 0), statistics

    def inverse(self, y: Float[Array, "B H C"], statistics: WindowStatistics) -> Float[Array, "B H C"]:
        """Puts the level and spread of the windows back.

        Args:
            y: forecasts in normalised units, shape (B, H, C).
            statistics: what normalising the windows returned.

        Returns:
            The forecasts in the windows' units.
        """
        if self.scale is not None and self.shift is not None:
            y = (y - self.shift[...]) / self.scale[...]
        return y * statistics.deviation + statistics.mean
