"""Warns of empty cells: they are masked, and at the end of a series they move its forecast."""

import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Int64

from lstmjax.config import DataConfig
from lstmjax.data.panel import Panel
from lstmjax.data.rows import Rows, column_groups
from lstmjax.data.table import NAMED, DataWarning, first_few


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


@dataclass(frozen=True)
class EmptyCells:
    """The empty cells of a table, and the series whose last rows have no target."""

    counts: dict[str, int]
    """Empty cells by column, see `empty_cells`."""
    beyond: int
    """Rows without a target at the end of their series that are not its known future."""
    ended: int
    """These series."""
    ends: list[str]
    """Where the observed rows of the first of them end, in words."""
    series: int
    """All series."""

    @classmethod
    def of(cls, panel: Panel, rows: Rows, at: Int64[np.ndarray, " R"], config: DataConfig) -> Self:
        """Those of a panel's rows.

        Args:
            panel: the panel.
            rows: those of the table.
            at: (R,) the number of each within its series.
            config: the meaning of the columns.
        """
        beyond = at >= panel.observed[rows.series]
        beyond &= np.isnan(rows.cells[:, column_groups(config)["futr"]]).all(axis=1)  # else they are the known future
        ends = np.bincount(rows.series[beyond], minlength=len(panel.ids))
        series = np.flatnonzero(ends)
        some = series[:NAMED]
        times: Any = panel.timestamps(some, panel.observed[some]).astype(str) if len(some) else []
        said = [f"{panel.ids[number]!r} at {time}" for number, time in zip(some, times, strict=True)]
        return cls(empty_cells(panel, rows, at, config), int(ends.sum()), len(series), said, len(panel.ids))

    def joined(self, later: "EmptyCells") -> "EmptyCells":
        """Those of these series and of later ones."""
        names = [*self.counts, *(name for name in later.counts if name not in self.counts)]
        counts = {name: self.counts.get(name, 0) + later.counts.get(name, 0) for name in names}
        ends = (self.ends + later.ends)[:NAMED]
        return EmptyCells(
            counts, self.beyond + later.beyond, self.ended + later.ended, ends, self.series + later.series
        )

    def report(self, config: DataConfig, source: str) -> None:
        """Warns of them.

        Warns:
            DataWarning: there are some.
        """
        if self.counts:
            of = "" if config.layout == "long" else f" of {', '.join(config.target_cols[:5])}"
            said = ", ".join(
                f"{count} in column {name!r}{of if name == 'y' else ''}" for name, count in self.counts.items()
            )
            number = sum(self.counts.values())
            warnings.warn(
                f"{source}: {number} empty cell{'s' * (number > 1)}: {said}: masked", DataWarning, stacklevel=4
            )
        if not self.ends:
            return
        channels = 1 if config.layout == "wide" else len(config.target_cols)
        column = "all target columns" if channels > 1 else "the target column"
        warnings.warn(
            f"{source}: the last {self.beyond} row{'s' * (self.beyond > 1)} of {self.ended} of {self.series} series "
            f"are empty in {column}: the forecast begins there: {first_few(self.ends, self.ended)}",
            DataWarning,
            stacklevel=4,
        )
