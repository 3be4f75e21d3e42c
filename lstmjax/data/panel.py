"""The panel: every series of a table, laid end to end in NumPy arrays, with what its columns mean.

pandas ends here. A row that the table lacks, or a cell that is empty, is NaN: it is masked further on, never filled.
"""

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64, Shaped

from lstmjax.config import DataConfig
from lstmjax.data.frequency import Frequency, as_index, infer_frequency, parse_frequency
from lstmjax.data.rows import Columns, Rows, Table, as_ids, join_future, read_future, read_rows
from lstmjax.data.table import DataWarning, read_table
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

_LARGEST_GROWTH = 100  # a wrong year in one timestamp would otherwise ask for gigabytes of gap


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
        stored: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in metadata["schema"].items()
        }
        return cls(schema=Schema(**stored), ids=as_ids(metadata["ids"]), **arrays)


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

    Rows of a series need not be sorted (a `DataWarning` says so where they are not). Times that are missing between two
    rows become rows of NaN (a `DataWarning` counts them) or, with ``config.gaps = "error"``, a `DataError`. Rows with
    empty targets after the last observation of their series are its known future.

    Args:
        table: the user's table. Other columns than those the config names are ignored. In the long layout it may lack
            the column ``"unique_id"``: then it is one series.
        config: what the columns mean.
        source: the table's name in messages, usually its path.
        freq: the frequency the table must have, e.g. that of the training data; instead of ``config.freq``.
        futr: known-future covariates beyond the last observation. Rows up to it are ignored; a row beyond it that is in
            both tables is taken from this one. It needs the id column unless there is one series or the layout is wide.
        series_id: the identifier of the only series, where the table has no id column.

    Returns:
        The panel.

    Raises:
        DataError: one line naming the table, the row and the column that cannot be used.
        ConfigError: ``freq`` is not a frequency; future covariates are given, but no name of any.

    Warns:
        DataWarning: rows are not sorted, or rows are missing.
    """
    main = read_rows(table, config, source, series_id)
    frequency = _frequency(main, config, freq)
    rows = main.rows if futr is None else join_future(main, read_future(futr, config, main.ids), config)
    clock = rows.wall if frequency.wall_clock else rows.utc
    starts = clock[~rows.follows]
    at = _steps(rows, clock, starts, frequency, config, main.zone)
    schema = Schema(
        id_col=config.id_col,
        time_col=config.time_col,
        target_cols=config.target_cols,
        hist_exog=config.hist_exog,
        futr_exog=config.futr_exog,
        stat_exog=config.stat_exog,
        freq=frequency.text,
        layout=config.layout,
        time_zone=main.zone,
    )
    panel = _laid_out(schema, main.ids, starts, at, rows, Columns.of(config))
    _check_gaps(panel, rows, at, config, has_future=futr is not None)
    return panel


def _frequency(main: Table, config: DataConfig, freq: str | None) -> Frequency:
    """The frequency that is asked for, after a look at whether the rows have it; else the one they have."""
    rows, named = main.rows, freq or config.freq

    def infer() -> Frequency:
        return infer_frequency(rows.wall, rows.utc, rows.follows, integer=main.integer, source=rows.sources[0])

    if named is None:
        return infer()
    frequency = parse_frequency(named)
    if frequency.integer != main.integer:
        raise DataError(
            f"{rows.sources[0]}: column {config.time_col!r} holds {main.kind}, "
            f"which does not go with frequency {named!r}"
        )
    clock = rows.wall if frequency.wall_clock else rows.utc
    later = np.flatnonzero(rows.follows)
    steps, fits = frequency.number(clock[later], clock[later - 1])
    if len(later) and not (fits & (steps == 1)).any():  # hourly rows would pass for half-hourly ones with gaps
        raise DataError(f"{rows.sources[0]}: rows have the frequency {infer().text!r}, not {named!r}")
    return frequency


def _steps(
    rows: Rows,
    clock: Int64[np.ndarray, " R"],
    starts: Int64[np.ndarray, " N"],
    frequency: Frequency,
    config: DataConfig,
    zone: str | None,
) -> Int64[np.ndarray, " R"]:
    """The number of steps from each series' first row to each row; every row must be a whole number of them away."""
    at, fits = frequency.number(clock, starts[rows.series])
    if not fits.all():
        wrong = int(np.argmin(fits))
        when = as_index(clock[[wrong]], frequency, zone)[0]
        raise DataError(
            f"{rows.name(wrong)}, column {config.time_col!r} is {when}: no whole number of steps of {frequency.text!r} "
            "after the first row of its series: give data.freq, or resample the table"
        )
    needed = int(at[_last_of_series(rows)].sum()) + len(starts)
    if needed > _LARGEST_GROWTH * len(at) + 10_000:
        raise DataError(
            f"{rows.sources[0]}: in steps of {frequency.text!r} it would have {needed} rows, but it has {len(at)}: "
            "is a time wrong, or data.freq too short?"
        )
    return at


def _last_of_series(rows: Rows) -> np.ndarray:
    return np.append(~rows.follows[1:], True)


