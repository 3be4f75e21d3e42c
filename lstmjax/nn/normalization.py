"""Normalisation of a window by its own statistics, undone on the forecast."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from lstmjax.ops.naive import last_observed


class WindowStatistics(NamedTuple):
    """Mean and deviation, or another level and size, of each window and channel, shape (B, 1, C)."""

    mean: Float[Array, "B 1 C"]
    deviation: Float[Array, "B 1 C"]


class WindowNorm(nnx.Module):
    """Removes a level and a size from each window, and restores them in the forecast; it learns nothing.

    A constant window has size 0: the divisor is at least √epsilon.

    Args:
        center: the level, which is subtracted: "last" (the last observed value), "mean", "median", or "none".
        scale: the size, which is the divisor: "std" (population deviation), "mad" (mean absolute deviation from the
            mean), "mean_abs" (mean absolute value), or "none".
        rows: last steps of the window from which both are computed; default all. Where none of them was observed, the
            whole window is used.
        epsilon: added to the square of the size.

    >>> norm = WindowNorm(center="last", scale="mad")
    >>> normalized, statistics = norm(jnp.array([[[10.0], [12.0], [14.0], [12.0]]]))
    >>> [round(value, 2) for value in normalized[0, :, 0].tolist()]
    [-2.0, 0.0, 2.0, 0.0]
    >>> float(norm.inverse(jnp.zeros((1, 1, 1)), statistics)[0, 0, 0])
    12.0
    """

    def __init__(
        self, *, center: str = "mean", scale: str = "std", rows: int | None = None, epsilon: float = 1e-5
    ) -> None:
        for name, value, known in (("center", center, CENTERS), ("scale", scale, SCALES)):
            if value not in known:
                raise ValueError(f"{name} is {value!r}: expected one of {', '.join(known)}")
        if rows is not None and rows < 1:
            raise ValueError(f"rows is {rows}: expected at least 1")
        self._center = center
        self._scale = scale
        self._rows = rows
        self.epsilon = epsilon

    def __call__(
        self, x: Float[Array, "B T C"], mask: Bool[Array, "B T C"] | None = None
    ) -> tuple[Float[Array, "B T C"], WindowStatistics]:
        """Normalises windows.

        Args:
            x: windows, shape (B, T, C).
            mask: True where a value was observed; default everywhere. The others count in no statistic and become
                0. A channel with none observed has level 0 and size 1.

        Returns:
            The normalised windows, and the statistics for `inverse`. No gradient flows through the statistics.
        """
        observed = counted = jnp.ones_like(x, jnp.bool) if mask is None else mask
        if self._rows is not None and self._rows < x.shape[1]:
            recent = observed & (jnp.arange(x.shape[1]) >= x.shape[1] - self._rows)[None, :, None]
            counted = jnp.where(jnp.any(recent, axis=1, keepdims=True), recent, observed)
        some = jnp.any(observed, axis=1, keepdims=True)
        center = jnp.where(some, CENTERS[self._center](x, counted), 0)
        size = jnp.where(some, self._size(x, counted), 1)
        statistics = WindowStatistics(jax.lax.stop_gradient(center), jax.lax.stop_gradient(size))
        return jnp.where(observed, (x - statistics.mean) / statistics.deviation, 0), statistics

    def inverse(self, y: Float[Array, "B H C"], statistics: WindowStatistics) -> Float[Array, "B H C"]:
        """Restores the level and size of the windows.

        Args:
            y: forecasts in normalised units, shape (B, H, C).
            statistics: as `__call__` returned them for the windows.

        Returns:
            The forecasts in the windows' units.
        """
        return y * statistics.deviation + statistics.mean

    def _size(self, x: Array, counted: Array) -> Array:
        size = SCALES[self._scale](x, counted)
        return size if self._scale == "none" else jnp.sqrt(size * size + self.epsilon)


class ReversibleNorm(WindowNorm):
    """Removes each window's own level and spread from the input, and restores them in the forecast.

    So a series whose level drifts looks the same to the network at all times. The statistics belong to the window: they
    are returned and passed to `inverse`, never stored, so that one module serves many windows at once.

    Args:
        features: number of channels C.
        affine: also learn a scale and a shift for each channel.
        epsilon: added to the variance, so that a constant window is not divided by zero.
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
        super().__init__(center="mean", epsilon=epsilon)
        self.scale = nnx.Param(jnp.ones(features, param_dtype)) if affine else None
        self.shift = nnx.Param(jnp.zeros(features, param_dtype)) if affine else None

    def __call__(
        self, x: Float[Array, "B T C"], mask: Bool[Array, "B T C"] | None = None
    ) -> tuple[Float[Array, "B T C"], WindowStatistics]:
        """Normalises windows, as `WindowNorm` does, and applies what was learned."""
        normalized, statistics = super().__call__(x, mask)
        if self.scale is not None and self.shift is not None:
            normalized = normalized * self.scale[...] + self.shift[...]
            normalized = normalized if mask is None else jnp.where(mask, normalized, 0)
        return normalized, statistics

    def inverse(self, y: Float[Array, "B H C"], statistics: WindowStatistics) -> Float[Array, "B H C"]:
        """Undoes what was learned, and restores the level and spread of the windows, as `WindowNorm` does."""
        if self.scale is not None and self.shift is not None:
            y = (y - self.shift[...]) / self.scale[...]
        return super().inverse(y, statistics)

    def _size(self, x: Array, counted: Array) -> Array:
        return jnp.sqrt(_variance(x, counted) + self.epsilon)


def _mean(x: Array, counted: Array) -> Array:
    count = jnp.maximum(jnp.sum(counted, axis=1, keepdims=True), 1).astype(x.dtype)
    return jnp.sum(jnp.where(counted, x, 0), axis=1, keepdims=True) / count


def _variance(x: Array, counted: Array) -> Array:
    return _mean(jnp.square(x - _mean(x, counted)), counted)


def _median(x: Array, counted: Array) -> Array:
    ordered = jnp.sort(jnp.where(counted, x, jnp.inf), axis=1)
    count = jnp.maximum(jnp.sum(counted, axis=1, keepdims=True), 1)
    low, high = (jnp.take_along_axis(ordered, index, axis=1) for index in ((count - 1) // 2, count // 2))
    return 0.5 * (low + high)


_Statistic = Callable[[Array, Array], Array]

CENTERS: dict[str, _Statistic] = {
    "none": lambda x, counted: jnp.zeros_like(x[:, :1]),
    "last": last_observed,
    "mean": _mean,
    "median": _median,
}
"""Levels of windows (B, T, C) over the steps that count, (B, 1, C), by name."""

SCALES: dict[str, _Statistic] = {
    "none": lambda x, counted: jnp.ones_like(x[:, :1]),
    "std": lambda x, counted: jnp.sqrt(_variance(x, counted)),
    "mad": lambda x, counted: _mean(jnp.abs(x - _mean(x, counted)), counted),
    "mean_abs": lambda x, counted: _mean(jnp.abs(x), counted),
}
"""Sizes of windows over the steps that count, by name, in the same way."""
