"""The known future of a panel: adds the rows of a table to it, and requires that it is long enough for a forecast."""

import numpy as np
import pandas as pd

from lstmjax.config import DataConfig
from lstmjax.data.panel import Panel
from lstmjax.data.rows import column_groups, read_future
from lstmjax.errors import DataError


def with_future(panel: Panel, futr: pd.DataFrame, config: DataConfig) -> Panel:
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
    table, frequency = read_future(futr, config, panel.ids), panel.schema.frequency
    rows = table.rows
    if (table.zone, table.integer) != (panel.schema.time_zone, frequency.integer):
        raise DataError(
            f"{rows.sources[0]}: column {config.time_col!r} holds {table.kind}, "
            "unlike the data trained on: make them alike"
        )
    clock = rows.wall if frequency.wall_clock else rows.utc
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
    return longer


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
