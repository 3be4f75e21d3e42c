"""Time zones: one name for each, whatever kind of object a table has, and local times turned into instants."""

import datetime
import re
import zoneinfo
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int64

from lstmjax.errors import ConfigError

_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d\d):?(\d\d)(?::?(\d\d))?")
_WELL_KNOWN = (
    *("Europe/Berlin", "Europe/London", "Europe/Athens", "America/New_York", "America/Chicago", "America/Denver"),
    *("America/Los_Angeles", "America/Halifax", "America/Sao_Paulo", "America/Santiago", "Australia/Sydney"),
    *("Australia/Adelaide", "Pacific/Auckland", "Asia/Jerusalem", "Asia/Tehran", "America/Mexico_City"),
)
"""Zones that are named first as examples."""


def zone(name: str) -> datetime.tzinfo:
    """Returns the time zone of a name.

    Args:
        name: from the tz database, such as ``"Europe/Berlin"``, or an offset such as ``"UTC+01:00"``.

    Raises:
        ConfigError: there is no such zone.

    >>> zone("UTC+01:00").utcoffset(None)
    datetime.timedelta(seconds=3600)
    """
    offset = _OFFSET.fullmatch(name)
    if offset:
        sign, *parts = offset.groups(default="0")
        hours, minutes, seconds = map(int, parts)
        distance = datetime.timedelta(hours=hours, minutes=minutes, seconds=seconds)
        if distance < datetime.timedelta(days=1):
            return datetime.timezone(distance if sign == "+" else -distance)
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise ConfigError(
            f"data.time_zone is {name!r}: expected a name of the tz database such as Europe/Berlin, or an offset from "
            "UTC such as UTC+01:00"
        ) from None


def offset_name(offset: datetime.timedelta) -> str:
    """Returns the name of the zone with a fixed offset from UTC.

    >>> offset_name(datetime.timedelta(hours=-3, minutes=-30))
    'UTC-03:30'
    """
    seconds = round(offset.total_seconds())
    if not seconds:
        return "UTC"
    hours, rest = divmod(abs(seconds), 3600)
    text = f"UTC{'-' if seconds < 0 else '+'}{hours:02d}:{rest // 60:02d}"
    return text + (f":{rest % 60:02d}" if rest % 60 else "")


def zone_name(times: pd.DatetimeIndex) -> str | None:
    """Returns the name of the zone of some times: one that `zone` turns into a zone with the same clock.

    The zone may be an object of `zoneinfo`, `datetime`, pytz or dateutil.

    Args:
        times: with a time zone.

    Returns:
        The name; None where the object has no name that says which zone it is.
    """
    tz = times.tz
    fixed = _fixed_offset(tz)
    if fixed is not None:
        return offset_name(fixed)
    path = Path(str(getattr(tz, "_filename", "")))  # dateutil's: a path, or the name itself
    parts = path.parts[path.parts.index("zoneinfo") + 1 :] if "zoneinfo" in path.parts else path.parts
    for name in (getattr(tz, "key", None), getattr(tz, "zone", None), "/".join(parts)):
        if not name:
            continue
        try:
            same = times.tz_convert(zone(str(name))).tz_localize(None).equals(times.tz_localize(None))
        except ConfigError:
            continue
        if same:
            return str(name)
    return None


def _fixed_offset(tz: datetime.tzinfo | None) -> datetime.timedelta | None:
    """Returns the offset of a zone that has but one; None for others, and for those with a name in the tz database."""
    if tz is None or getattr(tz, "key", None):
        return None
    try:
        return tz.utcoffset(None)
    except Exception:  # somebody's own class, which need not know the offset of no time
        return None


def localized(wall: pd.DatetimeIndex, name: str, series: Int64[np.ndarray, " R"]) -> pd.DatetimeIndex:
    """Gives a zone to local times.

    Of a time that clocks show twice, the first row of a series is the earlier one (in summer time), the second the
    later. A time that clocks skip becomes the next that they show.

    Args:
        wall: (R,) times without a zone, in the order of the table.
        name: of the zone.
        series: (R,) which series each row belongs to.
    """
    backwards = len(wall) > 1 and bool((np.diff(wall.asi8) < 0).mean() > 0.5)
    rows = pd.DataFrame({"series": series, "wall": wall.asi8})
    first = ~rows.duplicated(keep="last" if backwards else "first").to_numpy()
    return wall.tz_localize(zone(name), ambiguous=first, nonexistent="shift_forward")


def zones_that_repeat(time: pd.Timestamp) -> list[str]:
    """Lists zones whose clocks show a local time twice, because summer time ends; the best known first."""
    others = sorted(name for name in zoneinfo.available_timezones() if "/" in name and not name.startswith("Etc/"))
    found = []
    for name in (*_WELL_KNOWN, *others):
        try:
            early, late = (
                time.tz_localize(zoneinfo.ZoneInfo(name), ambiguous=dst, nonexistent="NaT") for dst in (True, False)
            )
        except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            continue
        if early is not pd.NaT and early != late:
            found.append(name)
        if len(found) == 3:
            break
    return found


def without_skipped(
    wall: Int64[np.ndarray, " R"], utc: Int64[np.ndarray, " R"], name: str, day: int, follows: np.ndarray
) -> Int64[np.ndarray, " R"]:
    """Returns local times, with those that a clock skipped in place of the next that it showed.

    Daily rows at midnight, in a zone whose summer time begins at midnight, have a row at 1 o'clock on that day.

    Args:
        wall: (R,) microseconds on the wall clock, by series, then time.
        utc: (R,) the same in UTC.
        name: of the zone.
        day: microseconds of a day.
        follows: (R,) True where the row before belongs to the same series.
    """
    clock = zone(name)
    index = pd.DatetimeIndex(wall.view("datetime64[us]"))
    before = (index - pd.Timedelta(microseconds=1)).tz_localize(
        clock, ambiguous=np.ones(len(wall), bool), nonexistent="NaT"
    )
    after_skip = np.flatnonzero(before.isna())
    if not len(after_skip):
        return wall
    wall = wall.copy()
    for row in after_skip.tolist():
        beside = row + 1 if row + 1 < len(wall) and follows[row + 1] else row - 1 if follows[row] else row
        meant = wall[row] // day * day + wall[beside] % day
        shown = pd.Timestamp(int(meant), unit="us").tz_localize(clock, ambiguous=True, nonexistent="shift_forward")
        if meant < wall[row] and shown == pd.Timestamp(int(utc[row]), unit="us", tz="UTC"):
            wall[row] = meant
    return wall
