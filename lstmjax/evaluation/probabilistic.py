"""Metrics of quantiles, intervals, samples and distributions, on arrays. `lstmjax.evaluation.table` is for tables.

A missing truth (NaN) counts nowhere. A missing forecast of an observed truth makes a mean NaN.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from lstmjax.ops.pinball import pinball


def crps(y: Any, quantiles: Any, probabilities: Any) -> Any:
    """The continuous ranked probability score from quantiles, elementwise: their mean pinball loss.

    With 0.1, 0.2, ..., 0.9 it is what fev and GluonTS average for SQL and WQL. Scores from other probabilities are not
    comparable.

    Args:
        y: truth, of NumPy or JAX, of shape (...).
        quantiles: forecasts, (..., K).
        probabilities: of the K quantiles.

    Returns:
        (...) in the unit of the truth.
    """
    return pinball(y[..., None], quantiles, np.asarray(probabilities)).mean(-1)


def crps_sample(y: Float[np.ndarray, "*shape"], samples: Float[np.ndarray, "n *shape"]) -> Float[np.ndarray, "*shape"]:
    """The continuous ranked probability score of samples: E|X - y| - E|X - X'| / 2 of their distribution, exactly.

    It sorts: n log n operations for n samples.

    Args:
        y: truth.
        samples: n draws for each.

    References:
        Gneiting, Raftery: Strictly proper scoring rules, https://doi.org/10.1198/016214506000001437

    >>> crps_sample(np.array([0.0]), np.array([[-1.0], [1.0]]))
    array([0.5])
    """
    n = len(samples)
    rank = (2 * np.arange(1, n + 1) - n - 1).reshape(n, *(1,) * y.ndim)
    return abs(samples - y).mean(axis=0) - (rank * np.sort(samples, axis=0)).sum(axis=0) / n**2


def crps_normal(y: Any, mean: Any, deviation: Any) -> Any:
    """The continuous ranked probability score of a normal distribution, elementwise.

    Args:
        y: truth.
        mean: of the distribution.
        deviation: of the distribution, above 0.
    """
    z = (y - mean) / deviation
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return deviation * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))


def wql(
    y: Float[np.ndarray, "W H C"], quantiles: Float[np.ndarray, "W H C K"], probabilities: Sequence[float]
) -> float:
    """Weighted quantile loss, as in fev: the mean of `crps` over the mean of |y|, averaged over the targets.

    fev computes it for the windows of one cutoff, and takes the plain mean over cutoffs.

    Args:
        y: truth by window, step and target; NaN where missing.
        quantiles: forecasts.
        probabilities: of the K quantiles.

    Returns:
        The metric; NaN where no target has a truth other than 0.
    """
    observed = ~np.isnan(y)
    score = crps(np.where(observed, y, 0), np.where(observed[..., None], quantiles, 0), probabilities)
    size = np.where(observed, abs(y), 0).sum(axis=(0, 1))  # (C,)
    return _mean(score.sum(axis=(0, 1))[size > 0] / size[size > 0])


def sql(
    y: Float[np.ndarray, "W H C"],
    quantiles: Float[np.ndarray, "W H C K"],
    probabilities: Sequence[float],
    scale: Float[np.ndarray, "W C"],
) -> float:
    """Scaled quantile loss, as in fev: the mean of `crps` in units of a scale, averaged over the targets.

    fev computes it for the windows of one cutoff, and takes the plain mean over cutoffs.

    Args:
        y: truth by window, step and target; NaN where missing.
        quantiles: forecasts.
        probabilities: of the K quantiles.
        scale: of each window and target: `lstmjax.evaluation.past_scales.past_scales` as in fev, or
            `lstmjax.evaluation.metrics.seasonal_scale` of its series. Where it is 0 or NaN, windows are left out.

    Returns:
        The metric; NaN where nothing is left.
    """
    counts = ~np.isnan(y) & (scale > 0)[:, None]  # (W, H, C)
    scores = [
        _mean(crps(y[kept], quantiles[kept], probabilities) / np.broadcast_to(scale[:, None], y.shape)[kept])
        for kept in (counts & (np.arange(y.shape[2]) == channel) for channel in range(y.shape[2]))
        if kept.any()
    ]
    return _mean(np.array(scores))


def inside(y: Any, lower: Any, upper: Any) -> Any:
    """Whether truths lie in an interval, its ends included, as 1 or 0; NaN where the truth or an end is missing.

    Its mean over observed truths is the coverage.

    >>> inside(np.array([1.0, 2.0, 4.0, np.nan]), np.array(1.0), np.array(3.0))
    array([ 1.,  1.,  0., nan])
    """
    return np.where(np.isnan(y + lower + upper), np.nan, (lower <= y) & (y <= upper))


def interval_score(y: Any, lower: Any, upper: Any, level: float) -> Any:
    """The interval (Winkler) score, elementwise: the width, and 2 / alpha times the distance of a truth outside.

    Args:
        y: truth.
        lower: lower end.
        upper: upper end.
        level: of the interval, in percent: alpha = 1 - level / 100.

    >>> interval_score(np.array([2.0, 5.0]), 1.0, 3.0, level=80)
    array([ 2., 22.])
    """
    outside = np.maximum(lower - y, 0) + np.maximum(y - upper, 0)
    return upper - lower + 2 / (1 - level / 100) * outside


@dataclasses.dataclass(frozen=True)
class IntervalMetric:
    """A metric of the intervals of one level, as the mean of a function of each.

    Attributes:
        heading: what it is called in print.
        value: of truth, lower end, upper end and level, elementwise.
        unit: the unit in print, where the series have one; ``{unit}`` stands for theirs.
    """

    heading: str
    value: Callable[[Any, Any, Any, float], Any]
    unit: str | None = None


INTERVAL_METRICS: dict[str, IntervalMetric] = {
    "coverage": IntervalMetric("coverage", lambda y, lower, upper, level: inside(y, lower, upper)),
    "width": IntervalMetric("mean width", lambda y, lower, upper, level: upper - lower, unit="{unit}"),
    "interval_score": IntervalMetric("interval score", interval_score, unit="{unit}"),
}
"""The metrics of intervals; of level 80 they are called ``coverage-80``, and so on."""


@dataclasses.dataclass(frozen=True)
class QuantileMetric:
    """A metric of quantiles: the mean `crps`, in units of a scale where it has one.

    Attributes:
        heading: what it is called in print.
        scale: of what the mean is a multiple. ``series``: the `seasonal_scale` of each series and target, which are
            averaged over series and targets. ``target``: the mean absolute truth of each target, averaged over targets.
        unit: the unit in print, where the series have one; ``{unit}`` stands for theirs.
    """

    heading: str
    scale: str | None = None
    unit: str | None = None


QUANTILE_METRICS: dict[str, QuantileMetric] = {
    "crps": QuantileMetric("CRPS", unit="{unit}"),
    "wql": QuantileMetric("WQL", scale="target"),
    "sql": QuantileMetric("SQL", scale="series"),
}
"""The metrics of quantiles, in the order in which they are shown."""


def coverage(
    y: Float[np.ndarray, "*shape"], lower: Float[np.ndarray, "*shape"], upper: Float[np.ndarray, "*shape"]
) -> float:
    """The fraction of observed truths in their intervals; NaN where nothing was observed, or an end is missing."""
    return _mean_observed(y, inside(y, lower, upper))


def mean_width(
    y: Float[np.ndarray, "*shape"], lower: Float[np.ndarray, "*shape"], upper: Float[np.ndarray, "*shape"]
) -> float:
    """The mean width of the intervals of observed truths, in their unit; NaN as for `coverage`."""
    return _mean_observed(y, upper - lower)


def frequencies(y: Float[np.ndarray, "*shape"], quantiles: Float[np.ndarray, "*shape K"]) -> Float[np.ndarray, " K"]:
    """The fraction of observed truths at or below each quantile: its probability, where forecasts are calibrated.

    Args:
        y: truth, of any shape; NaN where missing.
        quantiles: forecasts.

    Returns:
        (K,); NaN where a forecast of an observed truth is missing, or nothing was observed.
    """
    observed = ~np.isnan(y)
    y, quantiles = y[observed], quantiles[observed]
    if not len(y):
        return np.full(quantiles.shape[-1], np.nan)
    return np.where(np.isnan(quantiles).any(axis=0), np.nan, (y[:, None] <= quantiles).mean(axis=0))


def _mean_observed(y: np.ndarray, values: np.ndarray) -> float:
    return _mean(values[~np.isnan(y)])


def _mean(values: np.ndarray) -> float:
    """Mean in float64; NaN for no values, where NumPy would warn."""
    return float(values.mean(dtype=np.float64)) if values.size else math.nan
