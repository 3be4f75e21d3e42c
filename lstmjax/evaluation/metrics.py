"""Error metrics of point forecasts, on arrays and on tables of forecasts.

A missing truth (NaN) counts nowhere. A missing forecast of an observed truth makes the metric NaN: a model is never
scored on the rows it happened to answer.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import utilsforecast.losses
from jaxtyping import Float, Int

METRICS = ("mse", "rmse", "mae", "smape", "mase")
"""The metrics of a forecasts table, in the order in which they are shown."""


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
        scale: one number a series and target, shape (N, C). Where it is 0 (a constant series) or NaN (shorter than a
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
    """What MASE divides by: the mean |y_t - y_{t-m}| of one series, over the pairs of which both were observed.

    Args:
        y: all rows of one series before the test, shape (rows, C), original units; NaN where missing.
        season_length: rows in one season, m.

    Returns:
        One scale a target, shape (C,); NaN where no pair was observed.

    >>> seasonal_scale(np.array([[1.0], [5.0], [2.0], [8.0]]), season_length=2)
    array([2.])
    """
    change = np.abs(y[season_length:] - y[:-season_length])
    observed = ~np.isnan(change)
    counts = observed.sum(axis=0)
    sums = np.where(observed, change, 0.0).sum(axis=0)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def table_metrics(
    forecasts: pd.DataFrame, models: Sequence[str], scales: pd.DataFrame, *, id_col: str = "unique_id"
) -> dict[str, dict[str, float]]:
    """The metrics of every model in a table of forecasts, in original units.

    MSE, RMSE, MAE and sMAPE pool all rows: a series counts as often as it has test windows. MASE is scaled per series
    (and target), then averaged, so that there every series counts once.

    Computed with utilsforecast, so anybody can do it again. Three things to know there: with a ``cutoff`` column its
    losses come per window, so drop that column (or group) first; its `smape` runs from 0 to 1, so multiply by 200;
    its results are per series, whose plain average is ours only where all series have equally many test rows (RMSE:
    one series only). A table with one constant id, as here, needs no such condition.

    Args:
        forecasts: one row a window and step, as ``test_forecasts.csv.gz`` holds them: the id column, ``target`` if
            there are several targets, ``y`` (NaN where missing) and a column a model.
        models: names of the models' columns.
        scales: the id column, ``target`` if there are several, and ``scale``: `seasonal_scale` of each series.
        id_col: name of the id column.

    Returns:
        ``{model: {"mse", "rmse", "mae", "smape", "mase"}}``; NaN where a model left an observed row unanswered.

    Raises:
        ValueError: a column is missing.
    """
    keys = [id_col, "target"] if "target" in forecasts.columns else [id_col]
    _check_columns("forecasts", forecasts, [*keys, "y", *models])
    _check_columns("scales", scales, [*keys, "scale"])
    counted = forecasts[forecasts["y"].notna()]
    if counted.empty:
        return {model: dict.fromkeys(METRICS, math.nan) for model in models}
    losses, columns = utilsforecast.losses, list(models)

    pooled = counted[["y", *columns]].assign(unique_id=0)
    results = {name: getattr(losses, name)(pooled, columns)[columns].iloc[0] for name in METRICS[:-1]}
    results["smape"] = 200 * results["smape"]

    groups = counted.groupby(keys, sort=False, observed=True)
    by_series = losses.mae(pooled.assign(unique_id=groups.ngroup()), columns)[columns]
    scale = groups.size().reset_index().merge(scales, on=keys, how="left")["scale"]
    results["mase"] = by_series.div(scale.where(scale > 0), axis="index").mean()

    unanswered = counted[columns].isna().any()
    return {
        model: {name: math.nan if unanswered[model] else float(results[name][model]) for name in METRICS}
        for model in columns
    }


def _check_shapes(y: np.ndarray, forecast: np.ndarray) -> None:
    if y.shape != forecast.shape:
        raise ValueError(f"y has shape {y.shape} and forecast {forecast.shape}: expected equal shapes")


def _check_columns(name: str, table: pd.DataFrame, columns: list[str]) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{name} has no column {missing[0]!r}; its columns are {', '.join(map(str, table.columns))}")


def _observed(y: np.ndarray, forecast: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and forecast where the truth was observed, one behind the other."""
    _check_shapes(y, forecast)
    observed = ~np.isnan(y)
    return y[observed], forecast[observed]


def _mean(values: np.ndarray) -> float:
    """The mean, in float64; NaN for no values, where NumPy would warn."""
    return float(values.mean(dtype=np.float64)) if values.size else math.nan
