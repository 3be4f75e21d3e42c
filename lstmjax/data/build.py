"""Makes a panel from a table: puts the rows on the grid of their frequency, and masks gaps or refuses them."""

import dataclasses
import warnings
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from lstmjax.config import DataConfig
from lstmjax.data.calendar import check_calendar
from lstmjax.data.empty_cells import warn_of_empty_cells
from lstmjax.data.frame_kinds import as_pandas, kind_of_frame
from lstmjax.data.frequency import (
    DAY,
    Frequency,
    as_index,
    infer_frequency,
    parse_frequency,
)
from lstmjax.data.frequency_names import SUPPORTED, describe_unsupported
from lstmjax.data.future import join_future, read_future
from lstmjax.data.identity import as_ids
from lstmjax.data.panel import Form, Panel, Schema, row_ranges
from lstmjax.data.rows import Known, Rows, Table, column_groups, read_rows
from lstmjax.data.table import DataWarning
from lstmjax.errors import DataError

_LARGEST_GROWTH = 100  # a wrong year in one timestamp would otherwise make a gap of gigabytes


def panel_from_table(
    table: Any,
    config: DataConfig,
    *,
    source: str = "the table",
    freq: str | None = None,
    futr: Any = None,
    series_id: Any = "series",
    known: Known = Known(),  # noqa: B008  # frozen
) -> Panel:
    """Makes a panel from a table in the long or the wide layout.

    Rows of a series need not be sorted (a `DataWarning` reports where they are not). Times that are missing between two
    rows become rows of NaN (a `DataWarning` counts them) or, with ``config.gaps = "error"``, a `DataError`. Rows with
    empty targets after the last observation of their series are its known future.

    Args:
        table: the user's table, of pandas, polars or pyarrow. Columns that the config does not name are ignored. In the
            long layout the column ``"unique_id"`` may be absent: then the table is one series.
        config: the meaning of the columns.
        source: the table's name in messages, usually its path.
        freq: the frequency the table must have, e.g. that of the training data; instead of ``config.freq``.
        futr: known-future covariates beyond the last observation. Rows up to it are ignored; a row beyond it that both
            tables have is taken from this one. It needs the id column unless there is one series or the layout is wide.
        series_id: the identifier of the only series, where the table has no id column.
        known: what is known of the table from the data that were trained on.

    Returns:
        The panel.

    Raises:
        DataError: one line naming the table, the row and the column that cannot be used.
        ConfigError: ``freq`` is not a frequency; ``futr`` is given, but ``config.futr_exog`` is empty.

    Warns:
        DataWarning: rows are not sorted, rows are missing, or cells are empty.
    """
    panel = build(table, config, source=source, freq=freq, futr=futr, series_id=series_id, known=known).panel
    # The covariates that are made from the times of the rows to forecast are known: add these rows.
    return panel.reaching(panel.observed + config.h) if config.calendar or config.holidays else panel


class Built(NamedTuple):
    """A panel, and the rows it was made from."""

    panel: Panel
    """Without the rows to forecast, where the calendar knows their covariates."""
    rows: Rows
    at: Int64[np.ndarray, " R"]
    """(R,) the row number of each within its series."""


def build(
    table: Any, config: DataConfig, *, source: str, freq: str | None, futr: Any, series_id: Any, known: Known
) -> Built:
    """Makes a panel as `panel_from_table` does, and says which rows it was made from; arguments as there."""
    kind, table = kind_of_frame(table, source), as_pandas(table, source)
    main = read_rows(table, config, source, series_id, known)
    frequency = _frequency(main, config, freq)
    check_calendar(config, frequency, source)
    rows, categories = main.rows, main.categories
    if futr is not None:
        alike = dataclasses.replace(config, time_format=config.time_format or main.time_format)
        future = read_future(futr, alike, main.labels, Known(zone=main.zone, categories=categories))
        rows, categories = join_future(main, future, config), categories | future.categories
    clock = rows.clock(frequency, main.zone)
    starts = clock[~rows.follows]
    at = _row_numbers(rows, clock, starts, frequency, config, main.zone)
    shared = {field.name for field in dataclasses.fields(Schema)} & {field.name for field in dataclasses.fields(config)}
    columns: dict[str, Any] = {name: getattr(config, name) for name in shared - {"freq", "time_zone"}}
    schema = Schema(**columns, freq=frequency.text, time_zone=main.zone, categories=categories)
    form = Form(main.id_dtype, kind, config.time_format or main.time_format)
    panel = _laid_out(schema, main.labels, form, starts, at, rows, column_groups(config))
    _check_gaps(panel, rows, at, config, has_future=futr is not None)
    warn_of_empty_cells(panel, rows, at, config)
    return Built(panel, rows, at)


def _frequency(main: Table, config: DataConfig, freq: str | None) -> Frequency:
    """Returns the required frequency, if the rows have it; without one, that of the rows."""
    rows, named = main.rows, freq or config.freq

    def infer() -> Frequency:
        return infer_frequency(rows.wall, rows.utc, rows.follows, integer=main.integer, source=rows.sources[0])

    if named is None:
        return infer()
    frequency = parse_frequency(named)
    if frequency.integer != main.integer:
        message = f"column {config.time_col!r} holds {main.kind}, which do not fit the frequency {named!r}"
        raise DataError(f"{rows.sources[0]}: {message}")
    clock = rows.clock(frequency, main.zone)
    later = np.flatnonzero(rows.follows)
    steps, fits = frequency.number(clock[later], clock[later - 1])
    if len(later) and not (fits & (steps == 1)).any():  # else hourly rows would be half-hourly ones with gaps
        raise DataError(f"{rows.sources[0]}: rows have the frequency {infer().text!r}, not {named!r}")
    return frequency


