"""The user's tables: reads a file, and turns its columns into numbers and times.

Every mistake becomes one `DataError` line that names the table, the row and the column. Rows are numbered as an editor
shows them in the file: the header is row 1.
"""

import difflib
import gzip
import warnings
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from lstmjax.errors import DataError

_FIRST_ROW = 2  # below the header
_LARGEST_TIME = 2**62  # so that the distance between any two times is an int64 too
_NAMED = 5  # items named in a warning; the others are counted
_FORMATS = ("ISO8601", None)  # of timestamps as text; None: pandas guesses from the first


class DataWarning(UserWarning):
    """A table can be used, but the user should know something about it. One line."""


def first_few(items: Iterable[str]) -> str:
    """The first five items of a list, and the number of the others, for a message.

    >>> first_few("abcdefg")
    'a, b, c, d, e and 2 more'
    """
    listed = list(items)
    return ", ".join(listed[:_NAMED]) + (f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else "")


@dataclass(frozen=True)
class TimeColumn:
    """A column of times, on two clocks (see `lstmjax.data.frequency`).

    Attributes:
        wall: (R,) microseconds on the wall clock, or the column's whole numbers.
        utc: (R,) the same in UTC; equal to ``wall`` where the column has no time zone.
        zone: name of the time zone, or None.
        integer: True where the column holds whole numbers.
    """

    wall: Int64[np.ndarray, " R"]
    utc: Int64[np.ndarray, " R"]
    zone: str | None
    integer: bool


