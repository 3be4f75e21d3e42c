"""The known future of a panel: adds the rows of a table to it, and requires that it is long enough for a forecast."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Shaped

from lstmjax.config import DataConfig
from lstmjax.data.frame_kinds import as_pandas
from lstmjax.data.panel import Panel
from lstmjax.data.rows import (
    Known,
    Rows,
    Table,
    column_groups,
    for_each_series,
    prepared_table,
    read_cells,
    sorted_rows,
)
from lstmjax.data.series_ids import places, series_of_rows
from lstmjax.data.table_cells import require_columns, row_label
from lstmjax.errors import ConfigError, DataError


def read_future(
    futr: Any, config: DataConfig, labels: Shaped[np.ndarray, " N"], known: Known, *, source: str | None = None
) -> Table:
    """Reads the rows of a table of known-future covariates; all other columns are NaN.

    Raises:
        ConfigError: the config names no known-future covariates.
        DataError: one line naming the table, the row and the column that cannot be used.

    Warns:
        DataWarning: rows of a series are not sorted by time.
    """
    source = source or config.futr_path or "the table of future covariates"
    if not config.futr_exog:
        raise ConfigError(f"{source}: data.futr_exog names no column to take from it")
    futr = prepared_table(as_pandas(futr, source), config)
    require_columns(futr, (config.time_col, *config.futr_exog), source)
    if futr.empty:
        raise DataError(f"{source} has no rows")
    shared = config.layout == "wide" or (len(labels) == 1 and config.id_col not in futr.columns)
    series = np.zeros(len(futr), np.int64) if shared else _known_series(futr, config, labels, source)
    read = read_cells(futr, config, series, source, ((), config.futr_exog, ()), known)
    rows = for_each_series(read.rows, len(labels)) if config.layout == "wide" else read.rows
    groups = column_groups(config)
    cells = np.full((len(rows.number), groups["weight"].stop), np.nan)
    cells[:, groups["futr"]] = rows.cells
    return sorted_rows(dataclasses.replace(read, labels=labels), rows._replace(cells=cells), config)


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
    last = np.full(len(main.labels), np.iinfo(np.int64).min)
    np.maximum.at(last, rows.series[observed], rows.utc[observed])
    known = known.take(known.utc > last[known.series])
    known = known._replace(table=known.table + 1)
    pairs = zip(rows[2:], known[2:], strict=True)
    joined = Rows(rows.sources + known.sources, rows.labels + known.labels, *map(np.concatenate, pairs))
    joined = joined.take(np.lexsort((joined.utc, joined.series)))  # stable: of two at one time, known comes second
    replaced = np.append((np.diff(joined.utc) == 0) & (np.diff(joined.series) == 0), False)
    return joined.take(~replaced)


def _known_series(table: pd.DataFrame, config: DataConfig, labels: np.ndarray, source: str) -> np.ndarray:
    """Returns the number of each row's series among those of the data."""
    require_columns(table, [config.id_col], source)
    codes, names = series_of_rows(table[config.id_col], table, source)
    series: np.ndarray = places(names, labels)[codes]
    unknown = np.flatnonzero(series < 0)
    if len(unknown):
        row, name = row_label(table, int(unknown[0])), table[config.id_col].iloc[unknown[0]]
        raise DataError(f"{source}: row {row}, column {config.id_col!r} is {str(name)!r}: the data has no such series")
    return series


def with_future(panel: Panel, futr: Any, config: DataConfig) -> Panel:
    """Adds known-future covariates after the last observed rows of a panel.

    Args:
        panel: the data.
        futr: the table of covariates; it needs the id column unless there is one series. Rows up to a series' last
            observation are ignored; where the panel has a known future of its own, the values of the table are taken.
        config: the meaning of the columns.

    Returns:
        The panel with the new rows.

    Raises:
        DataError: the table cannot be used, or a time does not fit the panel's frequency.
        ConfigError: the config names no known-future covariates.
    """
    schema, frequency = panel.schema, panel.schema.frequency
    table = read_future(futr, config, panel.labels, Known(zone=schema.time_zone, categories=schema.categories))
    rows = table.rows
    if (table.zone, table.integer) != (schema.time_zone, frequency.integer):
        raise DataError(
            f"{rows.sources[0]}: column {config.time_col!r} holds {table.kind}, "
            "unlike the data trained on: make them alike"
        )
    clock = rows.clock(frequency, schema.time_zone)
    start = panel.start[rows.series]
    number, fits = frequency.number(np.maximum(clock, start), start)
    ahead = (clock >= start) & (number >= panel.observed[rows.series])
    off = np.flatnonzero(ahead & ~fits)
    if len(off):
        raise DataError(f"{rows.name(off[0])} does not fall on a step of {panel.schema.freq!r} from its series' start")
    series, number = rows.series[ahead], number[ahead]
    lengths = panel.lengths.copy()
    np.maximum.at(lengths, series, number + 1)
    longer = panel.reaching(lengths)
    # `reaching` made new arrays, which are ours to change.
    longer.futr[longer.offsets[series] + number] = rows.cells[ahead, column_groups(config)["futr"]]
    return dataclasses.replace(
        longer, schema=dataclasses.replace(schema, categories=schema.categories | table.categories)
    )


def require_future(panel: Panel, h: int) -> None:
    """Requires known-future covariates for h rows beyond the last observation of every series.

    A row counts as missing where it does not exist or all of its known-future covariates are empty; where only some
    are empty, these are masked.

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
    when = panel.timestamp(series, rows[series, np.argmin(given[series])])
    raise DataError(
        f"series {panel.ids[series]!r} has no {', '.join(panel.schema.futr_exog)} for {when}: a forecast needs "
        f"{h} rows of known-future covariates after the last observation: give them by data.futr_path (futr_df in "
        "Python), or as rows with an empty target"
    )
