"""Forecasts that a model must beat: the last value, and the value one season before.

They use all rows before the cut-off, not only a network's lookback: a season may be longer than the lookback.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtri

from lstmjax.data.origins import windows_of
from lstmjax.data.panel import PART_ROWS, series_ranges
from lstmjax.errors import ConfigError
from lstmjax.evaluation.past import residual_deviations

OwnBaseline = Callable[[np.ndarray, int], np.ndarray]
"""A baseline of the user's own: ``(history, h) -> forecast``, of float64 arrays of shape (T,) and (h,) in the table's
units. The history is all rows of one series and target before a cutoff, NaN where missing."""


def naive(
    y: Float[np.ndarray, "R C"],
    offsets: Int[np.ndarray, " bounds"],
    series: Int[np.ndarray, " W"],
    origin: Int[np.ndarray, " W"],
    *,
    h: int,
    season_length: int = 1,
) -> Float[np.ndarray, "W H C"]:
    """Repeats the last value observed before the cut-off.

    Args:
        y: all rows of all series, one series after the other, shape (rows, C); NaN where missing.
        offsets: first row of each series in ``y``, and the end of the last one, shape (N + 1,).
        series: the series of each window, shape (windows,).
        origin: each window's first forecast row, counted from the beginning of its series, shape (windows,). It may
            be the row after the last.
        h: horizon H, in rows.
        season_length: not used; all baselines have the same arguments.

    Returns:
        Forecasts of shape (windows, H, C) in the unit of ``y``; NaN where nothing was observed before the cut-off.
    """
    return seasonal_naive(y, offsets, series, origin, h=h, season_length=1)


def seasonal_naive(
    y: Float[np.ndarray, "R C"],
    offsets: Int[np.ndarray, " bounds"],
    series: Int[np.ndarray, " W"],
    origin: Int[np.ndarray, " W"],
    *,
    h: int,
    season_length: int,
) -> Float[np.ndarray, "W H C"]:
    """Repeats the last season before the cut-off.

    A missing value is taken from the nearest earlier season in which it was observed; where there is none, it is the
    last observed value.

    Arguments and result as in `naive`; ``season_length`` is the number of rows in one season.

    >>> y, offsets = np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([0, 4])
    >>> seasonal_naive(y, offsets, np.array([0]), np.array([4]), h=3, season_length=2)[0, :, 0]
    array([3., 4., 3.])
    """
    return in_parts(lambda *part: _seasonal_naive(*part, h=h, season_length=season_length), y, offsets, series, origin)


def in_parts(
    function: Callable[..., np.ndarray],
    y: Float[np.ndarray, "R C"],
    offsets: Int[np.ndarray, " bounds"],
    series: Int[np.ndarray, " W"],
    origin: Int[np.ndarray, " W"],
    *columns: np.ndarray,
) -> np.ndarray:
    """Computes something of each window from the rows of its series, a few series at a time.

    Args:
        function: ``function(y, offsets, series, origin, *columns)``, one result per window.
        y: as in `naive`.
        offsets: as in `naive`.
        series: as in `naive`.
        origin: as in `naive`.
        columns: more arguments, with one entry per window.
    """
    if len(y) <= PART_ROWS or (np.diff(series) < 0).any():
        return function(y, offsets, series, origin, *columns)
    found = []
    for some in series_ranges(offsets, PART_ROWS):
        own, begin = windows_of(some, series), offsets[some.start]
        if own.start < own.stop:
            part = np.asarray(y)[begin : offsets[some.stop]], offsets[some.start : some.stop + 1] - begin
            found.append(function(*part, series[own] - some.start, *(column[own] for column in (origin, *columns))))
    return np.concatenate(found) if found else function(y[:0], offsets[:1] * 0, series, origin, *columns)


def _seasonal_naive(
    y: np.ndarray, offsets: np.ndarray, series: np.ndarray, origin: np.ndarray, *, h: int, season_length: int
) -> np.ndarray:
    # Horizon step k repeats row k - m (k // m + 1), counted from the origin: the latest row with the same place in the
    # season before the cut-off.
    steps = np.arange(h)
    rows = origin[:, None] + steps - season_length * (steps // season_length + 1)
    found = _look_up(_latest_observed(y, offsets, season_length), offsets, series, rows)
    if season_length > 1:
        last = _look_up(_latest_observed(y, offsets, 1), offsets, series, origin[:, None] - 1)
        found = np.where(found < 0, last, found)
    values = np.take_along_axis(y, found.reshape(-1, y.shape[1]), axis=0).reshape(found.shape)
    return np.where(found < 0, np.nan, values)


BASELINES = {"naive": naive, "seasonal_naive": seasonal_naive}
"""Baselines by the names of their columns in a table of forecasts."""


def own_baseline(
    name: str,
    baseline: OwnBaseline,
    y: Float[np.ndarray, "R C"],
    offsets: Int[np.ndarray, " bounds"],
    series: Int[np.ndarray, " W"],
    origin: Int[np.ndarray, " W"],
    *,
    h: int,
) -> Float[np.ndarray, "W H C"]:
    """Forecasts by a baseline of the user's own.

    Args:
        name: of the baseline.
        baseline: see `OwnBaseline`; it is called once per window and target.
        y: as in `naive`.
        offsets: as in `naive`.
        series: as in `naive`.
        origin: as in `naive`.
        h: as in `naive`.

    Raises:
        ConfigError: it does not return ``h`` numbers.
    """
    found = np.empty((len(series), h, y.shape[1]))
    for window, (begin, rows) in enumerate(zip(offsets[series].tolist(), origin.tolist(), strict=True)):
        for channel in range(y.shape[1]):
            history = y[begin : begin + rows, channel].copy()  # whatever it does with it
            given = baseline(history, h)
            try:
                forecast = np.asarray(given, float)
            except (TypeError, ValueError):
                forecast = np.empty(0)
            if forecast.shape != (h,):
                shape = getattr(given, "shape", None)
                returned = type(given).__name__ if shape is None else f"an array of shape {tuple(shape)}"
                raise ConfigError(
                    f"the baseline {name!r} returned {returned} for a history of {rows} rows: expected {h} numbers"
                )
            found[window, :, channel] = forecast
    return found


def baseline_quantiles(
    name: str,
    forecast: Float[np.ndarray, "W H C"],
    y: Float[np.ndarray, "R C"],
    offsets: Int[np.ndarray, " bounds"],
    series: Int[np.ndarray, " W"],
    origin: Int[np.ndarray, " W"],
    *,
    season_length: int,
    probabilities: Sequence[float],
) -> Float[np.ndarray, "W H C K"]:
    """Quantiles of a baseline from its errors before each cut-off: normal around the forecast, as in statsforecast.

    The deviation of the errors one season ahead is `lstmjax.evaluation.past.residual_deviations`; h steps ahead it is
    sqrt(1 + floor((h - 1) / m)) times as large, as every season adds an error. Where no two rows a season apart were
    observed, seasonal naive has the quantiles of naive, as it has its forecast.

    Args:
        name: of the baseline.
        forecast: its forecasts.
        y: as in `naive`.
        offsets: as in `naive`.
        series: as in `naive`.
        origin: as in `naive`.
        season_length: rows in one season.
        probabilities: of the K quantiles.

    Returns:
        In the unit of ``y``; NaN where no two rows were observed before the cut-off.

    References:
        Hyndman, Athanasopoulos: Forecasting, section 5.5, https://otexts.com/fpp3/prediction-intervals.html
    """
    steps = np.arange(forecast.shape[1])[:, None]  # (H, 1)

    def deviations(rows: int) -> np.ndarray:
        deviation = in_parts(functools.partial(residual_deviations, season_length=rows), y, offsets, series, origin)
        return deviation[:, None] * np.sqrt(1 + steps // rows)  # (W, H, C)

    deviation = deviations(1)
    if name != "naive" and season_length > 1:
        seasonal = deviations(season_length)
        deviation = np.where(np.isnan(seasonal), deviation, seasonal)
    return forecast[..., None] + deviation[..., None] * ndtri(np.asarray(probabilities))


def _latest_observed(y: np.ndarray, offsets: np.ndarray, season_length: int) -> np.ndarray:
    """Returns for each row and target the latest row, itself or whole seasons before, with a value; -1 for none."""
    rows = np.arange(len(y))
    series = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    if season_length == 1:
        latest = np.maximum.accumulate(np.where(np.isnan(y), -1, rows[:, None]), axis=0)
        return np.where(latest >= offsets[series][:, None], latest, -1)
    place = (rows - offsets[series]) % season_length
    # Sort rows with the same place in the season next to each other, so that a running maximum fills forward.
    order = np.argsort(series * season_length + place, kind="stable")
    group = (series * season_length + place)[order]
    first = np.maximum.accumulate(np.where(np.diff(group, prepend=-1) != 0, rows, 0))
    latest = np.maximum.accumulate(np.where(np.isnan(y[order]), -1, rows[:, None]), axis=0)
    found = np.empty_like(latest)
    found[order] = np.where(latest >= first[:, None], order[latest], -1)
    return found


def _look_up(latest: np.ndarray, offsets: np.ndarray, series: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns `latest` at row numbers within a series, shape (W, H, C); -1 before the beginning of the series."""
    flat = np.clip(offsets[series][:, None] + rows, 0, len(latest) - 1)
    return np.where((rows >= 0)[..., None], latest[flat], -1)
