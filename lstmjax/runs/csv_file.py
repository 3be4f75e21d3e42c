"""Tables as CSV files that are read back as they were written."""

import csv
import itertools
from pathlib import Path
from typing import Any

import pandas as pd

from lstmjax.errors import CheckpointError, ConfigError


def csv_options(table: pd.DataFrame) -> dict[str, Any]:
    """How to write a table as CSV so that it is read back as it was: names that hold a carriage return are quoted."""
    columns = [table[name].unique() for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    texts = itertools.chain(table.columns, *(values for values in columns if values.dtype.kind == "O"))
    quoted = any("\r" in text for text in texts if isinstance(text, str))
    return {"index": False, "quoting": csv.QUOTE_NONNUMERIC if quoted else csv.QUOTE_MINIMAL}


def write_table(table: pd.DataFrame, path: Path | str) -> None:
    """Writes a table as CSV where the user wants it.

    Raises:
        ConfigError: its name says that it is no CSV file, so that it could not be read back.
        CheckpointError: the file cannot be written.
    """
    if Path(path).suffix in (".parquet", ".pq"):
        raise ConfigError(f"{path}: tables are written as CSV: give a name that ends with .csv or .csv.gz")
    try:
        table.to_csv(path, **csv_options(table))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot write the table ({error.strerror or error})") from None