def _row_numbers(
    rows: Rows,
    clock: Int64[np.ndarray, " R"],
    starts: Int64[np.ndarray, " N"],
    frequency: Frequency,
    config: DataConfig,
    zone: str | None,
) -> Int64[np.ndarray, " R"]:
    """Returns the steps from the first row of each series to each row; requires whole numbers of steps."""
    at, fits = frequency.number(clock, starts[rows.series])
    if not fits.all():
        wrong = int(np.argmin(fits))
        unsupported = None if frequency.integer else describe_unsupported(rows.wall, rows.follows)
        if unsupported is not None:
            raise DataError(
                f"{rows.sources[0]}: column {config.time_col!r} has rows {unsupported}, which is no frequency: "
                f"{SUPPORTED}; move the times to the beginning of their period, e.g. by "
                ".dt.to_period('M').dt.to_timestamp(), or number the rows 1, 2, 3, ..."
            )
        when = as_index(clock[[wrong]], frequency, zone)[0]
        raise DataError(
            f"{rows.name(wrong)}, column {config.time_col!r} is {when}: not a whole number of steps of "
            f"{frequency.text!r} after the first row of its series: give data.freq, or resample the table"
            + (f"; {SUPPORTED}" if config.freq is None and frequency.step >= DAY and not frequency.integer else "")
        )
    needed = int(at[rows.ends].sum(dtype=np.float64)) + len(starts)  # int64 might overflow
    if needed > _LARGEST_GROWTH * len(at) + 10_000:
        raise DataError(
            f"{rows.sources[0]}: in steps of {frequency.text!r} it would have {needed} rows, but it has {len(at)}: "
            "is a time wrong, or data.freq too short?"
        )
    return at


def _laid_out(
    schema: Schema,
    labels: Shaped[np.ndarray, " N"],
    form: Form,
    starts: Int64[np.ndarray, " N"],
    at: Int64[np.ndarray, " R"],
    rows: Rows,
    groups: dict[str, slice],
) -> Panel:
    """Puts every row at its step, with rows of NaN where the table has none."""
    lengths = at[rows.ends] + 1
    offsets = row_ranges(lengths)
    cells = np.full((int(offsets[-1]), rows.cells.shape[1]), np.nan)
    cells[offsets[rows.series] + at] = rows.cells
    observed = ~np.isnan(cells[:, groups["y"]]).all(axis=1)
    if not observed.any():
        raise DataError(
            f"{rows.sources[0]}: column {schema.target_cols[0]!r} has no value: there is nothing to learn from"
        )
    row = np.arange(len(cells)) - np.repeat(offsets[:-1], lengths)
    _check_weights(rows, groups)
    ids = as_ids(labels)
    return Panel(
        schema=schema,
        ids=ids,
        labels=labels,
        form=form,
        start=starts,
        offsets=offsets,
        observed=np.maximum.reduceat(np.where(observed, row + 1, 0), offsets[:-1]),
        stat=_static(rows, ids, groups["stat"], schema),
        **{name: np.ascontiguousarray(cells[:, groups[name]]) for name in ("y", "hist", "futr", "weight")},
    )


def _check_weights(rows: Rows, groups: dict[str, slice]) -> None:
    """Requires a weight of at least 0 in every row of the table that has a target."""
    given, y = rows.cells[:, groups["weight"]], rows.cells[:, groups["y"]]
    wrong = np.flatnonzero((~(given >= 0)).any(axis=1) & ~np.isnan(y).all(axis=1))
    if len(wrong):
        found = "empty" if np.isnan(given[wrong[0], 0]) else f"{given[wrong[0], 0]:g}"
        raise DataError(f"{rows.name(int(wrong[0]))}: the weight is {found}: expected a number of at least 0")


def _static(rows: Rows, ids: Shaped[np.ndarray, " N"], group: slice, schema: Schema) -> Float64[np.ndarray, "N Fs"]:
    """Returns the one value of each series' static covariates."""
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
            texts = schema.categories.get(name)
            now, then = (
                f"{value:g}" if texts is None else repr(texts[int(value)])
                for value in (cells[row], stat[which, column])
            )
            raise DataError(
                f"{rows.name(row)}, column {name!r} is {now}, but {then} earlier in series {ids[which]!r}: a static "
                "covariate has one value per series"
            )
    return stat


def _check_gaps(panel: Panel, rows: Rows, at: Int64[np.ndarray, " R"], config: DataConfig, *, has_future: bool) -> None:
    """Warns of missing steps or refuses them; those before a row of the table of the future are always refused."""
    missing = np.where(rows.follows, np.diff(at, prepend=0) - 1, 0)
    if not missing.any():
        return
    in_future = (missing > 0) & (rows.table > 0) & has_future
    row = int(np.argmax(in_future)) if in_future.any() else int(np.argmax(missing > 0))
    series = rows.series[row]
    first = panel.timestamp(series, at[row] - missing[row])
    if in_future.any():
        raise DataError(
            f"{rows.name(row)}: before it series {panel.ids[series]!r} lacks {first}: the rows of its future must "
            "follow its last observation without a gap"
        )
    count, affected = int(missing.sum()), len(np.unique(rows.series[missing > 0]))
    message = (
        f"{rows.sources[0]}: {count} missing time step{'s' * (count > 1)} in {affected} of {len(panel.ids)} series, "
        f"the first in series {panel.ids[series]!r} at {first}"
    )
    if config.gaps == "error":
        raise DataError(f'{message}: complete the table, or set data.gaps to "mask"')
    warnings.warn(f"{message}: masked", DataWarning, stacklevel=3)
