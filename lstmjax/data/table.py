"""Reads a user's table from a file.

Every mistake becomes one `DataError` line that names the file and, where there is one, the line.
"""

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lstmjax.config import DataConfig
from lstmjax.errors import DataError

_FIRST_LINE = 2  # below the header
NAMED = 5  # items named in a warning; the others are counted
_SEPARATORS = {";": "';'", "\t": "'\\t' (a tab)", "|": "'|'"}
PARQUET = (".parquet", ".pq")
"""What the names of Parquet files end with."""
_EMPTY = [
    *("", " ", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A"),
    *("NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
]
"""Cells that are missing values, as pandas has it; in the column of identifiers they are names."""


class DataWarning(UserWarning):
    """A table can be used, but the user should know something about it. One line."""


def first_few(items: Iterable[str], count: int | None = None) -> str:
    """The first five items of a list, and the number of the others, for a message.

    Args:
        items: the list, or its first five.
        count: how many there are. Default: as many as are given.

    >>> first_few("abcdefg")
    'a, b, c, d, e and 2 more'
    """
    listed = list(items)
    count = len(listed) if count is None else count
    return ", ".join(listed[:NAMED]) + (f" and {count - NAMED} more" if count > NAMED else "")


def read_table(path: str | Path, config: DataConfig | None = None) -> pd.DataFrame:
    """Reads a table from a CSV file (also compressed, ``.csv.gz``) or a Parquet file (``.parquet``, ``.pq``).

    The columns of identifiers and of times of a CSV file are read as they are written: ``007`` and ``NA`` are names.

    Args:
        path: the file.
        config: the names of these columns, the separator and the decimal mark. Default: ``DataConfig()``.

    Returns:
        The table. The index of a CSV table holds the lines, where the header is line 1; empty lines are left out.

    Raises:
        DataError: the file is missing, unreadable, not a table, empty, or has a header and no rows.
    """
    (table,) = read_parts(path, DataConfig() if config is None else config)
    return table


def read_parts(
    path: str | Path, config: DataConfig, rows: int | None = None, columns: Sequence[str] | None = None
) -> Iterator[pd.DataFrame]:
    """Reads a table as `read_table` does, a part at a time.

    Args:
        path: the file.
        config: see `read_table`.
        rows: of a part, at most. Default: all.
        columns: those to read of a Parquet file, where it has them all. Default: all.

    Yields:
        The parts, none of them empty.

    Raises:
        DataError: as `read_table`.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if path.is_dir():
        raise DataError(f"{path} is a folder: name a CSV or Parquet file")
    found = False
    try:
        parquet = path.suffix.lower() in PARQUET
        parts = _parquet_parts(path, rows, columns) if parquet else _csv_parts(path, config, rows)
        for table in parts:
            if len(table):
                found = True
                yield table
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or _first_line(error)})") from None
    if not found:
        raise DataError(f"{path} has a header and no rows")


def _csv_parts(path: Path, config: DataConfig, rows: int | None) -> Iterator[pd.DataFrame]:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rb") as file:
            head = file.read(4096)
        if not head.strip():
            raise DataError(f"{path} is empty")
        if b"\0" in head:
            raise DataError(f"{path} is not a CSV file: it holds binary data")
        _check_separator(path, head.decode(errors="replace"), config)
        form: dict[str, Any] = {"sep": config.separator, "decimal": config.decimal, "skip_blank_lines": False}
        columns = [str(name) for name in pd.read_csv(path, nrows=0, **form).columns]
        as_written = {name: str for name in (config.id_col, config.time_col) if name in columns}
        empty = {name: [""] if name == config.id_col else _EMPTY for name in columns}
        form |= {"dtype": as_written, "na_values": empty, "keep_default_na": False, "low_memory": False}
        if rows is None:
            yield _numbered(pd.read_csv(path, **form), path)
            return
        with pd.read_csv(path, chunksize=rows, **form) as reader:
            for table in reader:
                yield _numbered(table, path)
    except pd.errors.EmptyDataError:
        raise DataError(f"{path} is empty") from None
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error):
        raise DataError(f"{path} is not a CSV file in UTF-8, or it is damaged") from None
    except pd.errors.ParserError as error:
        raise DataError(f"{path} is not a CSV table: {_first_line(error)}") from None


def _numbered(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """A part of a CSV file with the lines as its index, without empty lines."""
    if not isinstance(table.index, pd.RangeIndex):  # pandas took the first column as an index, and shifted the rest
        raise DataError(f"{path} is not a CSV table: its rows have more fields than its header")
    table.index += _FIRST_LINE
    empty = table.isna().all(axis=1)
    return table[~empty] if empty.any() else table  # a copy only where it must be


def _check_separator(path: Path, head: str, config: DataConfig) -> None:
    """Refuses a file whose header has another separator than the one that is named or usual."""
    header, *rows = [line for line in head.splitlines() if line.strip()]
    used = config.separator
    for found, shown in _SEPARATORS.items():
        if found != used and header.count(found) > header.count(used):
            comma = found != "," and re.search(
                rf"(^|{re.escape(found)})-?\d+,\d+({re.escape(found)}|$)", "\n".join(rows), re.M
            )
            decimal = ", and data.decimal ',' for the decimal commas" if comma and config.decimal == "." else ""
            raise DataError(
                f"{path}: the header {header[:60]!r} is separated by {shown}: give data.sep {shown}{decimal}"
            )


def _parquet_parts(path: Path, rows: int | None, columns: Sequence[str] | None) -> Iterator[pd.DataFrame]:
    try:
        if rows is None:
            yield pd.read_parquet(path)
            return
        from pyarrow.parquet import ParquetFile

        with ParquetFile(path) as file:
            present = file.schema_arrow.names
            wanted = list(columns) if columns is not None and set(columns) <= set(present) else None
            first = 0
            for batch in file.iter_batches(batch_size=rows, columns=wanted):
                table = batch.to_pandas(ignore_metadata=True)
                table.index = pd.RangeIndex(first, first + len(table))
                first += len(table)
                yield table
    except ImportError:
        raise DataError(f"{path}: Parquet files need pyarrow: pip install 'lstmjax[parquet]'") from None
    except ValueError as error:  # pyarrow's errors are ValueErrors
        raise DataError(f"{path} is not a Parquet file ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
