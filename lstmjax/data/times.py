"""The column of times of a table: timestamps with or without a zone, text, or whole numbers."""

import datetime
import decimal
import numbers as number_types
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int64

from lstmjax.data.table_cells import Place
from lstmjax.data.time_numbers import EPOCHS, epoch_times, require_counts, whole_numbers
from lstmjax.data.time_text import (
    Reading,
    UnclearTimesError,
    a_year_may_be_missing,
    is_iso,
    matches,
    read_format,
    read_iso,
    read_text,
)
from lstmjax.data.zones import localized, offset_name, zone, zone_name
from lstmjax.errors import ConfigError, DataError

_WHOLE = re.compile(r"[+-]?\d+(?:\.0*)?")
_EMPTY = ("", "nan", "NaN", "NaT", "None", "<NA>", "null", "NULL")
_EXAMPLE = "expected a timestamp such as 2024-01-31 00:30:00, or a whole number (data.time_format names other forms)"


@dataclass(frozen=True)
class TimeColumn:
    """A column of times, on two clocks (see `lstmjax.data.frequency`).

    Attributes:
        wall: (R,) microseconds on the wall clock, or the column's whole numbers.
        utc: (R,) the same in UTC; equal to ``wall`` where the column has no time zone.
        zone: name of the time zone, or None.
        integer: True where the column holds whole numbers.
        form: what settles the reading of the column's text, for other tables of the run: a strptime format,
            ``"integer"``, ``"epoch_s"`` or ``"epoch_ms"``; None where nothing has to be settled.
    """

    wall: Int64[np.ndarray, " R"]
    utc: Int64[np.ndarray, " R"]
    zone: str | None
    integer: bool
    form: str | None = None


def kind_of_times(zone: str | None, *, integer: bool) -> str:
    """Describes the times of a table, for messages.

    >>> kind_of_times(None, integer=False)
    'timestamps in no time zone'
    """
    return "whole numbers" if integer else f"timestamps in {zone or 'no time zone'}"


@dataclass(frozen=True)
class TimeOptions:
    """How to read a column of times.

    Attributes:
        form: ``data.time_format``.
        zone: ``data.time_zone``: local times are in it, and others are converted to it.
        offsets_zone: zone that text with offsets from UTC is converted to, where ``zone`` is None: that of the training
            data.
    """

    form: str | None = None
    zone: str | None = None
    offsets_zone: str | None = None


def time_column(
    table: pd.DataFrame,
    column: str,
    source: str,
    options: TimeOptions = TimeOptions(),  # frozen
    series: Int64[np.ndarray, " R"] | None = None,
) -> TimeColumn:
    """Reads a column as times: timestamps with or without one time zone, periods (their beginning), or whole numbers.

    Args:
        table: the table.
        column: name of the column.
        source: name of the table, for messages.
        options: what settles the reading.
        series: (R,) the series of each row; default: all of one.

    Raises:
        DataError: a cell is empty or not a timestamp; cells could mean several times; there is more than one time zone,
            or one without a name.
        ConfigError: ``data.time_format`` or ``data.time_zone`` cannot be used.
    """
    values = table[column]
    where = Place(table, column, source)
    missing = values.isna().to_numpy()
    if missing.any():
        raise where.empty(int(np.argmax(missing)))
    if isinstance(values.dtype, pd.PeriodDtype):
        values = values.dt.to_timestamp()
    kind = values.dtype.kind
    if kind == "M" or isinstance(values.dtype, pd.DatetimeTZDtype):
        return _of_timestamps(_index(values, where), where, options, series)
    if kind in "mc":
        what = "durations" if kind == "m" else "complex numbers"
        raise DataError(f"{source}: column {column!r} holds {what}: {_EXAMPLE}")
    if kind in "iuf":
        return _of_numbers(values.to_numpy(), where, options, series)
    return _of_objects(values.astype(object).to_numpy(), where, options, series)


