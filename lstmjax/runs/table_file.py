"""Tables as files that are read back as they were written: CSV, also compressed, or Parquet."""

import csv
import gzip
import importlib.util
import io
import itertools
from pathlib import Path
from typing import Any

import pandas as pd

from lstmjax.config import TableFormat
from lstmjax.errors import CheckpointError, ConfigError
from lstmjax.storage.files import replace_file


def csv_options(table: pd.DataFrame) -> dict[str, Any]:
    """How to write a table as CSV so that it is read back as it was: names that hold a carriage return are quoted."""
    columns = [table[name].unique() for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    texts = itertools.chain(table.columns, *(values for values in columns if values.dtype.kind == "O"))
    quoted = any("\r" in text for text in texts if isinstance(text, str))
    return {"index": False, "quoting": csv.QUOTE_NONNUMERIC if quoted else csv.QUOTE_MINIMAL}


def require_format(form: TableFormat, option: str = "outputs.format") -> None:
    """Refuses Parquet where pyarrow is not installed: before training, not after it.

    Raises:
        ConfigError: says what to install.
    """
    if form == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ConfigError(f"{option} is parquet, which needs pyarrow: pip install 'lstmjax[parquet]'")


def replace_table(table: pd.DataFrame, directory: Path, name: str, form: TableFormat) -> None:
    """Writes a table of a run, all at once, and removes the same table in the other format.

    Equal tables give equal bytes.

    Args:
        table: the table.
        directory: the run's.
        name: the file's name as CSV, e.g. ``forecast.csv`` or ``test_forecasts.csv.gz``.
        form: the format.
    """
    contents = io.BytesIO()
    parquet = f"{name.split('.')[0]}.parquet"
    if form == "parquet":
        table.to_parquet(contents, index=False)
    elif name.endswith(".gz"):
        with gzip.GzipFile(filename="", mode="wb", fileobj=contents, compresslevel=4, mtime=0) as compressed:
            table.to_csv(compressed, **csv_options(table))
    else:
        table.to_csv(contents, **csv_options(table))
    written, other = (parquet, name) if form == "parquet" else (name, parquet)
    replace_file(directory / written, contents.getvalue())
    (directory / other).unlink(missing_ok=True)


def write_table(table: pd.DataFrame, path: Path | str) -> None:
    """Writes a table where the user wants it: as Parquet where its name ends so, else as CSV.

    Raises:
        ConfigError: it is Parquet, and pyarrow is not installed.
        CheckpointError: the file cannot be written.
    """
    parquet = Path(path).suffix in (".parquet", ".pq")
    require_format("parquet" if parquet else "csv", str(path))
    try:
        if parquet:
            table.to_parquet(path, index=False)
        else:
            table.to_csv(path, **csv_options(table))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot write the table ({error.strerror or error})") from None
