"""The frequency of a series: inferred or named, and the arithmetic between timestamps and row numbers.

All times are int64: microseconds, or the table's own whole numbers. The microseconds count on one of two *clocks*.
Steps shorter than a day count on the UTC clock, so that an hour stays an hour when daylight saving begins; steps of
whole days and of the calendar count on the wall clock, so that midnight stays midnight.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64

from lstmjax.data.frequency_names import refuse_old_alias
from lstmjax.data.zones import zone as time_zone
from lstmjax.errors import ConfigError, DataError

Times = Int64[np.ndarray, " R"]

SECOND = 1_000_000
DAY = 86_400 * SECOND

_LONGEST = 36_525 * DAY  # a century, so that sums of many steps fit into int64
_DIGITS = 18  # of a whole number that always fits into int64
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_EPOCH_WEEKDAY = _WEEKDAYS.index("THU")  # 1 January 1970


@dataclass(frozen=True)
class Frequency:
    """The step between the rows of a series.

    Attributes:
        text: the pandas alias (``"30min"``, ``"MS"``), or a whole number as text for integer times.
        step: microseconds of a step; for integer times its size; for calendar steps the number of ``base`` steps.
        base: pandas alias of a calendar step without fixed length, e.g. ``"MS"``; None for all others.
        integer: True where times are whole numbers instead of timestamps.
    """

    text: str
    step: int
    base: str | None = None
    integer: bool = False

    @property
    def wall_clock(self) -> bool:
        """True where steps are counted on the wall clock rather than in UTC."""
        return not self.integer and (self.base is not None or self.step % DAY == 0)

    def number(self, times: Times, starts: Times) -> tuple[Times, Bool[np.ndarray, " R"]]:
        """Returns the row number of each time within its series.

        Args:
            times: (R,) times, none before its start.
            starts: (R,) the first time of each one's series.

        Returns:
            (R,) row numbers from 0, and (R,) True where the time falls on a step.
        """
        if self.base is None:
            rows, rest = np.divmod(times - starts, self.step)
            return rows, rest == 0
        days, grid = times // DAY, _calendar(self.base, int(starts.min()) // DAY, last=int(times.max()) // DAY)
        at = np.searchsorted(grid, days)
        rows, rest = np.divmod(at - np.searchsorted(grid, starts // DAY), self.step)
        on_grid = grid[np.minimum(at, len(grid) - 1)] == days if len(grid) else np.zeros(len(times), bool)
        return rows, on_grid & (rest == 0) & (times % DAY == starts % DAY)

    def at(self, starts: Times, rows: Times) -> Times:
        """Returns the time of each row number: the inverse of `number`, also after the end of a series.

        Args:
            starts: (R,) first times.
            rows: (R,) row numbers from 0.

        Returns:
            (R,) times.
        """
        if self.base is None or len(rows) == 0:
            return starts + rows * self.step
        first = starts // DAY
        grid = _calendar(self.base, int(first.min()), last=int(first.max()))
        at = np.searchsorted(grid, first) + rows * self.step
        grid = _calendar(self.base, int(first.min()), periods=int(at.max()) + 1)
        return grid[at] * DAY + starts % DAY


def parse_frequency(text: str, name: str = "data.freq") -> Frequency:
    """Parses a frequency: a pandas alias, or a whole number as text for integer times.

    Args:
        text: e.g. ``"h"``, ``"30min"``, ``"W-MON"``, ``"QS"``, or ``"1"``.
        name: of the option, for the message.

    Raises:
        ConfigError: it is not an alias, or one that does not determine the place of every row.

    >>> parse_frequency("30min").step // 60_000_000
    30
    """
    if text.strip().isdecimal() and len(text) <= _DIGITS and int(text) > 0:
        return Frequency(str(int(text)), int(text), integer=True)
    refuse_old_alias(text, name)
    try:
        offset = pd.tseries.frequencies.to_offset(text)
    except (ValueError, TypeError, OverflowError):
        offset = None
    if offset is None or offset.n < 1 or isinstance(offset, pd.offsets.BusinessHour):
        raise ConfigError(
            f"{name} is {text!r}: expected a pandas frequency such as '30min', 'h', 'D', 'W', 'MS' or 'QS', "
            "or a whole number for integer times"
        )
    days = {pd.offsets.Day: 1, pd.offsets.Week: 7}.get(type(offset))
    if days is not None:
        frequency, at_least = Frequency(text, days * offset.n * DAY), 1
    elif isinstance(offset, pd.offsets.Tick):
        step, rest = divmod(offset.nanos, 1000)
        if rest:
            raise ConfigError(f"{name} is {text!r}: steps are counted in whole microseconds")
        frequency, at_least = Frequency(text, step), 1
    else:
        frequency, at_least = Frequency(text, offset.n, base=offset.base.freqstr), DAY
    if frequency.step * at_least > _LONGEST:
        raise ConfigError(f"{name} is {text!r}: expected steps of at most a century")
    return frequency


def infer_frequency(
    wall: Times, utc: Times, follows: Bool[np.ndarray, " R"], *, integer: bool, source: str
) -> Frequency:
    """Returns the most common step between rows: a few gaps do not change it.

    Args:
        wall: (R,) times on the wall clock, sorted within each series, no duplicates.
        utc: (R,) the same times in UTC.
        follows: (R,) True where a row is not the first of its series.
        integer: the times are whole numbers.
        source: name of the table, for the message.

    Returns:
        The frequency. The caller must check by `Frequency.number` that every row falls on a step.

    Raises:
        DataError: no series has two rows.
    """
    return Steps.of(wall, utc, follows, integer=integer).frequency(integer=integer, source=source)


class Steps(NamedTuple):
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
        """The steps of some rows; arguments as in `infer_frequency`."""
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
        """The frequency of the rows; arguments and errors as in `infer_frequency`."""
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


def season_length(freq: str) -> int:
    """Returns the rows in one season: a day for steps shorter than a day, a week for days, a year for longer steps.

    Args:
        freq: a pandas alias, or a whole number as text.

    Returns:
        The number of rows; 1 where no season is usual or a season is not a whole number of steps. Steps shorter than a
        minute have seasons of an hour.

    >>> [season_length(freq) for freq in ("h", "30min", "D", "B", "W", "MS", "QS", "YE", "1")]
    [24, 48, 7, 5, 52, 12, 4, 1, 1]
    """
    frequency = parse_frequency(freq)
    if frequency.integer:
        return 1
    if frequency.base is not None:
        kind = frequency.base.removeprefix("B").split("-")[0][:1] if frequency.base != "B" else "B"
        return _whole({"B": 5, "M": 12, "Q": 4, "S": 24}.get(kind, 1), frequency.step)
    if frequency.step % (7 * DAY) == 0:
        return _whole(52, frequency.step // (7 * DAY))
    if frequency.step >= DAY:
        return _whole(7 * DAY, frequency.step)
    return _whole(DAY if frequency.step >= 60 * SECOND else 3600 * SECOND, frequency.step)


def as_index(times: Times, frequency: Frequency, zone: str | None) -> pd.Index:
    """Turns clock values into the user's kind of timestamps.

    Args:
        times: (R,) values of the frequency's clock.
        frequency: of the series.
        zone: the table's time zone, or None.

    Returns:
        A `pandas.DatetimeIndex` (in the table's zone), or whole numbers.
    """
    if frequency.integer:
        return pd.Index(times)
    index = pd.DatetimeIndex(times.view("datetime64[us]"))
    if zone is None:
        return index
    clock = time_zone(zone)
    if frequency.wall_clock:  # of a time that occurs twice take the first; for one that does not exist, the next
        return index.tz_localize(clock, ambiguous=np.ones(len(index), bool), nonexistent="shift_forward")
    return index.tz_localize("UTC").tz_convert(clock)


def _steps(times: Times, follows: Bool[np.ndarray, " R"]) -> dict[int, int]:
    values, counts = np.unique(np.diff(times, prepend=times[:1])[follows], return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _most_common(steps: dict[int, int]) -> int:
    return max(steps, key=lambda step: (steps[step], -step))


def _multiple(count: int) -> str:
    return "" if count == 1 else str(count)


def _whole(season: int, step: int) -> int:
    return season // step if season % step == 0 else 1


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
    return bool(np.isin(days, _calendar(base, int(days[0]), last=int(days[-1]))).all())


@functools.lru_cache(maxsize=32)
def _calendar(base: str, first: int, *, last: int | None = None, periods: int = 0) -> Int64[np.ndarray, " D"]:
    """Lists the days (since 1970) on which calendar steps begin, from ``first`` up to ``last``, or ``periods`` days."""
    start = pd.Timestamp(first * DAY, unit="us")
    if last is not None:
        dates = pd.date_range(start, pd.Timestamp(last * DAY, unit="us"), freq=base)
    else:
        dates = pd.date_range(start, periods=periods, freq=base)
    days: np.ndarray = dates.as_unit("us").asi8 // DAY
    days.flags.writeable = False  # the cache shares it
    return days