def read_table(path: str | Path) -> pd.DataFrame:
    """Reads a table from a CSV file (also compressed, ``.csv.gz``) or a Parquet file (``.parquet``, ``.pq``).

    Args:
        path: the file.

    Returns:
        The table. Empty lines are left out; the index still counts them, so that messages can name rows.

    Raises:
        DataError: the file is missing, unreadable, not a table, empty, or has a header and no rows.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if path.is_dir():
        raise DataError(f"{path} is a folder: name a CSV or Parquet file")
    read = _read_parquet if path.suffix in (".parquet", ".pq") else _read_csv
    try:
        table = read(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or _first_line(error)})") from None
    if table.empty:
        raise DataError(f"{path} has a header and no rows")
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            head = file.read(4096)
        if not head.strip():
            raise DataError(f"{path} is empty")
        if b"\0" in head:
            raise DataError(f"{path} is not a CSV file: it holds binary data")
        table = pd.read_csv(path, skip_blank_lines=False, low_memory=False)
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty") from None
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error):
        raise DataError(f"{path} is not a CSV file in UTF-8, or it is damaged") from None
    except pd.errors.ParserError as error:
        raise DataError(f"{path} is not a CSV table: {_first_line(error)}") from None
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first column as an index, and shifted the rest
        raise DataError(f"{path} is not a CSV table: its rows have more fields than its header")
    return table.dropna(how="all")


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except ImportError:
        raise DataError(f"{path}: Parquet files need pyarrow: pip install 'lstmjax[parquet]'") from None
    except ValueError as error:  # pyarrow's errors are ValueErrors
        raise DataError(f"{path} is not a Parquet file ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def row_numbers(table: pd.DataFrame) -> Int64[np.ndarray, " R"]:
    """Returns the row numbers as in the file, where the header is row 1.

    A DataFrame with any other index is numbered as if it had been written to a file.
    """
    index = table.index
    if index.dtype.kind in "iu" and index.is_unique and index.is_monotonic_increasing and len(index) and index[0] >= 0:
        return index.to_numpy(np.int64) + _FIRST_ROW
    return np.arange(len(table), dtype=np.int64) + _FIRST_ROW


def require_columns(table: pd.DataFrame, columns: Sequence[str], source: str) -> None:
    """Requires that a table has certain columns, once each.

    Raises:
        DataError: a column is missing (the nearest name is suggested) or occurs twice.
    """
    present = [str(column) for column in table.columns]
    for column in columns:
        if column not in present:
            nearest = difflib.get_close_matches(column, present, n=1) or [
                name for name in present if name.lower() == column.lower()
            ]
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"the columns are {', '.join(present[:20])}"
            raise DataError(f"{source} has no column {column!r}: {hint}")
        if present.count(column) > 1:
            raise DataError(f"{source} has {present.count(column)} columns called {column!r}: rename all but one")


def number_column(table: pd.DataFrame, column: str, source: str) -> Float64[np.ndarray, " R"]:
    """Reads a column as numbers, NaN where it is empty; True and False count as 1 and 0.

    Raises:
        DataError: text, a timestamp or an infinite number, with its row.
    """
    values = table[column]
    if values.dtype.kind in "mM" or isinstance(values.dtype, pd.DatetimeTZDtype):
        raise DataError(f"{source}: column {column!r} holds timestamps where numbers are expected")
    if values.dtype.kind in "biuf":
        numbers = values.to_numpy(np.float64, na_value=np.nan)
    else:
        numbers = _parse_numbers(values, row_numbers(table), source)
    infinite = np.flatnonzero(np.isinf(numbers))
    if len(infinite):
        row = row_numbers(table)[infinite[0]]
        raise DataError(
            f"{source}: row {row}, column {column!r} is {numbers[infinite[0]]}: "
            "expected a finite number, or an empty cell where the value is missing"
        )
    return numbers


def _parse_numbers(values: pd.Series, rows: Int64[np.ndarray, " R"], source: str) -> Float64[np.ndarray, " R"]:
    cells = values.astype(object)
    text = cells.map(lambda cell: cell.strip().lower() if isinstance(cell, str) else cell)
    text = text.replace({"": np.nan, "true": 1.0, "false": 0.0})
    numbers = pd.to_numeric(text, errors="coerce").astype("float64").to_numpy()
    wrong = np.flatnonzero(np.isnan(numbers) & text.notna().to_numpy() & (text != "nan").to_numpy())
    if len(wrong):
        row, cell = rows[wrong[0]], str(cells.iloc[wrong[0]])
        raise DataError(f"{source}: row {row}, column {values.name!r} is {cell!r}: expected a number")
    return numbers


def time_column(table: pd.DataFrame, column: str, source: str) -> TimeColumn:
    """Reads a column as times: timestamps with or without one time zone, or whole numbers.

    Text is read as ISO 8601 where possible, otherwise by the format of its first cell (months before days).

    Raises:
        DataError: a cell is empty or not a timestamp, or there is more than one time zone.
    """
    values, rows = table[column], row_numbers(table)
    missing = np.flatnonzero(values.isna().to_numpy())
    if len(missing):
        raise DataError(f"{source}: row {rows[missing[0]]}, column {column!r} is empty: every row needs a time")
    if values.dtype.kind in "iuf":
        return _whole_numbers(values, rows, source)
    if values.dtype.kind != "M" and not isinstance(values.dtype, pd.DatetimeTZDtype):
        values = _parse_times(values, rows, source)
    index = pd.DatetimeIndex(values).as_unit("us")
    if index.tz is None:
        return TimeColumn(index.asi8, index.asi8, None, integer=False)
    return TimeColumn(index.tz_localize(None).asi8, index.asi8, str(index.tz), integer=False)


def _whole_numbers(values: pd.Series, rows: Int64[np.ndarray, " R"], source: str) -> TimeColumn:
    numbers = values.to_numpy()
    broken = (numbers <= -_LARGEST_TIME) | (numbers >= _LARGEST_TIME)  # infinite ones among them
    if values.dtype.kind == "f":
        broken |= numbers != np.floor(numbers)
    if broken.any():
        first = np.argmax(broken)
        raise DataError(
            f"{source}: row {rows[first]}, column {values.name!r} is {numbers[first]}: "
            "expected a timestamp or a whole number, nearer to 0 than 2 to the 62nd"
        )
    times = numbers.astype(np.int64)
    return TimeColumn(times, times, None, integer=True)


def _parse_times(values: pd.Series, rows: Int64[np.ndarray, " R"], source: str) -> pd.Series:
    for text_format in _FORMATS:
        parsed = _to_datetime(values, text_format)
        if parsed is not None:
            return parsed
    if _zones_differ(values):
        raise DataError(
            f"{source}: column {values.name!r} mixes time zones: convert it to one, e.g. UTC, or leave the offsets out"
        )
    first = _first_unparsable(values)
    raise DataError(
        f"{source}: row {rows[first]}, column {values.name!r} is {str(values.iloc[first])!r}: expected a timestamp "
        "such as 2024-01-31 00:30:00, or a whole number"
    )


def _to_datetime(values: pd.Series, text_format: str | None) -> pd.Series | None:
    """Returns the timestamps, or None where they do not all have one format and zone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas comments on guessed formats; we report what cannot be read
        try:
            parsed = pd.to_datetime(values, format=text_format)
        except (ValueError, TypeError, OverflowError):
            return None
    return None if parsed.dtype == object else parsed


def _zones_differ(values: pd.Series) -> bool:
    """Returns True where every cell is a timestamp, but their offsets from UTC differ, or only some have one."""
    parsed = pd.to_datetime(values, format="ISO8601", errors="coerce", utc=True)
    offsets = values.astype(str).str.extract(r"\d[ T].*(Z|[+-]\d\d:?\d\d)$", expand=False).fillna("none")
    return bool(parsed.notna().all() and len(offsets.unique()) > 1)


def _first_unparsable(values: pd.Series) -> int:
    """Returns the first cell that is not a timestamp in the format that most cells have."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tries = [pd.to_datetime(values, format=form, errors="coerce", utc=True).isna().to_numpy() for form in _FORMATS]
    return int(np.argmax(min(tries, key=np.sum)))