def _index(values: pd.Series, where: Place) -> pd.DatetimeIndex:
    try:
        return pd.DatetimeIndex(values).as_unit("us")
    except (ValueError, TypeError, OverflowError) as error:
        raise _unreadable(where, error) from None


def _unreadable(where: Place, error: Exception) -> DataError:
    return DataError(f"{where} cannot be read as times ({str(error).splitlines()[0]}): {_EXAMPLE}")


def _of_objects(cells: np.ndarray, where: Place, options: TimeOptions, series: np.ndarray | None) -> TimeColumn:
    """Reads cells that are Python objects or text."""
    if all(
        isinstance(cell, (number_types.Real, decimal.Decimal)) and not isinstance(cell, (bool, np.bool_))
        for cell in cells
    ):
        return _of_numbers(cells, where, options, series)
    if all(isinstance(cell, (datetime.date, np.datetime64)) for cell in cells):  # Timestamps and datetimes among them
        zones = {str(getattr(cell, "tzinfo", None)) for cell in cells}
        if len(zones) > 1 and (options.zone is None or "None" in zones):
            raise _mixed(sorted(zones), where)
        try:
            stamps = pd.to_datetime(pd.Series(cells, dtype=object), utc=len(zones) > 1)
        except (ValueError, TypeError, OverflowError) as error:
            raise _unreadable(where, error) from None
        return _of_timestamps(_index(stamps, where), where, options, series)
    if all(isinstance(cell, pd.Period) for cell in cells):
        times = pd.DatetimeIndex([cell.to_timestamp() for cell in cells]).as_unit("us")
        return _of_timestamps(times, where, options, series)
    codes, texts = pd.factorize(np.array([str(cell).strip() for cell in cells], object))
    for number, text in enumerate(texts):
        if text in _EMPTY:
            raise where.empty(int(np.argmax(codes == number)))
    return _of_text(codes, np.asarray(texts, object), where, options, series)


def _of_text(
    codes: np.ndarray, texts: np.ndarray, where: Place, options: TimeOptions, series: np.ndarray | None
) -> TimeColumn:
    named = options.form if options.form is not None and "%" in options.form else None
    if named is not None:
        reading = _by_format(texts, named)
        if reading.times.isna().any() and is_iso(texts):  # as lstmjax writes times itself
            reading = read_iso(texts)
        expected = f"expected a time of the format {named!r} (data.time_format)"
    elif matches(texts, _WHOLE):
        numbers = np.array([int(text.split(".")[0]) for text in texts], object)[codes]
        return _of_numbers(numbers, where, options, series, width=max(map(len, texts)))
    else:
        try:
            reading = read_text(texts)
        except UnclearTimesError as unclear:
            raise DataError(
                f"{where}: {', '.join(map(repr, texts[:3].tolist()))}: {unclear}: say what they are by "
                "data.time_format, or write them as 2024-01-31"
            ) from None
        except ValueError:
            raise DataError(f"{where.cell(0, repr(str(texts[0])))}: {_EXAMPLE}") from None
        expected = _EXAMPLE if reading.form is None else f"expected a time of the first cell's form, {reading.form!r}"
    wrong = reading.times.isna()[codes]
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"{where.cell(row, repr(str(texts[codes[row]])))}: {expected}")
    return _zoned(reading, codes, where, options, series)


def _by_format(texts: np.ndarray, form: str) -> Reading:
    """Reads cells by the user's own format."""
    try:
        sample = datetime.datetime(2001, 2, 3, 4, 5, 6, tzinfo=datetime.UTC).strftime(form)
        with a_year_may_be_missing():
            pd.to_datetime(pd.Series([sample]), format=form, errors="raise")
    except ValueError as error:
        if "directive" in str(error) or "supported" in str(error) or "format" in str(error).split(" ")[0].lower():
            raise _bad_format(form, str(error).splitlines()[0]) from None
    try:
        return read_format(texts, form)
    except ValueError as error:
        raise _bad_format(form, str(error).splitlines()[0]) from None


