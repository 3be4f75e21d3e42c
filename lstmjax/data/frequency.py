"""The frequency of a series, and the arithmetic between timestamps and row numbers.

All times are int64: microseconds, or the table's own whole numbers. The microseconds count on one of two *clocks*.
Steps shorter than a day count on the UTC clock, so that an hour stays an hour when daylight saving begins; steps of
whole days and of the calendar count on the wall clock, so that midnight stays midnight.
"""

import functools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int64

from lstmjax.data.frequency_names import refuse_old_alias
from lstmjax.data.zones import zone as time_zone
from lstmjax.errors import ConfigError

Times = Int64[np.ndarray, " R"]

SECOND = 1_000_000
DAY = 86_400 * SECOND

_LONGEST = 36_525 * DAY  # a century, so that sums of many steps fit into int64
_DIGITS = 18  # of a whole number that always fits into int64


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
        days, grid = times // DAY, calendar_days(self.base, int(starts.min()) // DAY, last=int(times.max()) // DAY)
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
        grid = calendar_days(self.base, int(first.min()), last=int(first.max()))
        at = np.searchsorted(grid, first) + rows * self.step
        grid = calendar_days(self.base, int(first.min()), periods=int(at.max()) + 1)
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


def _whole(season: int, step: int) -> int:
    return season // step if season % step == 0 else 1


@functools.lru_cache(maxsize=32)
def calendar_days(base: str, first: int, *, last: int | None = None, periods: int = 0) -> Int64[np.ndarray, " D"]:
    """Lists the days (since 1970) on which calendar steps begin, from ``first`` up to ``last``, or ``periods`` days."""
    start = pd.Timestamp(first * DAY, unit="us")
    if last is not None:
        dates = pd.date_range(start, pd.Timestamp(last * DAY, unit="us"), freq=base)
    else:
        dates = pd.date_range(start, periods=periods, freq=base)
    days: np.ndarray = dates.as_unit("us").asi8 // DAY
    days.flags.writeable = False  # the cache shares it
    return days
