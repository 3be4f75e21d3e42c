"""New rows for a stream: of a DataFrame, or one row by the names of its columns, as arrays on the training's clock."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

from lstmjax.data.categories import encoded
from lstmjax.data.frame_kinds import as_pandas
from lstmjax.data.panel import Panel
from lstmjax.data.rows import Known, column_groups, covariates_of, for_each_series, prepared_table, read_cells
from lstmjax.data.series_ids import as_ids, as_labels, id_text, series_of_rows
from lstmjax.data.table_cells import label_text, require_columns
from lstmjax.errors import DataError
from lstmjax.forecaster.fitted import Fitted

_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?")
_COUNT = re.compile(r"[+-]?\d{1,18}")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_EMPTY = frozenset(("", "nan", "na", "n/a", "null", "none", "<na>"))


@dataclasses.dataclass(frozen=True)
class Incoming:
    """R rows in the order in which they came."""

    ids: Shaped[np.ndarray, " N"]
    """The identifiers of their series, as text."""
    labels: Shaped[np.ndarray, " N"]
    """The same as the rows have them."""
    series: Int[np.ndarray, " R"]
    """The place of each row's series among ``ids``."""
    times: Int[np.ndarray, " R"]
    """int64, on the frequency's clock."""
    cells: Float[np.ndarray, "R F"]
    """As in `lstmjax.forecaster.stream.state.StreamState`."""
    stat: Float[np.ndarray, "R Fs"]
    """Static covariates; NaN where the rows have none."""
    index: Any
    """The labels of the rows of their table, for messages."""
    numbers: Any
    """The place of each row among them."""
    source: str
    """Where they are from, for messages."""

    def name(self, row: int | np.integer) -> str:
        """Names a row as users know it."""
        return f"{self.source}: row {label_text(self.index[self.numbers[row]])}"


