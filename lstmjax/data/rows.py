"""The rows of tables before they become a panel: read, melted, sorted, joined with the rows of the known future."""

import dataclasses
import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int64, Shaped

from lstmjax.config import DataConfig
from lstmjax.data.categories import covariate_column
from lstmjax.data.frequency import DAY, Frequency
from lstmjax.data.series_ids import as_ids, as_labels, series_of_rows
from lstmjax.data.table import DataWarning
from lstmjax.data.table_cells import label_text, number_column, require_columns
from lstmjax.data.times import TimeOptions, kind_of_times, time_column
from lstmjax.data.zones import without_skipped, zones_that_repeat
from lstmjax.errors import DataError


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
    labels: tuple[pd.Index, ...]
    """Labels of the rows of each table: of a CSV file, the lines."""
    table: Int64[np.ndarray, " R"]
    """The table that a row is from."""
    number: Int64[np.ndarray, " R"]
    """Its place in that table, from 0."""
    series: Int64[np.ndarray, " R"]
    wall: Int64[np.ndarray, " R"]
    """Its time on the wall clock: see `lstmjax.data.frequency`."""
    utc: Int64[np.ndarray, " R"]
    cells: Float64[np.ndarray, "R F"]

    def take(self, order: np.ndarray) -> "Rows":
        """Selects rows, in any order."""
        return Rows(self.sources, self.labels, *(array[order] for array in self[2:]))

    @property
    def follows(self) -> Bool[np.ndarray, " R"]:
        """(R,) True where the row before belongs to the same series."""
        return np.diff(self.series, prepend=-1) == 0

    @property
    def ends(self) -> Bool[np.ndarray, " R"]:
        """(R,) True where the row is the last of its series."""
        return np.append(~self.follows[1:], True)

    def clock(self, frequency: Frequency, zone: str | None) -> Int64[np.ndarray, " R"]:
        """Returns the times on the clock on which the steps of a frequency are counted; rows sorted by series, time.

        Args:
            frequency: whose steps.
            zone: the time zone; a local time that its clocks skip is taken for the next that they show.
        """
        if not frequency.wall_clock:
            return self.utc
        return self.wall if zone is None else without_skipped(self.wall, self.utc, zone, DAY, self.follows)

    def name(self, row: int) -> str:
        """Names a row as users know it."""
        return f"{self.sources[self.table[row]]}: row {self.label(row)}"

    def label(self, row: int) -> str:
        """The label of a row in its table."""
        return label_text(self.labels[self.table[row]][self.number[row]])


@dataclasses.dataclass(frozen=True)
class Table:
    """The content of a table.

    Attributes:
        rows: its rows.
        labels: (N,) identifiers of the series as the table has them, in order of first appearance.
        id_dtype: the dtype of their column; None where there is none.
        zone: the time zone of its timestamps.
        integer: True where its times are whole numbers.
        time_format: what settles how its times are read.
        categories: by covariate of text, the text that each number stands for.
    """

    rows: Rows
    labels: Shaped[np.ndarray, " N"]
    id_dtype: str | None
    zone: str | None
    integer: bool
    time_format: str | None
    categories: dict[str, list[str]]

    @property
    def kind(self) -> str:
        """Its times in words, for messages."""
        return kind_of_times(self.zone, integer=self.integer)


@dataclasses.dataclass(frozen=True)
class Known:
    """What is known of a table before it is read, from the data that were trained on.

    Attributes:
        zone: the time zone that offsets from UTC are those of.
        categories: by covariate of text, the text that each number stands for; None: to be found in the table.
        undecided: covariates of which no cell was seen yet: they may hold text or numbers.
    """

    zone: str | None = None
    categories: Mapping[str, Sequence[str]] | None = None
    undecided: frozenset[str] = frozenset()

    @classmethod
    def as_text(cls, names: Iterable[str] | None) -> Self:
        """That some covariates are of text, and the others of numbers; None: nothing is known."""
        return cls(categories=None if names is None else dict.fromkeys(names, ()))


def read_rows(table: pd.DataFrame, config: DataConfig, source: str, series_id: Any, known: Known) -> Table:
    """Reads the rows of a table, sorted by series, then time; checks its columns and turns them into numbers.

    Raises:
        DataError: one line naming the table, the row and the column that cannot be used.

    Warns:
        DataWarning: rows of a series are not sorted by time.
    """
    read = unsorted_rows(table, config, source, series_id, known)
    return sorted_rows(read, read.rows, config)


