"""The rows of tables before they become a panel: read, melted, sorted, joined with the rows of the known future."""

import dataclasses
import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64, Shaped

from lstmjax.config import DataConfig
from lstmjax.data.table import DataWarning, number_column, require_columns, row_numbers, time_column
from lstmjax.errors import ConfigError, DataError


def column_groups(config: DataConfig) -> dict[str, slice]:
    """Returns the places of the groups "y", "hist", "futr", "stat" and "weight" among the columns of `Rows.cells`."""
    widths = {
        "y": 1 if config.layout == "wide" else len(config.target_cols),
        "hist": len(config.hist_exog),
        "futr": len(config.futr_exog),
        "stat": len(config.stat_exog),
        "weight": int(config.weight_col is not None),
    }
    ends = np.cumsum(list(widths.values())).tolist()
    return {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True)}


class Rows(NamedTuple):
    """R rows, each with its series, its time and its numbers, and the place it was read from, for messages."""

    sources: tuple[str, ...]
    """Names of the tables."""
    table: Int64[np.ndarray, " R"]
    """The table that a row is from."""
    number: Int64[np.ndarray, " R"]
    """Its row number in the file."""
    series: Int64[np.ndarray, " R"]
    wall: Int64[np.ndarray, " R"]
    """Its time on the wall clock: see `lstmjax.data.frequency`."""
    utc: Int64[np.ndarray, " R"]
    cells: Float64[np.ndarray, "R F"]

    def take(self, order: np.ndarray) -> "Rows":
        """Selects rows, in any order."""
        return Rows(self.sources, *(array[order] for array in self[1:]))

    @property
    def follows(self) -> Bool[np.ndarray, " R"]:
        """(R,) True where the row before belongs to the same series."""
        return np.diff(self.series, prepend=-1) == 0

    @property
    def ends(self) -> Bool[np.ndarray, " R"]:
        """(R,) True where the row is the last of its series."""
        return np.append(~self.follows[1:], True)

    def name(self, row: int) -> str:
        """Names a row as users know it."""
        return f"{self.sources[self.table[row]]}: row {self.number[row]}"


@dataclasses.dataclass(frozen=True)
class Table:
    """The content of a table.

    Attributes:
        rows: its rows.
        ids: identifiers of the series, in order of first appearance.
        zone: the time zone of its timestamps.
        integer: True where its times are whole numbers.
    """

    rows: Rows
    ids: Shaped[np.ndarray, " N"]
    zone: str | None
    integer: bool

    @property
    def kind(self) -> str:
        """Its times in words, for messages."""
        return kind_of_times(self.zone, integer=self.integer)


def kind_of_times(zone: str | None, *, integer: bool) -> str:
    """Describes the times of a table, for messages.

    >>> kind_of_times(None, integer=False)
    'timestamps in no time zone'
    """
    return "whole numbers" if integer else f"timestamps in {zone or 'no time zone'}"


def read_rows(table: pd.DataFrame, config: DataConfig, source: str, series_id: str) -> Table:
    """Reads the rows of a table, sorted by series, then time; checks its columns and turns them into numbers.

    Raises:
        DataError: one line naming the table, the row and the column that cannot be used.

    Warns:
        DataWarning: rows of a series are not sorted by time.
    """
    table = _prepared(table, config)
    weight = () if config.weight_col is None else (config.weight_col,)
    columns = (*config.target_cols, *config.hist_exog, *config.futr_exog, *config.stat_exog, *weight)
    require_columns(table, (config.time_col, *columns), source)
    if table.empty:
        raise DataError(f"{source} has no rows")
    if config.layout == "wide":
        read = _read(table, config, np.zeros(len(table), np.int64), as_ids(config.target_cols), source, columns)
        return _sorted(read, _melted(read.rows, len(config.target_cols)), config)
    series, ids = _series(table, config, source, series_id)
    read = _read(table, config, series, ids, source, columns)
    return _sorted(read, read.rows, config)


def read_future(futr: pd.DataFrame, config: DataConfig, ids: Shaped[np.ndarray, " N"]) -> Table:
    """Reads the rows of a table of known-future covariates; all other columns are NaN.

    Raises:
        ConfigError: the config names no known-future covariates.
        DataError: one line naming the table, the row and the column that cannot be used.

    Warns:
        DataWarning: rows of a series are not sorted by time.
    """
    source = config.futr_path or "the table of future covariates"
    if not config.futr_exog:
        raise ConfigError(f"{source}: data.futr_exog names no column to take from it")
    futr = _prepared(futr, config)
    require_columns(futr, (config.time_col, *config.futr_exog), source)
    if futr.empty:
        raise DataError(f"{source} has no rows")
    shared = config.layout == "wide" or (len(ids) == 1 and config.id_col not in futr.columns)
    series = np.zeros(len(futr), np.int64) if shared else _known_series(futr, config, ids, source)
    read = _read(futr, config, series, ids, source, config.futr_exog)
    rows = _for_each_series(read.rows, len(ids)) if config.layout == "wide" else read.rows
    groups = column_groups(config)
    cells = np.full((len(rows.number), groups["weight"].stop), np.nan)
    cells[:, groups["futr"]] = rows.cells
    return _sorted(read, rows._replace(cells=cells), config)