def _bad_format(form: str, reason: str = "") -> ConfigError:
    return ConfigError(
        f"data.time_format is {form!r}: expected a strptime format such as %d/%m/%Y, epoch_s, epoch_ms or integer"
        + (f" ({reason})" if reason else "")
    )


def _zoned(
    reading: Reading, codes: np.ndarray, where: Place, options: TimeOptions, series: np.ndarray | None
) -> TimeColumn:
    """Turns cells that were read into times, with the zone that their offsets or the options say."""
    with_offset = reading.offsets != ""
    times = reading.times.as_unit("us")[codes]
    if times.tz is None:
        return _of_timestamps(times, where, options, series, reading.form)
    offsets = sorted(set(reading.offsets.tolist()))
    to = options.zone or options.offsets_zone
    if not with_offset.all() or (len(offsets) > 1 and to is None):
        raise _mixed([offset or "none" for offset in offsets], where)
    if to is not None:
        return _column(times.tz_convert(zone(to)), to, reading.form)
    name = _name_of_offset(offsets[0])
    return _column(times.tz_convert(zone(name)), name, reading.form)


def _name_of_offset(offset: str) -> str:
    digits = offset[1:].replace(":", "").ljust(4, "0")
    distance = datetime.timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return offset_name(distance if offset[0] == "+" else -distance)


def _mixed(found: Sequence[str], where: Place) -> DataError:
    return DataError(
        f"{where} mixes time zones ({', '.join(found[:3])}): where the offsets are those of one place, name its zone "
        "by data.time_zone, e.g. Europe/Berlin; otherwise convert it to one, e.g. UTC, or leave the offsets out"
    )


def _of_timestamps(
    times: pd.DatetimeIndex,
    where: Place,
    options: TimeOptions,
    series: np.ndarray | None,
    form: str | None = None,
) -> TimeColumn:
    if times.tz is None:
        if options.zone is None:
            return TimeColumn(times.asi8, times.asi8, None, integer=False, form=form)
        numbers = np.zeros(len(times), np.int64) if series is None else series
        return _column(localized(times, options.zone, numbers), options.zone, form)
    if options.zone is not None:
        return _column(times.tz_convert(zone(options.zone)), options.zone, form)
    try:
        name = zone_name(times)
    except Exception:  # somebody's own class of zones, which pandas or its clock may refuse in any way
        name = None
    if name is None:
        raise DataError(
            f"{where} has the time zone {str(times.tz)!r}, which has no name in the tz database: convert it, e.g. by "
            ".dt.tz_convert('Europe/Berlin'), or name the zone by data.time_zone"
        )
    return _column(times.tz_convert(zone(name)), name, form)


def _column(times: pd.DatetimeIndex, name: str, form: str | None) -> TimeColumn:
    times = times.as_unit("us")
    return TimeColumn(times.tz_localize(None).asi8, times.asi8, name, integer=False, form=form)


def _of_numbers(
    cells: np.ndarray, where: Place, options: TimeOptions, series: np.ndarray | None, *, width: int = 0
) -> TimeColumn:
    """Reads numbers: whole ones that count steps, or dates and instants where the options say so."""
    if options.form in EPOCHS:
        times, to = epoch_times(cells, options.form, where), options.zone or options.offsets_zone
        if to is not None:
            return _column(times.tz_localize("UTC").tz_convert(zone(to)), to, options.form)
        return TimeColumn(times.asi8, times.asi8, None, integer=False, form=options.form)
    numbers = whole_numbers(cells, where)
    if options.form is not None and "%" in options.form:
        codes, texts = pd.factorize(numbers.astype(str).astype(object))
        return _of_text(codes, np.asarray(texts, object), where, options, series)
    if options.form != "integer":
        require_counts(numbers, where, width)
    return TimeColumn(numbers, numbers, None, integer=True, form="integer")