def unsorted_rows(table: pd.DataFrame, config: DataConfig, source: str, series_id: Any, known: Known) -> Table:
    """Reads the rows of a table as `read_rows` does, in the order of the table (wide: by series)."""
    table = prepared_table(table, config)
    groups = ((*config.target_cols,), covariates_of(config), () if config.weight_col is None else (config.weight_col,))
    require_columns(table, (config.time_col, *itertools.chain(*groups)), source)
    if table.empty:
        raise DataError(f"{source} has no rows")
    if config.layout == "wide":
        series, labels, id_dtype = np.zeros(len(table), np.int64), as_labels(config.target_cols), "str"
    elif config.id_col == DataConfig.id_col and config.id_col not in table.columns:
        series, labels, id_dtype = np.zeros(len(table), np.int64), as_labels([series_id]), None
    else:
        require_columns(table, [config.id_col], source)
        series, labels = series_of_rows(table[config.id_col], table, source)
        id_dtype = str(table[config.id_col].dtype)
    read = read_cells(table, config, series, source, groups, known)
    rows = _melted(read.rows, len(config.target_cols)) if config.layout == "wide" else read.rows
    return dataclasses.replace(read, labels=labels, id_dtype=id_dtype, rows=rows)


def covariates_of(config: DataConfig) -> tuple[str, ...]:
    """Names of all covariates that a table must have."""
    return (*config.hist_exog, *config.futr_exog, *config.stat_exog)


def prepared_table(table: pd.DataFrame, config: DataConfig) -> pd.DataFrame:
    """Turns the column names into text, and an index that holds times or identifiers into columns.

    Where a column has the name of an index, the column is taken. The labels of the rows stay.
    """
    labels = table.index
    if isinstance(table.columns, pd.MultiIndex):
        table = table.set_axis(pd.Index([label_text(name) for name in table.columns]), axis=1)
    table = table.rename(columns=str)
    for level, name in enumerate(labels.names):
        if name in (config.id_col, config.time_col) and name not in table.columns:
            table = table.assign(**{name: labels.get_level_values(level)})
    return table


def read_cells(
    table: pd.DataFrame,
    config: DataConfig,
    series: np.ndarray,
    source: str,
    groups: tuple[tuple[str, ...], ...],
    known: Known,
) -> Table:
    """Reads the times, and the numbers of targets, covariates and weights."""
    settings = TimeOptions(config.time_format, config.time_zone, known.zone)
    times = time_column(table, config.time_col, source, settings, series)
    targets, covariates, weights = groups
    undecided = set(covariates) if known.categories is None else known.undecided
    categories = {name: list(texts) for name, texts in (known.categories or {}).items() if name in covariates}
    mark = config.decimal
    columns = [number_column(table, column, source, mark) for column in targets]
    columns += [
        covariate_column(table, column, source, categories, infer=column in undecided, decimal=mark)
        for column in covariates
    ]
    columns += [number_column(table, column, source, mark) for column in weights]
    number = np.arange(len(table))
    cells = np.stack(columns, axis=1)
    rows = Rows((source,), (table.index,), np.zeros_like(number), number, series, times.wall, times.utc, cells)
    return Table(rows, as_labels([]), None, times.zone, times.integer, times.form, categories)


def _melted(rows: Rows, targets: int) -> Rows:
    """Makes each target column a series of its own, one after the other; all share the covariates."""
    y = rows.cells[:, :targets].T.reshape(-1, 1)  # (R, N) -> (N * R, 1)
    every = for_each_series(rows, targets)
    return every._replace(cells=np.concatenate([y, every.cells[:, targets:]], axis=1))


def for_each_series(rows: Rows, count: int) -> Rows:
    """Repeats all rows for each of several series."""
    every = rows.take(np.tile(np.arange(len(rows.number)), count))
    return every._replace(series=np.repeat(np.arange(count), len(rows.number)))


def sorted_rows(read: Table, rows: Rows, config: DataConfig) -> Table:
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
        raise _two_at_one_time(read, rows, int(twice[0]), config)
    return dataclasses.replace(read, rows=rows)


def _two_at_one_time(read: Table, rows: Rows, second: int, config: DataConfig) -> DataError:
    """The error of two rows with one time, with what may be the reason."""
    pair = sorted([second - 1, second], key=lambda row: int(rows.number[row]))
    local = read.zone is None and not read.integer and rows.wall[second] % DAY
    zones = zones_that_repeat(pd.Timestamp(int(rows.wall[second]), unit="us")) if local else []
    if zones:
        what = (
            f": clocks show this hour twice, because summer time ends, e.g. in {', '.join(zones)}: name the zone of "
            "the times by data.time_zone"
        )
    elif config.time_zone is not None:
        what = (
            f": clocks in {read.zone} skip or repeat it: are the times in another zone, such as UTC (data.time_zone)?"
        )
    else:
        hint = "; where the table holds several series, name their column by data.id_col"
        what = f": keep one of them{hint if len(read.labels) == 1 else ''}"
    return DataError(
        f"{rows.name(pair[1])} has the same time as row {rows.label(pair[0])} of series "
        f"{as_ids(read.labels)[rows.series[second]]!r}{what}"
    )
