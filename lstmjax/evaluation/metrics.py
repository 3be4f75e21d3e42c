"""Error metrics of point forecasts, on arrays. `lstmjax.evaluation.table` has those of tables.

A missing truth (NaN) counts nowhere. A missing forecast of an observed truth makes the metric NaN: a model is never
scored only on the rows that it answered.
"""

import math

import numpy as np
from jaxtyping import Float, Int

METRICS = ("mse", "rmse", "mae", "smape", "mase")
"""The metrics of point forecasts, in the order in which they are shown."""


def mse(y: Float[np.ndarray, "..."], forecast: Float[np.ndarray, "..."]) -> float:
    """Mean squared error over all observed values.

    Args:
        y: truth, of any shape; NaN where missing.
        forecast: forecasts of the same shape and unit.

    Returns:
        The metric, in the unit of ``y`` squared; NaN if nothing was observed.

    Raises:
        ValueError: the shapes differ.

    >>> mse(np.array([1.0, 2.0, np.nan]), np.array([1.0, 4.0, 9.0]))
    2.0
    """
    y, forecast = _observed(y, forecast)
    return _mean(np.square(y - forecast))


def rmse(y: Float[np.ndarray, "..."], forecast: Float[np.ndarray, "..."]) -> float:
    """Square root of `mse`, in the unit of ``y``. Arguments and errors as there."""
    return math.sqrt(mse(y, forecast))


def mae(y: Float[np.ndarray, "..."], forecast: Float[np.ndarray, "..."]) -> float:
    """Mean absolute error, in the unit of ``y``. Arguments and errors as in `mse`."""
    y, forecast = _observed(y, forecast)
    return _mean(np.abs(y - forecast))


def smape(y: Float[np.ndarray, "..."], forecast: Float[np.ndarray, "..."]) -> float:
    """Symmetric mean absolute percentage error as in the M4 competition, from 0 to 200.

    Arguments and errors as in `mse`.

    Returns:
        The mean of 200 |y - forecast| / (|y| + |forecast|), where 0 / 0 is 0.

    References:
        Makridakis, Spiliotis, Assimakopoulos: The M4 Competition, https://doi.org/10.1016/j.ijforecast.2019.04.014

    >>> smape(np.array([1.0, 0.0]), np.array([3.0, 0.0]))
    50.0
    """
    y, forecast = _observed(y, forecast)
    size = np.abs(y) + np.abs(forecast)
    return _mean(np.where(size == 0, 0.0, 200 * np.abs(y - forecast) / np.where(size == 0, 1.0, size)))


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
        scale: one number per series and target, shape (N, C). Where it is 0 (a constant series) or NaN (shorter than a
            season) there is no MASE: those are left out.
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
    error = np.abs(y - forecast)
    counted = ~np.isnan(y)
    sums, counts = np.zeros(scale.shape), np.zeros(scale.shape)
    np.add.at(sums, series, np.where(counted, error, 0.0).sum(axis=1))
    np.add.at(counts, series, counted.sum(axis=1))
    usable = (counts > 0) & (scale > 0)
    return _mean(sums[usable] / counts[usable] / scale[usable])


def seasonal_scale(y: Float[np.ndarray, "R C"], season_length: int) -> Float[np.ndarray, " C"]:
    """Mean |y_t - y_{t-m}| of one series, over the pairs of which both were observed: MASE divides by it.

    Args:
        y: all rows of one series before the test, shape (rows, C), original units; NaN where missing.
        season_length: rows in one season, m.

    Returns:
        One scale per target, shape (C,); NaN where no pair was observed.

    >>> seasonal_scale(np.array([[1.0], [5.0], [2.0], [8.0]]), season_length=2)
    array([2.])
    """
    change = np.abs(y[season_length:] - y[:-season_length])
    observed = ~np.isnan(change)
    counts = observed.sum(axis=0)
    sums = np.where(observed, change, 0.0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _check_shapes(y: np.ndarray, forecast: np.ndarray) -> None:
    if y.shape != forecast.shape:
        raise ValueError(f"y has shape {y.shape} and forecast {forecast.shape}: expected equal shapes")


def _observed(y: np.ndarray, forecast: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Selects truth and forecast where the truth was observed; flat arrays."""
    _check_shapes(y, forecast)
    observed = ~np.isnan(y)
    return y[observed], forecast[observed]


def _mean(values: np.ndarray) -> float:
    """Mean in float64; NaN for no values, where NumPy would warn."""
    return float(values.mean(dtype=np.float64)) if values.size else math.nan