def join_future(main: Table, future: Table, config: DataConfig) -> Rows:
    """Joins the rows of two tables; those of the future only after the last observation of their series.

    Where both have a row for the same time after that, the row of the future is taken.

    Raises:
        DataError: the times are of different kinds.
    """
    if (main.zone, main.integer) != (future.zone, future.integer):
        raise DataError(
            f"{future.rows.sources[0]}: column {config.time_col!r} holds {future.kind}, "
            f"in {main.rows.sources[0]} it holds {main.kind}: make them alike"
        )
    rows, known = main.rows, future.rows
    observed = ~np.isnan(rows.cells[:, column_groups(config)["y"]]).all(axis=1)
    last = np.full(len(main.ids), np.iinfo(np.int64).min)
    np.maximum.at(last, rows.series[observed], rows.utc[observed])
    known = known.take(known.utc > last[known.series])._replace(sources=rows.sources + known.sources)
    known = known._replace(table=known.table + 1)
    joined = Rows(known.sources, *(np.concatenate(pair) for pair in zip(rows[1:], known[1:], strict=True)))
    joined = joined.take(np.lexsort((joined.utc, joined.series)))  # stable: of two at one time, known comes second
    replaced = np.append((np.diff(joined.utc) == 0) & (np.diff(joined.series) == 0), False)
    return joined.take(~replaced)


def as_ids(names: Any) -> Shaped[np.ndarray, " N"]:
    """Returns identifiers as an array of text and whole numbers, which JSON can store."""
    ids = np.empty(len(names), object)
    ids[:] = [name if isinstance(name, (str, int)) else str(name) for name in names]
    return ids


def _prepared(table: pd.DataFrame, config: DataConfig) -> pd.DataFrame:
    """Turns the column names into text, and an index that holds times or identifiers into columns."""
    in_index = any(name in (config.id_col, config.time_col) for name in table.index.names)
    return (table.reset_index() if in_index else table).rename(columns=str)


def _series(table: pd.DataFrame, config: DataConfig, source: str, series_id: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the number of each row's series, and the identifiers in order of first appearance."""
    if config.id_col == DataConfig.id_col and config.id_col not in table.columns:
        return np.zeros(len(table), np.int64), as_ids([series_id])
    require_columns(table, [config.id_col], source)
    series, ids = pd.factorize(table[config.id_col])
    missing = np.flatnonzero(series < 0)
    if len(missing):
        row = row_numbers(table)[missing[0]]
        raise DataError(f"{source}: row {row}, column {config.id_col!r} is empty: every row needs its series' name")
    return series.astype(np.int64), as_ids(ids.tolist())


def _known_series(table: pd.DataFrame, config: DataConfig, ids: np.ndarray, source: str) -> np.ndarray:
    """Returns the number of each row's series among those of the data."""
    require_columns(table, [config.id_col], source)
    codes, names = pd.factorize(table[config.id_col])
    number = {name: place for place, name in enumerate(ids.tolist())}
    places = np.array([number.get(name, -1) for name in as_ids(names.tolist())] + [-1], np.int64)
    series: np.ndarray = places[codes]  # an empty cell has code -1, the last place
    unknown = np.flatnonzero(series < 0)
    if len(unknown):
        row, name = row_numbers(table)[unknown[0]], table[config.id_col].iloc[unknown[0]]
        raise DataError(f"{source}: row {row}, column {config.id_col!r} is {str(name)!r}: the data has no such series")
    return series


def _read(
    table: pd.DataFrame, config: DataConfig, series: np.ndarray, ids: np.ndarray, source: str, columns: tuple[str, ...]
) -> Table:
    times = time_column(table, config.time_col, source)
    cells = np.stack([number_column(table, column, source) for column in columns], axis=1)
    numbers = row_numbers(table)
    rows = Rows((source,), np.zeros_like(numbers), numbers, series, times.wall, times.utc, cells)
    return Table(rows, ids, times.zone, times.integer)


def _melted(rows: Rows, targets: int) -> Rows:
    """Makes each target column a series of its own, one after the other; all share the covariates."""
    y = rows.cells[:, :targets].T.reshape(-1, 1)  # (R, N) -> (N * R, 1)
    every = _for_each_series(rows, targets)
    return every._replace(cells=np.concatenate([y, every.cells[:, targets:]], axis=1))


def _for_each_series(rows: Rows, count: int) -> Rows:
    """Repeats all rows for each of several series."""
    every = rows.take(np.tile(np.arange(len(rows.number)), count))
    return every._replace(series=np.repeat(np.arange(count), len(rows.number)))


def _sorted(read: Table, rows: Rows, config: DataConfig) -> Table:
    """Returns the table with its rows sorted by series, then time; requires one row per time."""
    if not (np.diff(rows.series) >= 0).all():
        rows = rows.take(np.argsort(rows.series, kind="stable"))
    step = np.diff(rows.utc, prepend=rows.utc[:1])
    backwards = np.flatnonzero(rows.follows & (step < 0))
    if len(backwards):
        warnings.warn(
            f"{rows.name(int(backwards[0]))} is before the row above it: sorted by {config.time_col!r}",
            DataWarning,
            stacklevel=4,  # the caller of panel_from_table
        )
        rows = rows.take(np.lexsort((rows.utc, rows.series)))
        step = np.diff(rows.utc, prepend=rows.utc[:1])
    twice = np.flatnonzero(rows.follows & (step == 0))
    if len(twice):
        pair = sorted([int(twice[0]) - 1, int(twice[0])], key=lambda row: int(rows.number[row]))
        hint = "" if len(read.ids) > 1 else "; where the table holds several series, name their column by data.id_col"
        raise DataError(
            f"{rows.name(pair[1])} has the same time as row {rows.number[pair[0]]} of series "
            f"{read.ids[rows.series[twice[0]]]!r}: keep one of them{hint}"
        )
    return dataclasses.replace(read, rows=rows)
