"""Forecasts that a model must beat: the last value, and the value one season before.

They use all rows before the cut-off, not only a network's lookback: a season may be longer than the lookback.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtri

from lstmjax.data.columns import columns_of_series
from lstmjax.data.origins import windows_of
from lstmjax.data.panel import PART_ROWS, series_ranges
from lstmjax.errors import ConfigError
from lstmjax.evaluation.past_scales import residual_deviations

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


def past_deviations(
    y: Float[np.ndarray, "R C"],
    offsets: Int[np.ndarray, " bounds"],
    series: Int[np.ndarray, " W"],
    origin: Int[np.ndarray, " W"],
    *,
    season_length: int,
) -> dict[str, Float[np.ndarray, "2 W C"]]:
    """What `baseline_quantiles` needs of the rows before each cut-off, by the name of the baseline.

    Arguments as in `naive`.

    Returns:
        `lstmjax.evaluation.past_scales.residual_deviations` one row ahead, and one season ahead. The latter is NaN
        where the quantiles are those of naive, as the forecast is: where no two rows a season apart were observed.
    """
    where = (y, offsets, series, origin)
    last = in_parts(functools.partial(residual_deviations, season_length=1), *where)
    seasonal = np.full_like(last, np.nan)
    if season_length > 1:
        seasonal = in_parts(functools.partial(residual_deviations, season_length=season_length), *where)
    return {"naive": np.stack([last, np.full_like(last, np.nan)]), "seasonal_naive": np.stack([last, seasonal])}


def baseline_quantiles(
    forecast: Float[np.ndarray, "W H C"],
    deviations: Float[np.ndarray, "2 W C"],
    *,
    season_length: int,
    probabilities: Sequence[float],
) -> Float[np.ndarray, "W H C K"]:
    """Quantiles of a baseline from its errors before each cut-off: normal around the forecast, as in statsforecast.

    h steps ahead the deviation is sqrt(1 + floor((h - 1) / m)) times that of one season ahead, as every season adds an
    error.

    Args:
        forecast: its forecasts.
        deviations: its own from `past_deviations`.
        season_length: rows in one season.
        probabilities: of the K quantiles.

    Returns:
        In the unit of ``y``; NaN where no two rows were observed before the cut-off.

    References:
        Hyndman, Athanasopoulos: Forecasting, section 5.5, https://otexts.com/fpp3/prediction-intervals.html
    """
    steps = np.arange(forecast.shape[1])[:, None]  # (H, 1)
    last, seasonal = (
        deviation[:, None] * np.sqrt(1 + steps // rows)  # (W, H, C)
        for deviation, rows in zip(deviations, (1, season_length), strict=True)
    )
    deviation = np.where(np.isnan(seasonal), last, seasonal)
    return forecast[..., None] + deviation[..., None] * ndtri(np.asarray(probabilities))


def _latest_observed(y: np.ndarray, offsets: np.ndarray, season_length: int) -> np.ndarray:
    """Returns for each row and target the latest row, itself or whole seasons before, with a value; -1 for none."""
    if not np.isnan(y).any():
        return np.broadcast_to(np.arange(len(y))[:, None], y.shape)
    found = np.full(y.shape, -1)
    for cells, columns in columns_of_series(y, offsets, np.diff(offsets), observed=False):
        rows, (series, channel) = np.arange(len(columns))[:, None], np.divmod(cells, y.shape[1])
        seasons = np.full((-(-len(columns) // season_length) * season_length, len(cells)), -1)
        seasons[: len(columns)] = np.where(np.isnan(columns), -1, offsets[series] + rows)
        latest = np.maximum.accumulate(seasons.reshape(-1, season_length, len(cells)), axis=0)
        found[offsets[series] + rows, channel] = latest.reshape(seasons.shape)[: len(columns)]
    return found


def _look_up(latest: np.ndarray, offsets: np.ndarray, series: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns `latest` at row numbers within a series, shape (W, H, C); -1 before the beginning of the series."""
    flat = np.clip(offsets[series][:, None] + rows, 0, len(latest) - 1)
    return np.where((rows >= 0)[..., None], latest[flat], -1)