class RowReader:
    """Reads rows as the training table was read.

    Args:
        fitted: a trained forecaster.
    """

    def __init__(self, fitted: Fitted) -> None:
        self._tail, self._scaling = fitted.tail, fitted.forecasting.scaling
        self._data = dataclasses.replace(fitted.config.data, weight_col=None)
        schema = fitted.tail.schema
        self.categories = {name: list(texts) for name, texts in schema.categories.items()}
        data, self._frequency = self._data, schema.frequency
        self._columns = (*data.target_cols, *data.hist_exog, *data.futr_exog)
        # Of most runs a row can be read without pandas, a hundred times as fast.
        self._plain = (
            not schema.categories
            and schema.time_zone is None
            and data.time_zone is None
            and data.layout == "long"
            and data.decimal == "."
            and data.time_format in (None, "integer")
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a file without a header, in the order of the training columns."""
        with_id = self._tail.form.id_dtype is not None and self._data.layout == "long"
        return (
            *((self._data.id_col,) if with_id else ()), self._data.time_col, *self._columns, *self._data.stat_exog
        )  # fmt: skip

    def one(
        self, row: Mapping[str, Any], label: Any = 1, source: str = "the rows", only: str | None = None
    ) -> Incoming:
        """Reads one row: text, numbers, or None by the name of the column.

        Args:
            row: the cells; others than those of the training columns are ignored.
            label: the number of its line, for messages.
            source: where it is from, for messages.
            only: the identifier of the only series, for rows without the column of identifiers.

        Raises:
            DataError: one line naming the row and the column that cannot be used.
        """
        data = self._data
        for column in (data.time_col, *self._columns):
            if column not in row:
                raise DataError(f"{source}: row {label} has no column {column!r}: it has {', '.join(map(str, row))}")
            if isinstance(row[column], int) and abs(row[column]) >= 1 << 63:
                raise DataError(f"{source}: row {label}, column {column!r} is a whole number too large to compute with")
        found = self._fast(row, label, source, only) if self._plain else None
        if found is not None:
            return found
        if row.get(data.id_col) == "":
            row = {**row, data.id_col: None}
        table = pd.DataFrame({name: pd.Series([cell], dtype=object, index=[label]) for name, cell in row.items()})
        return self.table(table, source, only)

    def _fast(self, row: Mapping[str, Any], label: Any, source: str, only: str | None) -> Incoming | None:
        """Reads a row of plain cells; None for one that the readers of tables must judge."""
        data = self._data
        name, time = row.get(data.id_col, only), row.get(data.time_col)
        if name is None or name == "" or not isinstance(name, (str, int)) or isinstance(name, bool):
            return None
        clock = self._clock(time)
        values = [_number(row.get(column, "?")) for column in self._columns]
        stat = [_number(row.get(column, "")) for column in data.stat_exog]
        if clock is None or None in values or None in stat:
            return None
        ids = as_labels([id_text(name)])
        cells, fixed = np.array([values], np.float64), np.array([stat], np.float64)
        times, series = np.array([clock], np.int64), np.zeros(1, np.int64)
        return Incoming(ids, as_labels([name]), series, times, cells, fixed, (label,), (0,), source)

    def _clock(self, time: Any) -> int | None:
        if self._frequency.integer:
            if isinstance(time, int) and not isinstance(time, bool) and abs(time) < 10**18:
                return time
            return int(time) if isinstance(time, str) and _COUNT.fullmatch(time.strip()) else None
        if isinstance(time, str) and _ISO.fullmatch(time):
            try:
                return int(np.datetime64(time, "us").astype(np.int64))
            except ValueError:
                return None
        return None

    def table(self, df: Any, source: str = "the rows", only: str | None = None) -> Incoming:
        """Reads the rows of a table, in their order.

        Args:
            df: the table, of pandas, polars or pyarrow.
            source: its name, for messages.
            only: as in `one`.

        Raises:
            DataError: one line naming the table, the row and the column that cannot be used.
        """
        data, schema = self._data, self._tail.schema
        table = prepared_table(as_pandas(df, source), data)
        for column in data.stat_exog:  # known series have theirs already
            if column not in table.columns:
                table = table.assign(**{column: np.nan})
        require_columns(table, (data.time_col, *self._columns), source)
        if table.empty:
            raise DataError(f"{source} has no rows")
        if data.layout == "wide":
            series, labels = np.zeros(len(table), np.int64), as_labels(data.target_cols)
        elif data.id_col in table.columns:
            series, labels = series_of_rows(table[data.id_col], table, source)
        elif only is not None:
            series, labels = np.zeros(len(table), np.int64), as_labels([only])
        else:
            raise DataError(f"{source} has no column {data.id_col!r}, and there are several series: name them there")
        known = Known(zone=schema.time_zone, categories=self.categories)
        read = read_cells(table, data, series, source, (data.target_cols, covariates_of(data), ()), known)
        if (read.zone, read.integer) != (schema.time_zone, self._frequency.integer):
            raise DataError(
                f"{source}: column {data.time_col!r} holds {read.kind}, unlike the data trained on: make them alike"
            )
        rows = read.rows
        if data.layout == "wide":
            y = rows.cells[:, : len(labels)].reshape(-1, 1)  # row by row, in each the series in turn
            order = np.arange(len(y)).reshape(len(labels), -1).T.reshape(-1)
            rows = for_each_series(rows, len(labels)).take(order)
            rows = rows._replace(cells=np.concatenate([y, rows.cells[:, len(labels) :]], axis=1))
        cells, stat = self._encoded(rows.cells, read.categories)
        times = rows.clock(self._frequency, read.zone)
        return Incoming(as_ids(labels), labels, rows.series, times, cells, stat, table.index, rows.number, source)

    def _encoded(self, cells: np.ndarray, categories: dict[str, list[str]]) -> tuple[np.ndarray, np.ndarray]:
        """The cells of a stream's ring and the static covariates, categories encoded as in training."""
        groups = column_groups(self._data)
        hist, futr, stat = (cells[:, groups[name]] for name in ("hist", "futr", "stat"))
        if self._scaling.categories:
            schema, count = dataclasses.replace(self._tail.schema, categories=categories), len(cells)
            each = np.arange(count)  # a panel in which every row is a series
            names = as_labels(each.tolist())
            rows: dict[str, Any] = {
                "y": cells[:, groups["y"]],
                "hist": hist,
                "futr": futr,
                "stat": stat,
                "weight": np.empty((count, 0)),
            }
            panel = Panel(schema, as_ids(names), each, np.arange(count + 1), each + 1, labels=names, **rows)
            wide = encoded(panel, self._scaling.categories)
            hist, futr, stat = wide.hist, wide.futr, wide.stat
        return np.concatenate([cells[:, groups["y"]], hist, futr], axis=1), stat


def _number(cell: Any) -> float | None:
    """A plain cell as a number, NaN where it is empty; None for one that is neither."""
    if isinstance(cell, bool):
        return float(cell)
    if isinstance(cell, (int, float)):
        return float(cell) if abs(cell) < 1e300 or cell != cell else None
    if cell is None:
        return np.nan
    if not isinstance(cell, str):
        return None
    text = cell.strip()
    if text.lower() in _EMPTY:
        return np.nan
    number = float(text) if _NUMBER.fullmatch(text) else np.inf
    return number if abs(number) < np.inf else None
