"""The frequency of a table that does not name it: the most common step between its rows."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64

from lstmjax.data.frequency import DAY, Frequency, Times, calendar_days, parse_frequency
from lstmjax.errors import DataError

_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_EPOCH_WEEKDAY = _WEEKDAYS.index("THU")  # 1 January 1970


@dataclass(frozen=True)
class Steps:
    """What a frequency is inferred from: counted, so that rows may be looked at a part at a time."""

    wall: dict[int, int]
    """How often each step between two rows of a series occurs, on the wall clock."""
    utc: dict[int, int]
    """The same in UTC."""
    days: Int64[np.ndarray, " D"]
    """The days on which there are rows, sorted; none where times are whole numbers."""
    first: int
    """Time of the first row, on the wall clock."""

    @classmethod
    def of(cls, wall: Times, utc: Times, follows: Bool[np.ndarray, " R"], *, integer: bool) -> Self:
        """The steps of some rows.

        Args:
            wall: (R,) times on the wall clock, sorted within each series, no duplicates.
            utc: (R,) the same times in UTC.
            follows: (R,) True where a row is not the first of its series.
            integer: the times are whole numbers.
        """
        days = np.unique(wall[:0] if integer else wall // DAY)
        return cls(_steps(wall, follows), _steps(utc, follows), days, int(wall[0]))

    def joined(self, later: "Steps") -> "Steps":
        """Those of these rows and of later ones, of other series."""
        wall, utc = (
            {step: mine.get(step, 0) + others.get(step, 0) for step in mine | others}
            for mine, others in ((self.wall, later.wall), (self.utc, later.utc))
        )
        return Steps(wall, utc, np.union1d(self.days, later.days), self.first)

    def frequency(self, *, integer: bool, source: str) -> Frequency:
        """The most common step between rows: a few gaps do not change it.

        Args:
            integer: the times are whole numbers.
            source: name of the table, for the message.

        Returns:
            The frequency. The caller must check by `Frequency.number` that every row falls on a step.

        Raises:
            DataError: no series has two rows.
        """
        if not self.wall:
            raise DataError(f"{source}: no series has two rows, so its frequency cannot be inferred: give data.freq")
        step = _most_common(self.wall)
        if integer:
            return Frequency(str(step), step, integer=True)
        if step < DAY:
            step = _most_common(self.utc)
            return Frequency(pd.tseries.frequencies.to_offset(pd.Timedelta(microseconds=step)).freqstr, step)
        calendar = _infer_calendar(self, step // DAY) if step % DAY == 0 else None
        if calendar is not None:
            return parse_frequency(calendar)
        if step % (7 * DAY) == 0:
            weekday = _WEEKDAYS[(self.first // DAY + _EPOCH_WEEKDAY) % 7]
            return parse_frequency(f"{_multiple(step // (7 * DAY))}W-{weekday}")
        if step % DAY == 0:
            return parse_frequency(f"{_multiple(step // DAY)}D")
        return parse_frequency(pd.tseries.frequencies.to_offset(pd.Timedelta(microseconds=step)).freqstr)


def _steps(times: Times, follows: Bool[np.ndarray, " R"]) -> dict[int, int]:
    values, counts = np.unique(np.diff(times, prepend=times[:1])[follows], return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _most_common(steps: dict[int, int]) -> int:
    return max(steps, key=lambda step: (steps[step], -step))


def _multiple(count: int) -> str:
    return "" if count == 1 else str(count)


def _infer_calendar(steps: "Steps", step: int) -> str | None:
    """Returns the alias of a calendar step (working days, months) if the rows follow one, else None."""
    days = steps.days
    if step == 1:
        weekends = np.isin((days + _EPOCH_WEEKDAY) % 7, (5, 6))
        return "B" if not weekends.any() and 3 * DAY in steps.wall else None
    if step < 28:
        return None
    dates = pd.DatetimeIndex((days * DAY).view("datetime64[us]")).as_unit("us")
    anchor = next((base for base in ("MS", "ME", "BMS", "BME") if _all_on(dates, base)), None)
    if anchor is None:
        return None
    month = np.asarray(dates.year * 12 + dates.month - 1)
    count = max(1, round(step / 30.44))
    first = int(month[0]) % 12
    if count % 12 == 0:
        return f"{_multiple(count // 12)}{anchor.replace('M', 'Y')}-{_MONTHS[first]}"
    if count % 3 == 0:
        named = first % 3 if anchor.endswith("S") else (first + 1) % 3 - 1  # JAN FEB MAR; DEC JAN FEB
        return f"{_multiple(count // 3)}{anchor.replace('M', 'Q')}-{_MONTHS[named]}"
    return f"{_multiple(count)}{anchor}"


def _all_on(dates: pd.DatetimeIndex, base: str) -> bool:
    days = dates.asi8 // DAY
    return bool(np.isin(days, calendar_days(base, int(days[0]), last=int(days[-1]))).all())
