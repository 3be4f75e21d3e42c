"""Warns of empty cells: they are masked, and at the end of a series they move its forecast."""

import warnings

import numpy as np
from jaxtyping import Int64

from lstmjax.config import DataConfig
from lstmjax.data.panel import Panel
from lstmjax.data.rows import Rows, column_groups
from lstmjax.data.table import DataWarning, first_few


def empty_cells(panel: Panel, rows: Rows, at: Int64[np.ndarray, " R"], config: DataConfig) -> dict[str, int]:
    """Counts the empty cells of a table's rows, by column; those after the last observation are not counted.

    Args:
        panel: made from the rows.
        rows: the rows of the table.
        at: (R,) the row number of each within its series.
        config: the meaning of the columns.
    """
    groups, schema = column_groups(config), panel.schema
    inside = at < panel.observed[rows.series]
    empty = np.isnan(rows.cells)
    counts: dict[str, int] = {}
    for group, names in (("y", schema.channels), ("hist", schema.hist_exog), ("futr", schema.futr_exog)):
        columns = empty[:, groups[group]]
        ahead = ~columns.all(axis=1) if group == "futr" else np.zeros(len(at), bool)
        for name, count in zip(names, columns[inside | ahead].sum(axis=0).tolist(), strict=True):
            counts |= {name: count} if count else {}
    return counts


def warn_of_empty_cells(panel: Panel, rows: Rows, at: Int64[np.ndarray, " R"], config: DataConfig) -> None:
    """Warns of cells that are empty, with their number; and of series whose last rows have no target.

    Args:
        panel: made from the rows.
        rows: the rows of the table.
        at: (R,) the row number of each within its series.
        config: the meaning of the columns.

    Warns:
        DataWarning: there are some.
    """
    source, groups = rows.sources[0], column_groups(config)
    counts = empty_cells(panel, rows, at, config)
    if counts:
        of = "" if config.layout == "long" else f" of {', '.join(config.target_cols[:5])}"
        said = ", ".join(f"{count} in column {name!r}{of if name == 'y' else ''}" for name, count in counts.items())
        number = sum(counts.values())
        warnings.warn(f"{source}: {number} empty cell{'s' * (number > 1)}: {said}: masked", DataWarning, stacklevel=3)
    beyond = at >= panel.observed[rows.series]
    beyond &= np.isnan(rows.cells[:, groups["futr"]]).all(axis=1)  # else they are the known future
    ends = np.bincount(rows.series[beyond], minlength=len(panel.ids))
    series, count = np.flatnonzero(ends), int(ends.sum())
    if not len(series):
        return
    times = panel.timestamps(series, panel.observed[series]).astype(str)
    each = [f"{panel.ids[number]!r} at {time}" for number, time in zip(series, times, strict=True)]
    column = "all target columns" if len(panel.schema.channels) > 1 else "the target column"
    warnings.warn(
        f"{source}: the last {count} row{'s' * (count > 1)} of {len(series)} of {len(panel.ids)} series are "
        f"empty in {column}: the forecast begins there: {first_few(each)}",
        DataWarning,
        stacklevel=3,
    )