def _laid_out(
    schema: Schema,
    ids: Shaped[np.ndarray, " N"],
    starts: Int64[np.ndarray, " N"],
    at: Int64[np.ndarray, " R"],
    rows: Rows,
    columns: Columns,
) -> Panel:
    """The panel with every row at its step, and rows of NaN where the table has none."""
    lengths = at[_last_of_series(rows)] + 1
    offsets = _ranges(lengths)
    cells = np.full((int(offsets[-1]), rows.cells.shape[1]), np.nan)
    cells[offsets[rows.series] + at] = rows.cells
    observed = ~np.isnan(cells[:, columns.y]).all(axis=1)
    if not observed.any():
        raise DataError(
            f"{rows.sources[0]}: column {schema.target_cols[0]!r} has no value: there is nothing to learn from"
        )
    row = np.arange(len(cells)) - np.repeat(offsets[:-1], lengths)
    return Panel(
        schema=schema,
        ids=ids,
        start=starts,
        offsets=offsets,
        observed=np.maximum.reduceat(np.where(observed, row + 1, 0), offsets[:-1]),
        y=np.ascontiguousarray(cells[:, columns.y]),
        hist=np.ascontiguousarray(cells[:, columns.hist]),
        futr=np.ascontiguousarray(cells[:, columns.futr]),
        stat=_static(rows, ids, columns.stat, schema),
    )


def _static(rows: Rows, ids: Shaped[np.ndarray, " N"], group: slice, schema: Schema) -> Float64[np.ndarray, "N Fs"]:
    """The one value of each series' static covariates."""
    stat = np.empty((len(ids), len(schema.stat_exog)))
    for column, name in enumerate(schema.stat_exog):
        cells = rows.cells[:, group][:, column]
        given = np.flatnonzero(~np.isnan(cells))
        series, first = np.unique(rows.series[given], return_index=True)
        if len(series) < len(ids):
            without = ids[np.setdiff1d(np.arange(len(ids)), series)[0]]
            raise DataError(f"{rows.sources[0]}: series {without!r} has no value in static column {name!r}")
        stat[:, column] = cells[given[first]]
        varies = given[cells[given] != stat[rows.series[given], column]]
        if len(varies):
            row, which = int(varies[0]), rows.series[varies[0]]
            raise DataError(
                f"{rows.name(row)}, column {name!r} is {cells[row]:g}, but {stat[which, column]:g} earlier in series "
                f"{ids[which]!r}: a static covariate has one value a series"
            )
    return stat


def _check_gaps(panel: Panel, rows: Rows, at: Int64[np.ndarray, " R"], config: DataConfig, *, has_future: bool) -> None:
    """Warns of missing steps, or refuses them; before a row of a table of the future they are always refused."""
    missing = np.where(rows.follows, np.diff(at, prepend=0) - 1, 0)
    if not missing.any():
        return
    in_future = (missing > 0) & (rows.table > 0) & has_future
    row = int(np.argmax(in_future)) if in_future.any() else int(np.argmax(missing > 0))
    series = rows.series[row]
    first = panel.timestamps(np.array([series]), at[[row]] - missing[row])[0]
    if in_future.any():
        raise DataError(
            f"{rows.name(row)}: before it series {panel.ids[series]!r} lacks {first}: the rows of its future must "
            "follow its last observation without a gap"
        )
    count, affected = int(missing.sum()), len(np.unique(rows.series[missing > 0]))
    told = (
        f"{rows.sources[0]}: {count} missing time step{'s' * (count > 1)} in {affected} of {len(panel.ids)} series, "
        f"the first in series {panel.ids[series]!r} at {first}"
    )
    if config.gaps == "error":
        raise DataError(f'{told}: complete the table, or set data.gaps to "mask"')
    warnings.warn(f"{told}: masked", DataWarning, stacklevel=3)


def _ranges(lengths: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " N+1"]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def require_future(panel: Panel, h: int) -> None:
    """Checks that the known-future covariates reach h rows beyond the last observation of every series.

    A row counts as missing where it is not there or all of its known-future covariates are empty; where only some are,
    these are masked.

    Args:
        panel: the data to forecast from.
        h: rows to forecast.

    Raises:
        DataError: naming the series, the first time that is missing, and how many are needed.
    """
    if not panel.schema.futr_exog:
        return
    rows = panel.observed[:, None] + np.arange(h)  # (N, h)
    flat = np.minimum(panel.offsets[:-1, None] + rows, len(panel.futr) - 1)
    given = (rows < panel.lengths[:, None]) & ~np.isnan(panel.futr[flat]).all(axis=-1)
    if given.all():
        return
    series = int(np.argmin(given.all(axis=1)))
    row = rows[series, np.argmin(given[series])]
    when = panel.timestamps(np.array([series]), np.array([row]))[0]
    raise DataError(
        f"series {panel.ids[series]!r} has no {', '.join(panel.schema.futr_exog)} for {when}: a forecast needs "
        f"{h} rows of known-future covariates after the last observation: give them by data.futr_path (futr_df in "
        "Python), or as rows with an empty target"
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
        then, now = _listed(getattr(trained, name)), _listed(getattr(new, name))
        if then != now:
            raise DataError(f"{source} has {name} {now}, the forecaster was trained with {then}")
    before, after = trained.frequency, new.frequency
    if (before.step, before.base, before.integer) != (after.step, after.base, after.integer):
        raise DataError(f"{source} has the frequency {new.freq!r}, the forecaster was trained with {trained.freq!r}")


def _listed(names: str | tuple[str, ...]) -> str:
    return names if isinstance(names, str) else ", ".join(names) or "none"
