"""Error metrics of point forecasts, on arrays. `lstmjax.evaluation.table` has those of tables.

A missing truth (NaN) counts nowhere. A missing forecast of an observed truth makes the metric NaN: a model is never
scored only on the rows that it answered.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int

from lstmjax.data.rounding import repeats

OwnMetric = Callable[[np.ndarray, np.ndarray], float]
"""A metric of the user's own: of the observed truths and their forecasts, two flat arrays, in the table's units."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric as a function of the errors. Its functions take NumPy and JAX arrays: a sweep ranks trials by it.

    Attributes:
        heading: what it is called in print.
        error: of truth and forecast, elementwise.
        finish: of the mean error.
        seasonal: whether errors are divided by the `seasonal_scale` of their series and target, and averaged per series
            and target first, so that each counts once.
        unit: the unit in print, where the series have one; ``{unit}`` stands for theirs.
    """

    heading: str
    error: Callable[[Any, Any], Any]
    finish: Callable[[Any], Any] = lambda mean: mean
    seasonal: bool = False
    unit: str | None = None

    def __call__(self, y: Float[np.ndarray, "..."], forecast: Float[np.ndarray, "..."]) -> float:
        """The metric over all observed values, those of a seasonal one undivided.

        Args:
            y: truth, of any shape; NaN where missing.
            forecast: forecasts of the same shape and unit.

        Returns:
            The metric; NaN if nothing was observed.

        Raises:
            ValueError: the shapes differ.

        >>> METRICS["mse"](np.array([1.0, 2.0, np.nan]), np.array([1.0, 4.0, 9.0]))
        2.0
        """
        _check_shapes(y, forecast)
        observed = ~np.isnan(y)
        return float(self.finish(_mean(self.error(y[observed], forecast[observed]))))

    def by_group(
        self, y: Float[np.ndarray, " R"], forecast: Float[np.ndarray, " R"], groups: "Groups"
    ) -> Float[np.ndarray, " G"]:
        """The metric of each group of observed values; NaN for a group that has none, or that lacks a forecast.

        Args:
            y: truth, all of it observed.
            forecast: forecasts.
            groups: which values belong together.
        """
        error = np.asarray(self.error(y, forecast), np.float64)
        return self.finish(groups.scaled_mean(error) if self.seasonal else groups.mean(error))


@dataclasses.dataclass(frozen=True)
class Groups:
    """Which of R observed values belong together, in G groups, and how their errors are scaled."""

    group: Int[np.ndarray, " R"]
    """The group of each value."""
    size: Int[np.ndarray, " G"]
    """How many values each group has."""
    cell: Int[np.ndarray, " R"]
    """The cell of each value: values of one group, series and target."""
    cell_size: Int[np.ndarray, " K"]
    """How many values each cell has."""
    cell_group: Int[np.ndarray, " K"]
    """The group of each cell."""
    cell_scale: Float[np.ndarray, " K"]
    """The seasonal scale of each cell."""

    @classmethod
    def of(
        cls,
        group: Int[np.ndarray, " R"],
        total: int,
        column: Int[np.ndarray, " R"],
        scale: Float[np.ndarray, " M"],
    ) -> Self:
        """Groups of values.

        Args:
            group: the group of each value.
            total: how many groups there are.
            column: the series and target of each value, as one number.
            scale: of each of these, see `seasonal_scale`.
        """
        cells, cell, cell_size = np.unique(group * len(scale) + column, return_inverse=True, return_counts=True)
        size, columns = np.bincount(group, minlength=total), max(len(scale), 1)
        return cls(group, size, cell, cell_size, cells // columns, scale[cells % columns])

    def mean(self, errors: Float[np.ndarray, " R"]) -> Float[np.ndarray, " G"]:
        """The mean error of each group; NaN for one that has no value, or an error of NaN."""
        return _means(errors, self.group, self.size)

    def scaled_mean(self, errors: Float[np.ndarray, " R"]) -> Float[np.ndarray, " G"]:
        """The mean error of each cell over its scale, averaged over the cells of each group that have one."""
        kept = self.cell_scale > 0  # not of NaN
        scaled = _means(errors, self.cell, self.cell_size)[kept] / self.cell_scale[kept]
        of_kept = self.cell_group[kept]
        mean = _means(scaled, of_kept, np.bincount(of_kept, minlength=len(self.size)))
        return np.where(np.isnan(self.mean(errors)), np.nan, mean)

    def by_size(self, y: Float[np.ndarray, " R"], column: Int[np.ndarray, " R"]) -> Self:
        """The same groups, in which a cell is a column, and its scale the mean absolute value of ``y``.

        Args:
            y: the values.
            column: of each, e.g. its target.
        """
        plain = self.of(self.group, len(self.size), column, np.ones(int(column.max(initial=0)) + 1))
        return dataclasses.replace(plain, cell_scale=_means(abs(y), plain.cell, plain.cell_size))


def _squared(y: Any, forecast: Any) -> Any:
    return (y - forecast) ** 2


def _absolute(y: Any, forecast: Any) -> Any:
    return abs(y - forecast)


def _percentage(y: Any, forecast: Any) -> Any:
    xp = y.__array_namespace__()
    size = abs(y) + abs(forecast)
    return xp.where(size == 0, 0.0, 200 * abs(y - forecast) / xp.where(size == 0, 1.0, size))


METRICS: dict[str, Metric] = {
    "mse": Metric("MSE", _squared, unit="{unit}²"),
    "rmse": Metric("RMSE", _squared, lambda mean: mean**0.5, unit="{unit}"),
    "mae": Metric("MAE", _absolute, unit="{unit}"),
    "smape": Metric("sMAPE", _percentage),
    "mase": Metric("MASE", _absolute, seasonal=True),
}
"""The metrics of point forecasts, in the order in which they are shown. An entry is all it takes: it stands in tables,
in metrics.json, and among those a sweep can rank by."""


def mse(y: Float[np.ndarray, "..."], forecast: Float[np.ndarray, "..."]) -> float:
    """Mean squared error over all observed values, in the unit of ``y`` squared; arguments as for `Metric`."""
    return METRICS["mse"](y, forecast)


def rmse(y: Float[np.ndarray, "..."], forecast: Float[np.ndarray, "..."]) -> float:
    """Square root of `mse`, in the unit of ``y``; arguments as for `Metric`."""
    return METRICS["rmse"](y, forecast)


def mae(y: Float[np.ndarray, "..."], forecast: Float[np.ndarray, "..."]) -> float:
    """Mean absolute error, in the unit of ``y``; arguments as for `Metric`."""
    return METRICS["mae"](y, forecast)


def smape(y: Float[np.ndarray, "..."], forecast: Float[np.ndarray, "..."]) -> float:
    """Symmetric mean absolute percentage error as in the M4 competition, from 0 to 200; arguments as for `Metric`.

    Returns:
        The mean of 200 |y - forecast| / (|y| + |forecast|), where 0 / 0 is 0.

    References:
        Makridakis, Spiliotis, Assimakopoulos: The M4 Competition, https://doi.org/10.1016/j.ijforecast.2019.04.014

    >>> smape(np.array([1.0, 0.0]), np.array([3.0, 0.0]))
    50.0
    """
    return METRICS["smape"](y, forecast)


def mase(
    y: Float[np.ndarray, "W H C"],
    forecast: Float[np.ndarray, "W H C"],
    scale: Float[np.ndarray, "N C"],
    series: Int[np.ndarray, " W"],
) -> float:
    """Mean absolute scaled error: each series' mean absolute error in units of its `seasonal_scale`, then averaged.

    Args:
        y: truth of each window, shape (windows, H, C); NaN where missing.
        forecast: forecasts of the same shape and unit.
        scale: one number per series and target, shape (N, C). Where it is 0 (a series that repeats itself) or NaN
            (shorter than a season) there is no MASE: those are left out.
        series: the series of each window, shape (windows,).

    Returns:
        The average over series and targets; NaN if none can be scaled.

    Raises:
        ValueError: the shapes differ.

    References:
        Hyndman, Koehler: Another look at measures of forecast accuracy,
        https://doi.org/10.1016/j.ijforecast.2006.03.001
    """
    _check_shapes(y, forecast)
    column = np.broadcast_to(series[:, None, None] * scale.shape[1] + np.arange(scale.shape[1]), y.shape)
    observed = ~np.isnan(y)
    whole = Groups.of(np.zeros(observed.sum(), int), 1, column[observed], scale.reshape(-1))
    return float(METRICS["mase"].by_group(y[observed], forecast[observed], whole)[0])


def seasonal_scale(y: Float[np.ndarray, "R C"], season_length: int) -> Float[np.ndarray, " C"]:
    """Mean |y_t - y_{t-m}| of one series, over the pairs of which both were observed: MASE divides by it.

    Args:
        y: all rows of one series before the test, shape (rows, C), original units; NaN where missing.
        season_length: rows in one season, m.

    Returns:
        One scale per target, shape (C,); NaN where no pair was observed; 0 where the series repeats itself season for
        season, and what differs is rounding.

    >>> seasonal_scale(np.array([[1.0], [5.0], [2.0], [8.0]]), season_length=2)
    array([2.])
    >>> seasonal_scale(10 + np.sin(np.arange(96.0) * np.pi / 12)[:, None], season_length=24)
    array([0.])
    """
    change = abs(y[season_length:] - y[:-season_length])
    observed = ~np.isnan(change)
    counts = observed.sum(axis=0)
    sums = np.where(observed, change, 0.0).sum(axis=0)
    mean = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return np.where((counts > 0) & repeats(y, season_length), 0.0, mean)


def _check_shapes(y: np.ndarray, forecast: np.ndarray) -> None:
    if y.shape != forecast.shape:
        raise ValueError(f"y has shape {y.shape} and forecast {forecast.shape}: expected equal shapes")


def _mean(values: np.ndarray) -> float:
    """Mean in float64; NaN for no values, where NumPy would warn."""
    return float(values.mean(dtype=np.float64)) if values.size else math.nan


def _means(values: np.ndarray, group: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Means of the values of each group; NaN for an empty one."""
    return np.where(size > 0, np.bincount(group, values, minlength=len(size)) / np.maximum(size, 1), np.nan)
