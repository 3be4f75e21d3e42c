"""Covariates made from timestamps: the hour, the weekday, the month and others, as points on a circle; holidays."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float64

from lstmjax.config import CalendarName, DataConfig
from lstmjax.data.frequency import DAY, Frequency
from lstmjax.data.holiday import holiday_feature
from lstmjax.data.panel import Schema
from lstmjax.errors import ConfigError, DataError

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


def time_features(times: pd.Index, schema: Schema) -> Float64[np.ndarray, "R Fc"]:
    """Returns all covariates that are made from the times: those of `calendar_features`, then the public holidays.

    Args:
        times: (R,) timestamps, on the clock of their own time zone.
        schema: ``calendar`` and ``holidays``.

    Returns:
        (R, Fc), with the names of `time_feature_names`.
    """
    columns = calendar_features(times, schema.calendar)
    return columns if schema.holidays is None else np.hstack([columns, holiday_feature(times, schema.holidays)])


def time_feature_names(schema: Schema) -> list[str]:
    """Names the columns of `time_features`."""
    names = [f"{name}_{part}" for name in schema.calendar for part in ("sin", "cos")]
    return names if schema.holidays is None else [*names, f"holiday_{schema.holidays}"]


def check_calendar(config: DataConfig, frequency: Frequency, source: str) -> None:
    """Requires timestamps where covariates are made from them, and days for holidays.

    Raises:
        DataError: the times are whole numbers.
        ConfigError: the steps are longer than a day, or there are no such holidays.
    """
    asked = [f"data.calendar asks for {', '.join(config.calendar)}"] if config.calendar else []
    if config.holidays is not None:
        asked.append(f"data.holidays for {config.holidays}")
    if asked and frequency.integer:
        raise DataError(
            f"{source}: column {config.time_col!r} holds whole numbers, and {' and '.join(asked)}: give timestamps, or "
            "leave these options out"
        )
    if config.holidays is not None:
        if frequency.base not in (None, "B") or frequency.step > DAY:
            raise ConfigError(
                f"data.holidays is {config.holidays!r}: the table has the frequency {frequency.text!r}, and a holiday "
                "is a day: leave the option out for longer steps"
            )
        holiday_feature(pd.DatetimeIndex(["2000-01-01"]), config.holidays)
