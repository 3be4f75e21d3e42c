"""Tables as files that are read back as they were written: CSV, also compressed, or Parquet."""

import csv
import gzip
import importlib.util
import itertools
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pandas as pd

from lstmjax.config import TableFormat
from lstmjax.errors import CheckpointError, ConfigError
from lstmjax.runs.csv_text import csv_text
from lstmjax.storage.files import replace_file


def needs_quotes(texts: Iterable[Any]) -> bool:
    """Whether all texts of a table are quoted as CSV: a carriage return in a name would be read as the end of a row."""
    return any("\r" in text for text in texts if isinstance(text, str))


def texts_of(table: pd.DataFrame) -> Iterable[Any]:
    """The names of the columns of a table, and what its columns of text hold."""
    columns = [table[name].unique() for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    return itertools.chain(table.columns, *(values for values in columns if values.dtype.kind == "O"))


def csv_options(table: pd.DataFrame) -> dict[str, Any]:
    """How to write a table as CSV so that it is read back as it was: names that hold a carriage return are quoted."""
    quoting = csv.QUOTE_NONNUMERIC if needs_quotes(texts_of(table)) else csv.QUOTE_MINIMAL
    return {"index": False, "quoting": quoting}


def require_format(form: TableFormat, option: str = "outputs.format") -> None:
    """Refuses Parquet where pyarrow is not installed: before training, not after it.

    Raises:
        ConfigError: says what to install.
    """
    if form == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ConfigError(f"{option} is parquet, which needs pyarrow: pip install 'lstmjax[parquet]'")


def replace_table(
    tables: Iterable[pd.DataFrame], directory: Path, name: str, form: TableFormat, *, texts: Iterable[Any]
) -> None:
    """Writes a table of a run, all at once, and removes the same table in the other format.

    Equal tables give equal bytes. Memory is that of one part.

    Args:
        tables: the parts of the table, one below the other, at least one.
        directory: the run's.
        name: the file's name as CSV, e.g. ``forecast.csv`` or ``test_forecasts.csv.gz``.
        form: the format.
        texts: all that the columns of text may hold, and the names of the columns.
    """
    parquet = f"{name.split('.')[0]}.parquet"
    written, other = (parquet, name) if form == "parquet" else (name, parquet)

    def write(file: IO[bytes]) -> None:
        if form == "parquet":
            _write_parquet(tables, file)
        elif name.endswith(".gz"):
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=4, mtime=0) as compressed:
                _write_csv(tables, compressed, quoted=needs_quotes(texts))
        else:
            _write_csv(tables, file, quoted=needs_quotes(texts))

    replace_file(directory / written, write)
    (directory / other).unlink(missing_ok=True)


def write_table(table: pd.DataFrame, path: Path | str) -> None:
    """Writes a table where the user wants it: as Parquet where its name ends so, else as CSV.

    Raises:
        ConfigError: it is Parquet, and pyarrow is not installed.
        CheckpointError: the file cannot be written.
    """
    parquet = Path(path).suffix.lower() in (".parquet", ".pq")
    require_format("parquet" if parquet else "csv", str(path))
    try:
        if parquet:
            table.to_parquet(path, index=False)
        else:
            table.to_csv(path, **csv_options(table))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot write the table ({error.strerror or error})") from None


def _write_csv(tables: Iterable[pd.DataFrame], file: Any, *, quoted: bool) -> None:
    """Writes CSV, and makes the next rows while another thread compresses or writes those before."""
    pending: Future | None = None
    with ThreadPoolExecutor(1) as thread:
        for text in csv_text(tables, quoted=quoted):
            if pending is not None:
                pending.result()
            pending = thread.submit(file.write, text.encode())
    if pending is not None:
        pending.result()


def _write_parquet(tables: Iterable[pd.DataFrame], file: IO[bytes]) -> None:
    """Writes Parquet, one row group or more for each part."""
    import pyarrow as pa
    from pyarrow import parquet

    writer = None
    for table in tables:
        rows = pa.Table.from_pandas(table, schema=None if writer is None else writer.schema, preserve_index=False)
        writer = parquet.ParquetWriter(file, rows.schema) if writer is None else writer
        writer.write_table(rows)
    if writer is not None:
        writer.close()
