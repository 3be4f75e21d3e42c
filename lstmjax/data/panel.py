"""The panel: every series of a table, laid end to end in NumPy arrays, with what its columns mean.

pandas ends here. A row that the table lacks, or a cell that is empty, is NaN: it is masked further on, never filled.
"""

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64, Shaped

from lstmjax.config import DataConfig
from lstmjax.data.frequency import Frequency, Times, as_index, infer_frequency, parse_frequency
from lstmjax.data.table import number_column, read_table, require_columns, row_numbers, time_column
from lstmjax.errors import DataError

__all__ = [
    "DataWarning",
    "Panel",
    "Schema",
    "check_compatible",
    "panel_from_table",
    "read_table",
    "require_future",
]

_LARGEST_BLOWUP = 100  # a wrong year in one timestamp would otherwise ask for gigabytes of gap


class DataWarning(UserWarning):
    """Something about a table that its owner should know, though it can be used. One line."""


@dataclass(frozen=True)
class Schema:
    """What the columns of a panel mean. JSON-able by `dataclasses.asdict`.

    Attributes:
        id_col: the user's name of the column that tells series apart.
        time_col: the user's name of the column of times.
        target_cols: the forecast columns. In the wide layout each is a series of its own.
        hist_exog: covariates known up to the cut-off.
        futr_exog: covariates known ahead.
        stat_exog: covariates constant within a series.
        freq: pandas frequency alias, or a whole number as text.
        layout: long or wide.
        time_zone: name of the timestamps' zone; None for those without one.
    """

    id_col: str
    time_col: str
    target_cols: tuple[str, ...]
    hist_exog: tuple[str, ...]
    futr_exog: tuple[str, ...]
    stat_exog: tuple[str, ...]
    freq: str
    layout: str = "long"
    time_zone: str | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the target channels C: the target columns, or ``("y",)`` where each column is a series."""
        return ("y",) if self.layout == "wide" else self.target_cols

    @property
    def frequency(self) -> Frequency:
        """`freq` as something that can be counted with."""
        return parse_frequency(self.freq)


@dataclass(frozen=True)
class Panel:
    """N series in R rows, one after the other; rows within a series are one step apart.

    Attributes:
        schema: what the columns mean.
        ids: (N,) identifiers (text or whole numbers), in the order in which the table names them first.
        start: (N,) time of each series' first row, on the frequency's clock: see `timestamps`.
        offsets: (N + 1,) series n holds the rows from offsets[n] up to offsets[n + 1].
        observed: (N,) rows of each series up to and including the last with an observed target. Those beyond are the
            known future.
        y: (R, C) targets in the table's units, NaN where missing.
        hist: (R, Fh) historic covariates, NaN where missing.
        futr: (R, Ff) known-future covariates, NaN where missing.
        stat: (N, Fs) static covariates.
    """

    schema: Schema
    ids: Shaped[np.ndarray, " N"]
    start: Int64[np.ndarray, " N"]
    offsets: Int64[np.ndarray, " N+1"]
    observed: Int64[np.ndarray, " N"]
    y: Float64[np.ndarray, "R C"]
    hist: Float64[np.ndarray, "R Fh"]
    futr: Float64[np.ndarray, "R Ff"]
    stat: Float64[np.ndarray, "N Fs"]

    @property
    def lengths(self) -> Int64[np.ndarray, " N"]:
        """(N,) rows of each series, its known future included."""
        return np.diff(self.offsets)

    def timestamps(self, series: Int64[np.ndarray, " W"], rows: Int64[np.ndarray, " W"]) -> pd.Index:
        """The times of rows, which may lie beyond the end of their series.

        Args:
            series: (W,) numbers of series.
            rows: (W,) row numbers within them, from 0.

        Returns:
            (W,) timestamps in the table's own time zone, or whole numbers.
        """
        frequency = self.schema.frequency
        times = frequency.at(self.start[np.asarray(series)], np.asarray(rows, np.int64))
        return as_index(times, frequency, self.schema.time_zone)

    def tail(self, rows: int) -> "Panel":
        """The last observed rows of each series, with its known future: what a forecast from its end needs.

        Args:
            rows: observed rows to keep; shorter series are kept whole.
        """
        first = np.maximum(0, self.observed - rows)
        keep = np.arange(len(self.y)) - np.repeat(self.offsets[:-1], self.lengths) >= np.repeat(first, self.lengths)
        return dataclasses.replace(
            self,
            start=self.schema.frequency.at(self.start, first),
            offsets=_ranges(self.lengths - first),
            observed=self.observed - first,
            y=self.y[keep],
            hist=self.hist[keep],
            futr=self.futr[keep],
        )

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The panel as named arrays of numbers and JSON-able metadata, from which `from_arrays` makes it again."""
        names = ("start", "offsets", "observed", "y", "hist", "futr", "stat")
        metadata = {"schema": dataclasses.asdict(self.schema), "ids": self.ids.tolist()}
        return {name: getattr(self, name) for name in names}, metadata

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> Self:
        """The panel that `to_arrays` took apart, also after its metadata went through JSON."""
        stored = {
            name: tuple(value) if isinstance(value, list) else value for name, value in metadata["schema"].items()
        }
        return cls(schema=Schema(**stored), ids=_as_ids(metadata["ids"]), **arrays)


