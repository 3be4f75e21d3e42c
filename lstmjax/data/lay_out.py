"""Puts the rows of a table on the grid of their frequency, with rows of NaN where the table has none."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from lstmjax.config import DataConfig
from lstmjax.data.frequency import DAY, Frequency, as_index
from lstmjax.data.frequency_names import SUPPORTED, describe_unsupported
from lstmjax.data.panel import Form, Panel, Schema, row_ranges
from lstmjax.data.rows import Rows, Table, column_groups
from lstmjax.data.series_ids import as_ids
from lstmjax.errors import DataError

_LARGEST_GROWTH = 100  # a wrong year in one timestamp would otherwise make a gap of gigabytes


def lay_out(
    main: Table, frequency: Frequency, config: DataConfig, kind: str, among: int = 0
) -> tuple[Panel, Int64[np.ndarray, " R"]]:
    """Puts the rows of a table on the grid of their frequency.

    Args:
        main: the table, its rows sorted by series, then time.
        frequency: of the rows.
        config: the meaning of the columns.
        kind: the library that the table was of.
        among: rows of the whole table, where these are a part of it.

    Returns:
        The panel, without the rows to forecast, where the calendar knows their covariates; and (R,) the number of each
        of the table's rows within its series.

    Raises:
        DataError: a time is not on the grid, or a static covariate or a weight cannot be used.
    """
    rows = main.rows
    clock = rows.clock(frequency, main.zone)
    starts = clock[~rows.follows]
    at = _row_numbers(rows, clock, starts, frequency, config, main.zone, max(among, len(rows.series)))
    shared = {field.name for field in dataclasses.fields(Schema)} & {field.name for field in dataclasses.fields(config)}
    columns: dict[str, Any] = {name: getattr(config, name) for name in shared - {"freq", "time_zone"}}
    schema = Schema(**columns, freq=frequency.text, time_zone=main.zone, categories=main.categories)
    form = Form(main.id_dtype, kind, config.time_format or main.time_format)
    return _laid_out(schema, main.labels, form, starts, at, rows, column_groups(config)), at


def _row_numbers(
    rows: Rows,
    clock: Int64[np.ndarray, " R"],
    starts: Int64[np.ndarray, " N"],
    frequency: Frequency,
    config: DataConfig,
    zone: str | None,
    among: int,
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
    if needed > _LARGEST_GROWTH * among + 10_000:
        raise DataError(
            f"{rows.sources[0]}: in steps of {frequency.text!r} it would have {needed} rows, but it has {among}: "
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


def check_observed(observed: bool, source: str, config: DataConfig) -> None:
    """Refuses a table without any target.

    Args:
        observed: whether it has one.
        source: the table's name in messages.
        config: the meaning of the columns.
    """
    if not observed:
        raise DataError(f"{source}: column {config.target_cols[0]!r} has no value: there is nothing to learn from")


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
