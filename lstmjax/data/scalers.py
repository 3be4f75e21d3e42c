"""Center and scale of observed values: of one column, of each column, of each series."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from lstmjax.data.columns import columns_of_series
from lstmjax.data.rounding import constant, rounding

Statistic = Callable[[Any], tuple[Any, Any]]
"""Computes center and scale over the first axis of a NumPy or JAX array (T, ...), whose missing values are NaN."""
Statistics = tuple[np.ndarray, np.ndarray]
"""Centers and scales."""


def _standard(values: Any) -> tuple[Any, Any]:
    xp = values.__array_namespace__()
    return xp.nanmean(values, axis=0), xp.nanstd(values, axis=0)


def _minmax(values: Any) -> tuple[Any, Any]:
    xp = values.__array_namespace__()
    low = xp.nanmin(values, axis=0)
    return low, xp.nanmax(values, axis=0) - low


def _robust(values: Any) -> tuple[Any, Any]:
    xp = values.__array_namespace__()
    # NumPy's nanpercentile loops over columns.
    percentile = xp.percentile if xp is np and not np.isnan(values).any() else xp.nanpercentile
    low, middle, high = percentile(values, xp.asarray([25.0, 50.0, 75.0]), axis=0)
    equal = high - low <= rounding(values)  # most values are one
    return middle, xp.where(equal, xp.nanstd(values, axis=0), high - low)


def _none(values: Any) -> tuple[Any, Any]:
    xp = values.__array_namespace__()
    return xp.zeros(values.shape[1:]), xp.ones(values.shape[1:])


SCALERS: dict[str, Statistic] = {"standard": _standard, "minmax": _minmax, "robust": _robust, "none": _none}
"""Center and scale of observed values, by the scaler's name: mean and population deviation; lowest value and range;
median and interquartile range (the deviation where that is 0); 0 and 1. One entry serves the package, which computes
with NumPy, and the exported function, which is compiled by JAX."""


def covariate(values: np.ndarray) -> tuple[Any, Any]:
    """Returns mean and deviation; of values that are only 0 and 1, returns 0 and 1, which change nothing."""
    return _none(values) if np.isin(values, (0.0, 1.0)).all() else _standard(values)


def center_and_scale(values: Any, statistic: Statistic) -> tuple[Any, Any]:
    """Returns center and scale of each column; the scale of a constant column, which is 0 or rounding, becomes 1.

    Args:
        values: (T, ...) a NumPy or JAX array; NaN where missing. Something must have been observed in each column.
        statistic: center and scale of values.

    Returns:
        Two of (...).
    """
    xp = values.__array_namespace__()
    with np.errstate(over="ignore", invalid="ignore"):  # `lstmjax.data.scaling_fit` checks the result
        center, spread = statistic(values)
        return center, xp.where(constant(values), 1.0, spread)


def each_column(values: Float[np.ndarray, "R F"], statistic: Statistic) -> Statistics:
    """Returns statistics of each column without missing values: two of (F,), 0 and 1 where nothing was observed."""
    rows = np.array([len(values)])
    center, spread = by_series(values, np.append(0, rows), rows, statistic)
    return center[0], spread[0]


def by_series(
    values: Float[np.ndarray, "R C"],
    offsets: Int[np.ndarray, " bounds"],
    rows: Int[np.ndarray, " N"],
    statistic: Statistic,
    others: Statistics | None = None,
) -> Statistics:
    """Returns statistics of the first rows of each series, without missing values.

    Args:
        values: the rows of all series, one after the other.
        offsets: (N + 1,) where each series begins, and where the last one ends.
        rows: number of rows of each series that count.
        statistic: center and scale of values.
        others: centers and scales whose mean a series without observations gets; default: those of the other series.

    Returns:
        Two of (N, C).
    """
    found = np.full((2, len(rows) * values.shape[1]), np.nan)
    for cells, columns in columns_of_series(values, offsets, rows):
        found[:, cells] = center_and_scale(columns, statistic)
    center, spread = found.reshape(2, len(rows), -1)
    known = (center, spread) if others is None else others
    fallback = [_mean(array, default) for array, default in zip(known, (0.0, 1.0), strict=True)]
    return np.where(np.isnan(center), fallback[0], center), np.where(np.isnan(spread), fallback[1], spread)


def _mean(statistics: np.ndarray, default: float) -> np.ndarray:
    """Returns the mean over the series that have the statistic, (C,)."""
    known = ~np.isnan(statistics)
    total = np.where(known, statistics, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), default)
