"""Tables of other libraries: polars, pyarrow and others become pandas, and results come back in their kind."""

from typing import Any

import narwhals.stable.v2 as nw
import pandas as pd

from lstmjax.errors import DataError


def as_pandas(table: Any, source: str) -> pd.DataFrame:
    """Returns a table as a pandas DataFrame; one that is one already as it is.

    Args:
        table: a DataFrame of pandas, or of another library that narwhals knows, such as polars or pyarrow. Lazy ones
            are collected.
        source: the table's name in messages.

    Raises:
        DataError: it is not a table.
    """
    if isinstance(table, pd.DataFrame):
        return table
    frame = _frame(table, source)
    try:
        collected = frame.collect() if isinstance(frame, nw.LazyFrame) else frame
        return collected.to_pandas()
    except ImportError as error:
        raise DataError(
            f"{source} is a {type(table).__module__.partition('.')[0]} table, which needs pyarrow: "
            f"pip install 'lstmjax[parquet]' ({error})"
        ) from None


def is_frame(table: Any) -> bool:
    """Whether something is one table, of pandas or of another library that narwhals knows."""
    return isinstance(nw.from_native(table, pass_through=True), (nw.DataFrame, nw.LazyFrame))


def kind_of_frame(table: Any, source: str) -> str:
    """Returns the name of the library that a table is of: ``"pandas"``, ``"polars"``, ``"pyarrow"``.

    Raises:
        DataError: it is not a table.
    """
    return "pandas" if isinstance(table, pd.DataFrame) else str(_frame(table, source).implementation.value)


def in_kind(table: pd.DataFrame, kind: Any, like: Any = None) -> Any:
    """Returns a table in the kind of frame of another library; pandas where that library is not there.

    Args:
        table: a result.
        kind: from `kind_of_frame`.
        like: a frame of this kind: columns of the same names get its types, so that both can be joined.
    """
    if kind == "pandas":
        return table
    try:
        frame = nw.from_arrow(table, backend=kind)
        given = {} if like is None or isinstance(like, pd.DataFrame) else nw.from_native(like).collect_schema()
        for name, dtype in frame.schema.items():
            if name in given and given[name] != dtype and (given[name].is_temporal() or not dtype.is_float()):
                frame = frame.with_columns(nw.col(name).cast(given[name]))
        return frame.to_native()
    except (ImportError, ValueError, TypeError):  # e.g. a forecaster that was stored where the library is
        return table


def _frame(table: Any, source: str) -> Any:
    try:
        return nw.from_native(table)
    except TypeError:
        raise DataError(
            f"{source} is of the type {type(table).__name__!r}: expected a DataFrame of pandas, polars or pyarrow; "
            "pandas.DataFrame(...) makes one"
        ) from None
