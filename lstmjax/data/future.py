"""The known future of a panel: whether it reaches as far as a forecast needs, and rows that a table adds to it."""

import numpy as np
import pandas as pd

from lstmjax.config import DataConfig
from lstmjax.data.panel import Panel
from lstmjax.data.rows import read_future
from lstmjax.errors import DataError


def with_future(panel: Panel, futr: pd.DataFrame, config: DataConfig) -> Panel:
    """A panel with known-future covariates after its last observed rows.

    Args:
        panel: the data.
        futr: the table of covariates; it needs the id column unless there is one series. Rows up to a series' last
            observation are ignored; where the panel has a known future of its own, the table's counts.
        config: what the columns mean.

    Returns:
        The panel, longer by the rows that are new.

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
        raise DataError(
            f"{rows.name(off[0])} does not fall upon a step of {panel.schema.freq!r} from its series' start"
        )
    series, number, values = rows.series[ahead], number[ahead], rows.cells[ahead]
    width = panel.futr.shape[1]
    # `read_future` lays the covariates out as the panel's columns lie: targets, historic, known-future, static.
    first = panel.y.shape[1] + panel.hist.shape[1]
    lengths = panel.lengths.copy()
    np.maximum.at(lengths, series, number + 1)
    longer = panel.reaching(lengths)
    longer.futr[longer.offsets[series] + number] = values[:, first : first + width]  # new arrays: no one else's
    return longer


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
