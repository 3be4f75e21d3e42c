"""Makes a panel from a table: puts the rows on the grid of their frequency, and masks gaps or refuses them."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Int64

from lstmjax.config import DataConfig
from lstmjax.data.calendar import check_calendar
from lstmjax.data.empty_cells import EmptyCells
from lstmjax.data.frame_kinds import as_pandas, kind_of_frame
from lstmjax.data.frequency import Frequency, parse_frequency
from lstmjax.data.frequency_inference import Steps
from lstmjax.data.future import join_future, read_future
from lstmjax.data.gaps import Gaps, check_future
from lstmjax.data.lay_out import check_observed, lay_out
from lstmjax.data.panel import Panel
from lstmjax.data.rows import Known, Rows, Table, read_rows
from lstmjax.errors import DataError


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
    panel, _, _ = build(table, config, source=source, freq=freq, futr=futr, series_id=series_id, known=known)
    # The covariates that are made from the times of the rows to forecast are known: add these rows.
    return panel.reaching(panel.observed + config.h) if config.calendar or config.holidays else panel


def build(
    table: Any, config: DataConfig, *, source: str, freq: str | None, futr: Any, series_id: Any, known: Known
) -> tuple[Panel, Rows, Int64[np.ndarray, " R"]]:
    """Makes a panel as `panel_from_table` does; arguments as there.

    Returns:
        The panel, the rows it was made from, and (R,) the number of each of them within its series.
    """
    kind, table = kind_of_frame(table, source), as_pandas(table, source)
    main = read_rows(table, config, source, series_id, known)
    frequency = frequency_of([main], config, freq)
    check_calendar(config, frequency, source)
    rows, categories = main.rows, main.categories
    if futr is not None:
        alike = dataclasses.replace(config, time_format=config.time_format or main.time_format)
        future = read_future(futr, alike, main.labels, Known(zone=main.zone, categories=categories))
        rows, categories = join_future(main, future, config), categories | future.categories
    panel, at = lay_out(dataclasses.replace(main, rows=rows, categories=categories), frequency, config, kind)
    check_observed(bool(panel.observed.any()), rows.sources[0], config)
    if futr is not None:
        check_future(panel, rows, at)
    Gaps.of(panel, rows, at).report(config, source)
    EmptyCells.of(panel, rows, at, config).report(config, source)
    return panel, rows, at


def frequency_of(parts: Iterable[Table], config: DataConfig, freq: str | None = None) -> Frequency:
    """Returns the frequency of a table that is read a part at a time.

    Args:
        parts: the table's parts, each with whole series, sorted by series, then time.
        config: ``freq``.
        freq: instead of that.

    Returns:
        The required frequency, if the rows have it; without one, that of the rows.

    Raises:
        DataError: they have another, or none can be inferred.
    """
    named, frequency, steps, fitting = freq or config.freq, None, None, False
    for main in parts:
        rows = main.rows
        integer, source = main.integer, rows.sources[0]
        more = Steps.of(rows.wall, rows.utc, rows.follows, integer=integer)
        steps = more if steps is None else steps.joined(more)
        if named is None:
            continue
        frequency = parse_frequency(named)
        if frequency.integer != integer:
            message = f"column {config.time_col!r} holds {main.kind}, which do not fit the frequency {named!r}"
            raise DataError(f"{source}: {message}")
        clock = rows.clock(frequency, main.zone)
        later = np.flatnonzero(rows.follows)
        numbers, fits = frequency.number(clock[later], clock[later - 1])
        fitting |= bool((fits & (numbers == 1)).any())
    assert steps is not None
    if frequency is None:
        return steps.frequency(integer=integer, source=source)
    if steps.wall and not fitting:  # else hourly rows would be half-hourly ones with gaps
        found = steps.frequency(integer=integer, source=source)
        raise DataError(f"{source}: rows have the frequency {found.text!r}, not {named!r}")
    return frequency
