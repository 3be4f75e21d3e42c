"""Covariates made from timestamps: the hour, the weekday, the month and others, as points on a circle."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float64

from lstmjax.config import CalendarName
from lstmjax.data.frequency import Frequency
from lstmjax.errors import DataError

CALENDAR: dict[CalendarName, tuple[Callable[[pd.DatetimeIndex], pd.Index], int, int]] = {
    "minute": (lambda times: times.minute, 0, 60),
    "hour": (lambda times: times.hour, 0, 24),
    "weekday": (lambda times: times.day_of_week, 0, 7),
    "day": (lambda times: times.day, 1, 31),
    "dayofyear": (lambda times: times.day_of_year, 1, 366),
    "week": (lambda times: pd.Index(times.isocalendar().week), 1, 53),
    "month": (lambda times: times.month, 1, 12),
    "quarter": (lambda times: times.quarter, 1, 4),
}
"""Cycles by the names of ``data.calendar``: the value at each time, the lowest value (Monday for weekdays), and the
number of values."""

WIDTH = 2
"""Number of covariates per cycle."""


def calendar_features(times: pd.Index, names: Sequence[str]) -> Float64[np.ndarray, "R Fc"]:
    """Returns the place of each time in some cycles, as sine and cosine, so that the last value lies next to the first.

    Args:
        times: (R,) timestamps, on the clock of their own time zone.
        names: keys of `CALENDAR`.

    Returns:
        (R, 2 * names), the pairs side by side; (R, 0) without names.

    >>> calendar_features(pd.DatetimeIndex(["2024-01-01 06:00"]), ["hour"]).round(6).tolist()
    [[1.0, 0.0]]
    """
    columns = []
    for name in names:
        value, first, length = CALENDAR[name]  # type: ignore[index]
        angle = 2 * np.pi * (value(pd.DatetimeIndex(times)).to_numpy(np.float64) - first) / length
        columns += [np.sin(angle), np.cos(angle)]
    return np.stack(columns, axis=1) if columns else np.empty((len(times), 0))


def check_calendar(names: Sequence[str], frequency: Frequency, source: str, time_col: str) -> None:
    """Requires timestamps where covariates of the calendar are asked for.

    Raises:
        DataError: the times are whole numbers.
    """
    if names and frequency.integer:
        raise DataError(
            f"{source}: column {time_col!r} holds whole numbers, and data.calendar asks for {', '.join(names)}: give "
            "timestamps, or leave data.calendar out"
        )
