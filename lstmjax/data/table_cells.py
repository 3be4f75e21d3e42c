"""The cells of a table's columns as numbers. A mistake is named by table, row and column.

Rows are named by the label of their index: in a table that was read from a CSV file, that is the line.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64

from lstmjax.errors import DataError


def row_label(table: pd.DataFrame, row: int) -> str:
    """Returns the label of a row, for a message.

    Args:
        table: the table.
        row: its position, from 0.
    """
    return label_text(table.index[row])


def label_text(label: Any) -> str:
    """Returns a label of an index as text: the parts of a tuple are separated by commas.

    >>> label_text(("a", 3))
    'a, 3'
    """
    return ", ".join(map(str, label)) if isinstance(label, tuple) else str(label)


@dataclass(frozen=True)
class Place:
    """The column that is read, for messages."""

    table: pd.DataFrame
    column: str
    source: str

    def cell(self, row: int, found: object) -> str:
        """Says what was found in a cell."""
        return f"{self.source}: row {row_label(self.table, row)}, column {self.column!r} is {found}"

    def empty(self, row: int) -> DataError:
        """The error of a cell without a time."""
        return DataError(f"{self.cell(row, 'empty')}: every row needs a time")

    def __str__(self) -> str:
        return f"{self.source}: column {self.column!r}"


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


def number_column(table: pd.DataFrame, column: str, source: str, decimal: str = ".") -> Float64[np.ndarray, " R"]:
    """Reads a column as numbers, NaN where it is empty; True and False count as 1 and 0.

    Args:
        table: the table.
        column: name of the column.
        source: name of the table, for messages.
        decimal: the decimal mark of numbers that are text.

    Raises:
        DataError: text, a timestamp or an infinite number, with its row.
    """
    values = table[column]
    if values.dtype.kind in "mM" or isinstance(values.dtype, (pd.DatetimeTZDtype, pd.PeriodDtype)):
        raise DataError(f"{source}: column {column!r} holds timestamps where numbers are expected")
    if values.dtype.kind == "c":
        raise DataError(f"{source}: column {column!r} holds complex numbers: expected real ones")
    if values.dtype.kind in "biuf":
        numbers = values.to_numpy(np.float64, na_value=np.nan)
    else:
        numbers, wrong = as_numbers(values, decimal)
        if wrong.any():
            row = int(np.argmax(wrong))
            cell = str(values.iloc[row])
            raise DataError(
                f"{source}: row {row_label(table, row)}, column {column!r} is {cell!r}: expected a number"
                f"{_hint(cell, decimal)}"
            )
    infinite = np.flatnonzero(np.isinf(numbers))
    if len(infinite):
        raise DataError(
            f"{source}: row {row_label(table, int(infinite[0]))}, column {column!r} is {numbers[infinite[0]]}: "
            "expected a finite number, or an empty cell where the value is missing"
        )
    return numbers


def _hint(cell: str, decimal: str) -> str:
    """Says what to do about a number with another decimal mark, or with marks between thousands."""
    if decimal == ".":
        comma = cell.count(",") == 1 and not as_numbers(pd.Series([cell]), ",")[1].any()
        return "; where a comma is the decimal mark, say so by data.decimal ','" if comma else ""
    dots = "." in cell and not as_numbers(pd.Series([cell.replace(".", "")]), decimal)[1].any()
    return f"; the decimal mark is {decimal!r} (data.decimal): leave other marks out" if dots else ""


def as_numbers(values: pd.Series, decimal: str = ".") -> tuple[Float64[np.ndarray, " R"], np.ndarray]:
    """Reads cells of any kind as numbers, without complaint.

    Args:
        values: (R,) cells.
        decimal: the decimal mark of those that are text.

    Returns:
        (R,) numbers, NaN where a cell is empty or not a number, and (R,) True where it is not a number.
    """
    cells = values.astype(object)
    marks = {} if decimal == "." else str.maketrans({".": decimal, decimal: "."})  # 1.000 is not a number, 1,5 is
    text = cells.map(lambda cell: cell.strip().lower().translate(marks) if isinstance(cell, str) else cell)
    text = text.replace({"": np.nan, "true": 1.0, "false": 0.0})
    numbers = pd.to_numeric(text, errors="coerce").astype("float64").to_numpy()
    return numbers, np.isnan(numbers) & text.notna().to_numpy() & (text != "nan").to_numpy()
