"""Statistics of the rows before each window: how much they change from season to season."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from lstmjax.data.columns import columns_of_series


def past_scales(
    y: Float[np.ndarray, "R C"],
    offsets: Int[np.ndarray, " bounds"],
    series: Int[np.ndarray, " W"],
    origin: Int[np.ndarray, " W"],
    *,
    season_length: int,
) -> Float[np.ndarray, "W C"]:
    """The scales of MASE and SQL as in fev: the mean |y_t - y_{t-m}| over each window's own past.

    `lstmjax.evaluation.metrics.seasonal_scale` has that of metrics.json, over all rows before the test.

    Args:
        y: all rows of all series, one series after the other, shape (rows, C); NaN where missing.
        offsets: first row of each series in ``y``, and the end of the last one, shape (N + 1,).
        series: the series of each window, shape (windows,).
        origin: each window's first forecast row, counted from the beginning of its series, shape (windows,).
        season_length: rows in one season, m.

    Returns:
        (windows, C); NaN where no two observed rows are a season apart; 0 where the past repeats itself. fev leaves
        both out.

    >>> y = np.array([[1.0], [5.0], [2.0], [8.0]])
    >>> past_scales(y, np.array([0, 4]), np.array([0, 0]), np.array([3, 4]), season_length=2).tolist()
    [[1.0], [2.0]]
    """
    return _mean_change(y, offsets, series, origin, season_length, np.abs)


def residual_deviations(
    y: Float[np.ndarray, "R C"],
    offsets: Int[np.ndarray, " bounds"],
    series: Int[np.ndarray, " W"],
    origin: Int[np.ndarray, " W"],
    *,
    season_length: int,
) -> Float[np.ndarray, "W C"]:
    """The deviation of the one-season-ahead errors of seasonal naive in each window's past, around 0.

    Arguments as in `past_scales`.

    Returns:
        The root of sum (y_t - y_{t-m})^2 / (n - m) over the n rows before the cut-off, or over as many as have both
        values; NaN where none has.
    """
    return np.sqrt(_mean_change(y, offsets, series, origin, season_length, np.square))


def _mean_change(
    y: np.ndarray,
    offsets: np.ndarray,
    series: np.ndarray,
    origin: np.ndarray,
    season_length: int,
    size: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """The mean size of y_t - y_{t-m} over the rows before each origin, (W, C); NaN where no pair was observed."""
    sums, counts = np.zeros(y.shape), np.zeros(y.shape, np.int64)
    for cells, columns in columns_of_series(y, offsets, np.diff(offsets), observed=False):
        change = np.full_like(columns, np.nan)
        change[season_length:] = columns[season_length:] - columns[:-season_length]
        known = ~np.isnan(change)
        # Sums that begin anew with every series: one of large values costs the others no digits.
        of_series, channel = np.divmod(cells, y.shape[1])
        at = offsets[of_series] + np.arange(len(columns))[:, None], channel
        sums[at] = np.cumsum(np.where(known, size(change), 0.0), axis=0)
        counts[at] = np.cumsum(known, axis=0)
    last = offsets[series] + origin - 1
    total, count = (np.where((origin > 0)[:, None], column[np.maximum(last, 0)], 0) for column in (sums, counts))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