class _Rows(NamedTuple):
    """The rows of one table, each with its series, its time and its numbers."""

    source: str
    number: Int64[np.ndarray, " R"]  # as in the file
    series: Int64[np.ndarray, " R"]
    wall: Times
    utc: Times
    values: Float64[np.ndarray, "R F"]

    def take(self, order: np.ndarray) -> "_Rows":
        return self._replace(**{name: getattr(self, name)[order] for name in self._fields[1:]})

    @property
    def follows(self) -> np.ndarray:
        return np.diff(self.series, prepend=-1) == 0


def panel_from_table(
    table: pd.DataFrame,
    config: DataConfig,
    *,
    source: str = "the table",
    freq: str | None = None,
    futr: pd.DataFrame | None = None,
    series_id: str = "series",
) -> Panel:
    """A panel from a table in the long or the wide layout.

    Rows within a series may come in any order (a `DataWarning` says so where they are not sorted). Times that are
    missing between two rows become rows of NaN (a `DataWarning` counts them) or, with ``config.gaps = "error"``, a
    `DataError`. Rows with empty targets after the last observation of their series are its known future.

    Args:
        table: the user's table. Other columns than those the config names are ignored.
        config: what the columns mean.
        source: the table's name in messages, usually its path.
        freq: the frequency the table must have, e.g. that of the training data; instead of ``config.freq``.
        futr: known-future covariates beyond the last observation; rows up to it are ignored, a row there is in both
            tables is taken from this one. It needs the id column unless there is one series.
        series_id: the identifier of the only series, where the table has no id column.

    Returns:
        The panel.

    Raises:
        DataError: one line naming the table, the row and the column that cannot be used.
        ConfigError: ``freq`` is not a frequency.
    """
    table = _with_index_columns(table, (config.id_col, config.time_col))
    require_columns(table, (config.time_col, *_value_columns(config)), source)
    if table.empty:
        raise DataError(f"{source} has no rows")
    codes, ids = _series(table, config, source, series_id)
    main, zone, integer = _rows_of(table, config, codes, source, _value_columns(config))
    if config.layout == "wide":
        main, ids = _melt(main, config), _as_ids(config.target_cols)
    main = _sorted(main, ids, config)
    frequency = _frequency(main, config, freq, integer)
    rows, columns = main, _Columns.of(config)
    if futr is not None:
        known, futr_zone, futr_integer = _future_rows(futr, config, ids, columns)
        if (futr_zone, futr_integer) != (zone, integer):
            kind = "whole numbers" if futr_integer else f"time zone {futr_zone}"
            theirs = "whole numbers" if integer else f"time zone {zone}"
            raise DataError(
                f"{known.source}: column {config.time_col!r} has {kind}, {source} has {theirs}: make them equal"
            )
        rows = _continued(main, _sorted(known, ids, config), columns.y)
    panel = _laid_out(rows, ids, columns, frequency, config, zone)
    _check_gaps(panel, rows, frequency, config, futr is not None)
    return panel


class _Columns(NamedTuple):
    """Where the groups of columns lie in `_Rows.values`."""

    y: slice
    hist: slice
    futr: slice
    stat: slice

    @classmethod
    def of(cls, config: DataConfig) -> "_Columns":
        targets = 1 if config.layout == "wide" else len(config.target_cols)
        widths = (targets, len(config.hist_exog), len(config.futr_exog), len(config.stat_exog))
        ends = np.cumsum(widths).tolist()
        return cls(*(slice(end - width, end) for end, width in zip(ends, widths, strict=True)))


def _value_columns(config: DataConfig) -> tuple[str, ...]:
    return (*config.target_cols, *config.hist_exog, *config.futr_exog, *config.stat_exog)


