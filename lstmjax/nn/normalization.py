"""Normalisation of a window by its own statistics, undone on the forecast."""

from collections.abc import Callable
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
    """Removes each window's own level and spread from the input, and restores them in the forecast.

    So a series whose level drifts looks the same to the network at all times. The statistics belong to the window: they
    are returned and passed to `inverse`, never stored, so that one module serves many windows at once. A window whose
    values differ by rounding alone is constant: it becomes 0.

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
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones(features, param_dtype)) if affine else None
        self.shift = nnx.Param(jnp.zeros(features, param_dtype)) if affine else None

    def __call__(
        self, x: Float[Array, "B T C"], mask: Bool[Array, "B T C"] | None = None
    ) -> tuple[Float[Array, "B T C"], WindowStatistics]:
        """Normalises windows.

        Args:
            x: windows, shape (B, T, C).
            mask: True where a value was observed; default everywhere. The others count in no statistic and become
                0. A channel with none observed has mean 0 and deviation 1.

        Returns:
            The normalised windows, and the statistics for `inverse`. No gradient flows through the statistics.
        """
        observed = jnp.ones_like(x, jnp.bool) if mask is None else mask
        mean = _mean(x, observed)
        flat = _flat(x, observed)
        variance = jnp.where(flat, 0, _mean(jnp.square(x - mean), observed))
        deviation = jnp.where(jnp.any(observed, axis=1, keepdims=True), jnp.sqrt(variance + self.epsilon), 1)
        statistics = WindowStatistics(jax.lax.stop_gradient(mean), jax.lax.stop_gradient(deviation))
        normalized = jnp.where(flat, 0, (x - statistics.mean) / statistics.deviation)
        if self.scale is not None and self.shift is not None:
            normalized = normalized * self.scale[...] + self.shift[...]
        return jnp.where(observed, normalized, 0), statistics

    def inverse(self, y: Float[Array, "B H C"], statistics: WindowStatistics) -> Float[Array, "B H C"]:
        """Restores the level and spread of the windows.

        Args:
            y: forecasts in normalised units, shape (B, H, C).
            statistics: as `__call__` returned them for the windows.

        Returns:
            The forecasts in the windows' units.
        """
        shift, scale = self.affine(statistics)
        return y * scale + shift

    def affine(self, statistics: WindowStatistics) -> tuple[Float[Array, "B 1 C"], Float[Array, "B 1 C"]]:
        """`inverse` as shift + scale * y: the shift and the scale, for a forecast that is a distribution."""
        if self.scale is None or self.shift is None:
            return statistics.mean, statistics.deviation
        scale = statistics.deviation / self.scale[...]
        return statistics.mean - self.shift[...] * scale, scale


class WindowNorm(nnx.Module):
    """Removes a level and a size from each window, and restores them in the forecast; it learns nothing.

    A window that is constant, but for rounding, has no deviation: the divisor is at least √epsilon, and where a level
    is subtracted it becomes 0.

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
        self.center = center
        self.scale = scale
        self.rows = rows
        self.epsilon = epsilon

    def __call__(
        self, x: Float[Array, "B T C"], mask: Bool[Array, "B T C"] | None = None
    ) -> tuple[Float[Array, "B T C"], WindowStatistics]:
        """Normalises windows; arguments and results as in `ReversibleNorm`."""
        observed = jnp.ones_like(x, jnp.bool) if mask is None else mask
        counted = observed
        if self.rows is not None and self.rows < x.shape[1]:
            recent = observed & (jnp.arange(x.shape[1]) >= x.shape[1] - self.rows)[None, :, None]
            counted = jnp.where(jnp.any(recent, axis=1, keepdims=True), recent, observed)
        some = jnp.any(observed, axis=1, keepdims=True)
        center = jnp.where(some, CENTERS[self.center](x, counted), 0)
        size = SCALES[self.scale](x, counted)
        flat = _flat(x, counted) if self.scale in ("std", "mad") else jnp.zeros_like(some)
        if self.scale != "none":
            size = jnp.where(flat, 0, size)
            size = jnp.where(some, jnp.sqrt(size * size + self.epsilon), 1)
        statistics = WindowStatistics(jax.lax.stop_gradient(center), jax.lax.stop_gradient(size))
        noise = flat & counted & (self.center != "none")
        return jnp.where(observed & ~noise, (x - statistics.mean) / statistics.deviation, 0), statistics

    def inverse(self, y: Float[Array, "B H C"], statistics: WindowStatistics) -> Float[Array, "B H C"]:
        """Restores the level and size of the windows; arguments and result as in `ReversibleNorm.inverse`."""
        return y * statistics.deviation + statistics.mean

    def affine(self, statistics: WindowStatistics) -> tuple[Float[Array, "B 1 C"], Float[Array, "B 1 C"]]:
        """As in `ReversibleNorm.affine`."""
        return statistics.mean, statistics.deviation


def _mean(x: Array, counted: Array) -> Array:
    count = jnp.maximum(jnp.sum(counted, axis=1, keepdims=True), 1).astype(x.dtype)
    return jnp.sum(jnp.where(counted, x, 0), axis=1, keepdims=True) / count


def _flat(x: Array, counted: Array) -> Array:
    """Whether the values of a window differ by rounding alone, (B, 1, C): by no more than four units in the last place.

    The mean of equal numbers need not be one of them, and a divisor of that size makes large numbers of nothing.
    """
    highest = jnp.max(jnp.where(counted, x, -jnp.inf), axis=1, keepdims=True)
    lowest = jnp.min(jnp.where(counted, x, jnp.inf), axis=1, keepdims=True)
    return highest - lowest <= 4 * jnp.finfo(x.dtype).eps * jnp.maximum(jnp.abs(highest), jnp.abs(lowest))


def _last(x: Array, counted: Array) -> Array:
    index = x.shape[1] - 1 - jnp.argmax(counted[:, ::-1], axis=1, keepdims=True)
    return jnp.take_along_axis(x, index, axis=1)


def _median(x: Array, counted: Array) -> Array:
    ordered = jnp.sort(jnp.where(counted, x, jnp.inf), axis=1)
    count = jnp.maximum(jnp.sum(counted, axis=1, keepdims=True), 1)
    low, high = (jnp.take_along_axis(ordered, index, axis=1) for index in ((count - 1) // 2, count // 2))
    return 0.5 * (low + high)


_Statistic = Callable[[Array, Array], Array]

CENTERS: dict[str, _Statistic] = {
    "none": lambda x, counted: jnp.zeros_like(x[:, :1]),
    "last": _last,
    "mean": _mean,
    "median": _median,
}
"""Levels of windows (B, T, C) over the steps that count, (B, 1, C), by name."""

SCALES: dict[str, _Statistic] = {
    "none": lambda x, counted: jnp.ones_like(x[:, :1]),
    "std": lambda x, counted: jnp.sqrt(_mean(jnp.square(x - _mean(x, counted)), counted)),
    "mad": lambda x, counted: _mean(jnp.abs(x - _mean(x, counted)), counted),
    "mean_abs": lambda x, counted: _mean(jnp.abs(x), counted),
}
"""Sizes of windows over the steps that count, by name, in the same way."""
