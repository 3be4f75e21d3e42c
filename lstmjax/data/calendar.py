"""Covariates that timestamps tell by themselves: the hour, the weekday, the month, as points on a circle."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float64

from lstmjax.config import CalendarName
from lstmjax.data.frequency import Frequency
from lstmjax.errors import DataError


class Cycle(NamedTuple):
    """Something that the calendar repeats."""

    value: Callable[[pd.DatetimeIndex], pd.Index]
    """Its value at each time."""
    first: int
    """Its least value."""
    length: int
    """How many values it has."""


CALENDAR: dict[CalendarName, Cycle] = {
    "minute": Cycle(lambda times: times.minute, 0, 60),
    "hour": Cycle(lambda times: times.hour, 0, 24),
    "weekday": Cycle(lambda times: times.day_of_week, 0, 7),
    "day": Cycle(lambda times: times.day, 1, 31),
    "dayofyear": Cycle(lambda times: times.day_of_year, 1, 366),
    "week": Cycle(lambda times: pd.Index(times.isocalendar().week), 1, 53),
    "month": Cycle(lambda times: times.month, 1, 12),
    "quarter": Cycle(lambda times: times.quarter, 1, 4),
}
"""Cycles by the names ``data.calendar`` gives them; weekdays from Monday on."""

WIDTH = 2
"""Covariates made of each cycle."""


def calendar_features(times: pd.Index, names: Sequence[str]) -> Float64[np.ndarray, "R Fc"]:
    """Where each time stands in some cycles: sine and cosine, so that the last value lies beside the first.

    Args:
        times: (R,) timestamps, on the clock of their own time zone.
        names: keys of `CALENDAR`.

    Returns:
        (R, 2 * names), the pairs side by side; no width for no names.

    >>> calendar_features(pd.DatetimeIndex(["2024-01-01 06:00"]), ["hour"]).round(6).tolist()
    [[1.0, 0.0]]
    """
    columns = []
    for name in names:
        cycle = CALENDAR[name]  # type: ignore[index]
        angle = 2 * np.pi * (cycle.value(pd.DatetimeIndex(times)).to_numpy(np.float64) - cycle.first) / cycle.length
        columns += [np.sin(angle), np.cos(angle)]
    return np.stack(columns, axis=1) if columns else np.empty((len(times), 0))


def check_calendar(names: Sequence[str], frequency: Frequency, source: str, time_col: str) -> None:
    """Checks that there is a calendar.

    Raises:
        DataError: the times are whole numbers.
    """
    if names and frequency.integer:
        raise DataError(
            f"{source}: column {time_col!r} holds whole numbers, and data.calendar asks for {', '.join(names)}: give "
            "timestamps, or leave data.calendar out"
        )