def _with_index_columns(table: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """The table with its index as columns, where that is where the times or the identifiers are."""
    return table.reset_index() if any(name in table.index.names for name in columns) else table


def _as_ids(values: Any) -> np.ndarray:
    ids = np.empty(len(values), object)
    ids[:] = [value if isinstance(value, (str, int)) else str(value) for value in values]
    return ids


def _series(table: pd.DataFrame, config: DataConfig, source: str, series_id: str) -> tuple[np.ndarray, np.ndarray]:
    """The number of each row's series, and the identifiers in order of first appearance."""
    named = config.id_col != DataConfig.id_col
    if config.layout == "wide" or (not named and config.id_col not in table.columns):
        return np.zeros(len(table), np.int64), _as_ids([series_id])
    require_columns(table, [config.id_col], source)
    codes, ids = pd.factorize(table[config.id_col])
    missing = np.flatnonzero(codes < 0)
    if len(missing):
        row = row_numbers(table)[missing[0]]
        raise DataError(f"{source}: row {row}, column {config.id_col!r} is empty: every row needs its series' name")
    return codes.astype(np.int64), _as_ids(ids.tolist())


def _rows_of(
    table: pd.DataFrame, config: DataConfig, series: np.ndarray, source: str, columns: tuple[str, ...]
) -> tuple[_Rows, str | None, bool]:
    times = time_column(table, config.time_col, source)
    values = [number_column(table, column, source) for column in columns]
    numbers = np.stack(values, axis=1) if values else np.empty((len(table), 0))
    rows = _Rows(source, row_numbers(table), series, times.wall, times.utc, numbers)
    return rows, times.zone, times.integer


def _melt(rows: _Rows, config: DataConfig) -> _Rows:
    """Each target column as a series of its own; covariates are shared by all."""
    count, targets = len(rows.number), len(config.target_cols)
    order = np.tile(np.arange(count), targets)
    y = rows.values[:, :targets].T.reshape(-1, 1)
    melted = rows.take(order)
    return melted._replace(
        series=np.repeat(np.arange(targets), count), values=np.concatenate([y, melted.values[:, targets:]], axis=1)
    )


def _sorted(rows: _Rows, ids: np.ndarray, config: DataConfig) -> _Rows:
    """Rows by series, then time; duplicates are refused."""
    grouped = rows.take(np.argsort(rows.series, kind="stable"))
    backwards = grouped.follows & (np.diff(grouped.utc, prepend=grouped.utc[:1]) < 0)
    if backwards.any():
        row = grouped.number[np.flatnonzero(backwards)[0]]
        warnings.warn(
            f"{rows.source}: rows are not sorted by {config.time_col!r} (row {row} is the first out of order): sorted",
            DataWarning,
            stacklevel=3,
        )
        grouped = grouped.take(np.lexsort((grouped.utc, grouped.series)))
    twice = np.flatnonzero(grouped.follows & (np.diff(grouped.utc, prepend=grouped.utc[:1]) == 0))
    if len(twice):
        first, second = sorted(grouped.number[[twice[0] - 1, twice[0]]].tolist())
        where = f"series {ids[grouped.series[twice[0]]]!r} " if len(ids) > 1 else ""
        hint = "" if len(ids) > 1 else "; where the table holds several series, name their column with data.id_col"
        raise DataError(
            f"{rows.source}: row {second}: {where}has the time of row {first} again: keep one of them{hint}"
        )
    return grouped


def _frequency(rows: _Rows, config: DataConfig, freq: str | None, integer: bool) -> Frequency:
    named = freq or config.freq
    if named is None:
        return infer_frequency(rows.wall, rows.utc, rows.follows, integer=integer, source=rows.source)
    frequency = parse_frequency(named)
    if frequency.integer != integer:
        kinds = {True: "whole numbers", False: "timestamps"}
        raise DataError(
            f"{rows.source}: column {config.time_col!r} holds {kinds[integer]}, but the frequency is {named!r}, "
            f"which is for {kinds[not integer]}"
        )
    clock = rows.wall if frequency.wall_clock else rows.utc
    follows = np.flatnonzero(rows.follows)
    steps, fits = frequency.number(clock[follows], clock[follows - 1])
    if len(follows) and not (fits & (steps == 1)).any():  # else every second row would be called a gap
        found = infer_frequency(rows.wall, rows.utc, rows.follows, integer=integer, source=rows.source).text
        raise DataError(f"{rows.source}: the rows are {found!r} apart, but the frequency is {named!r}")
    return frequency


def _future_rows(
    futr: pd.DataFrame, config: DataConfig, ids: np.ndarray, columns: _Columns
) -> tuple[_Rows, str | None, bool]:
    """The rows of a table of future covariates, NaN in all other columns."""
    source = config.futr_path or "the future covariates"
    futr = _with_index_columns(futr, (config.id_col, config.time_col))
    require_columns(futr, (config.time_col, *config.futr_exog), source)
    if futr.empty:
        raise DataError(f"{source}: no rows")
    if config.layout == "wide" or (len(ids) == 1 and config.id_col not in futr.columns):
        series = np.zeros(len(futr), np.int64)
    else:
        require_columns(futr, [config.id_col], source)
        series = pd.Index(ids).get_indexer(pd.Index(futr[config.id_col].astype(object)))
        unknown = np.flatnonzero(series < 0)
        if len(unknown):
            row, name = row_numbers(futr)[unknown[0]], futr[config.id_col].iloc[unknown[0]]
            raise DataError(f"{source}: row {row}: the data has no series {name!r}")
    rows, zone, integer = _rows_of(futr, config, series.astype(np.int64), source, config.futr_exog)
    if config.layout == "wide":
        repeated = rows.take(np.tile(np.arange(len(futr)), len(ids)))
        rows = repeated._replace(series=np.repeat(np.arange(len(ids)), len(futr)))
    values = np.full((len(rows.number), columns.stat.stop), np.nan)
    values[:, columns.futr] = rows.values
    return rows._replace(values=values), zone, integer


def _continued(main: _Rows, known: _Rows, y: slice) -> _Rows:
    """The rows of both tables, those of ``known`` only after the last observation of their series."""
    observed = ~np.isnan(main.values[:, y]).all(axis=1)
    last = np.full(max(main.series.max(), known.series.max()) + 1, np.iinfo(np.int64).min)
    np.maximum.at(last, main.series[observed], main.utc[observed])
    known = known.take(known.utc > last[known.series])
    joined = _Rows(known.source, *(np.concatenate(pair) for pair in zip(main[1:], known[1:], strict=True)))
    joined = joined.take(np.lexsort((joined.utc, joined.series)))  # stable: of two at one time, known comes second
    again = np.append((np.diff(joined.utc) == 0) & (np.diff(joined.series) == 0), False)
    return joined.take(~again)


def _laid_out(
    rows: _Rows, ids: np.ndarray, columns: _Columns, frequency: Frequency, config: DataConfig, zone: str | None
) -> Panel:
    """The panel with every row at its step, and rows of NaN where the table has none."""
    clock = rows.wall if frequency.wall_clock else rows.utc
    first = np.flatnonzero(~rows.follows)
    starts = clock[first]
    at, fits = frequency.number(clock, starts[rows.series])
    if not fits.all():
        wrong = int(np.flatnonzero(~fits)[0])
        when = as_index(clock[wrong : wrong + 1], frequency, zone)[0]
        raise DataError(
            f"{rows.source}: row {rows.number[wrong]}, column {config.time_col!r} is {when}, which is not a whole number of "
            f"steps of {frequency.text!r} after the series' first row: give data.freq, or resample the table"
        )
    lengths = at[np.append(first[1:], len(at)) - 1] + 1
    if lengths.sum() > _LARGEST_BLOWUP * len(at) + 10_000:
        raise DataError(
            f"{rows.source}: at one row every {frequency.text!r} there would be {lengths.sum()} rows, the table has "
            f"{len(at)}: is a timestamp wrong, or data.freq too fine?"
        )
    offsets = _ranges(lengths)
    values = np.full((int(offsets[-1]), rows.values.shape[1]), np.nan)
    values[offsets[rows.series] + at] = rows.values
    observed = ~np.isnan(values[:, columns.y]).all(axis=1)
    row_in_series = np.arange(len(values)) - np.repeat(offsets[:-1], lengths)
    last = np.maximum.reduceat(np.where(observed, row_in_series + 1, 0), offsets[:-1])
    if not observed.any():
        raise DataError(f"{rows.source}: {' and '.join(map(repr, config.target_cols))} without a single value")
    schema = Schema(
        config.id_col,
        config.time_col,
        config.target_cols,
        config.hist_exog,
        config.futr_exog,
        config.stat_exog,
        frequency.text,
        config.layout,
        zone,
    )
    y, hist, futr = (np.ascontiguousarray(values[:, group]) for group in columns[:3])
    stat = _static(rows, ids, columns.stat, config)
    return Panel(schema, ids, starts, offsets, last.astype(np.int64), y, hist, futr, stat)


def _static(rows: _Rows, ids: np.ndarray, group: slice, config: DataConfig) -> Float64[np.ndarray, "N Fs"]:
    """The one value of each series' static covariates."""
    values = rows.values[:, group]
    stat = np.empty((len(ids), values.shape[1]))
    for column, name in enumerate(config.stat_exog):
        given = np.flatnonzero(~np.isnan(values[:, column]))
        series, first = np.unique(rows.series[given], return_index=True)
        if len(series) < len(ids):
            without = ids[np.setdiff1d(np.arange(len(ids)), series)[0]]
            raise DataError(f"{rows.source}: series {without!r} has no value in static column {name!r}")
        stat[:, column] = values[given[first], column]
        varies = given[values[given, column] != stat[rows.series[given], column]]
        if len(varies):
            row, which = rows.number[varies[0]], rows.series[varies[0]]
            raise DataError(
                f"{rows.source}: row {row}, column {name!r} is {values[varies[0], column]:g}, earlier in series "
                f"{ids[which]!r} it is {stat[which, column]:g}: a static covariate has one value a series"
            )
    return stat


def _check_gaps(panel: Panel, rows: _Rows, frequency: Frequency, config: DataConfig, has_future: bool) -> None:
    """Warns of missing steps, or refuses them; in a table of future covariates they are always refused."""
    clock = rows.wall if frequency.wall_clock else rows.utc
    at, _ = frequency.number(clock, panel.start[rows.series])
    gaps = np.where(rows.follows, np.diff(at, prepend=0) - 1, 0)
    if not gaps.any():
        return
    future = np.flatnonzero((gaps > 0) & (at >= panel.observed[rows.series])) if has_future else []
    where = int(future[0]) if len(future) else int(np.flatnonzero(gaps)[0])
    series = rows.series[where]
    when = panel.timestamps(np.array([series]), at[[where]] - gaps[where])[0]
    if len(future):
        raise DataError(
            f"{rows.source}: series {panel.ids[series]!r} has no row for {when}: its future must have no gap"
        )
    count = int(gaps.sum())
    affected = len(np.unique(rows.series[gaps > 0]))
    told = (
        f"{rows.source}: {count} missing time {'step' if count == 1 else 'steps'} in {affected} of {len(panel.ids)} "
        f"series, the first in series {panel.ids[series]!r} at {when}"
    )
    if config.gaps == "error":
        raise DataError(f'{told}: complete the table, or set data.gaps to "mask"')
    warnings.warn(f"{told}: masked", DataWarning, stacklevel=3)


def _ranges(lengths: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " N+1"]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def require_future(panel: Panel, h: int) -> None:
    """Checks that the known-future covariates reach h rows beyond the last observation of every series.

    A row counts as missing where it is not there or all of its known-future covariates are empty; where some are, these
    are masked.

    Args:
        panel: the data to forecast from.
        h: rows to forecast.

    Raises:
        DataError: naming the series, the first time that is missing, and how many are needed.
    """
    if not panel.schema.futr_exog:
        return
    rows = panel.observed[:, None] + np.arange(h)
    inside = rows < panel.lengths[:, None]
    flat = np.minimum(panel.offsets[:-1, None] + rows, len(panel.futr) - 1)
    given = inside & ~np.isnan(panel.futr[flat]).all(axis=-1)
    lacking = np.flatnonzero(~given.all(axis=1))
    if not len(lacking):
        return
    series = int(lacking[0])
    row = int(rows[series, np.argmin(given[series])])
    when = panel.timestamps(np.array([series]), np.array([row]))[0]
    raise DataError(
        f"series {panel.ids[series]!r} has no {', '.join(panel.schema.futr_exog)} for {when}: forecasting {h} rows needs "
        f"these covariates for {h} rows after the last observation; give them with data.futr_path (futr_df in Python), "
        "or as rows with an empty target"
    )


def check_compatible(trained: Schema, new: Schema, *, source: str = "the table") -> None:
    """Checks that new data has the columns and the frequency of the training data.

    Args:
        trained: the schema the forecaster was trained with.
        new: that of the new data.
        source: name of the new data, for the message.

    Raises:
        DataError: naming what differs, with both values.
    """
    for name in ("target_cols", "hist_exog", "futr_exog", "stat_exog", "layout"):
        mine, theirs = getattr(trained, name), getattr(new, name)
        if mine != theirs:
            raise DataError(f"{source} has {name} {_listed(theirs)}, the forecaster was trained with {_listed(mine)}")
    mine, theirs = trained.frequency, new.frequency
    if (mine.step, mine.base, mine.integer) != (theirs.step, theirs.base, theirs.integer):
        raise DataError(f"{source} has frequency {new.freq!r}, the forecaster was trained with {trained.freq!r}")


def _listed(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value) or "none"
