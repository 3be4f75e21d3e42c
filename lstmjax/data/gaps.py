"""Time steps that a table lacks: they are masked with a warning, or refused."""

import warnings
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Int64

from lstmjax.config import DataConfig
from lstmjax.data.panel import Panel
from lstmjax.data.rows import Rows
from lstmjax.data.table import DataWarning
from lstmjax.errors import DataError


def missing_before(rows: Rows, at: Int64[np.ndarray, " R"]) -> Int64[np.ndarray, " R"]:
    """How many steps are missing before each row.

    Args:
        rows: the rows of a table, sorted by series, then time.
        at: (R,) the number of each within its series.
    """
    return np.where(rows.follows, np.diff(at, prepend=0) - 1, 0)


def check_future(panel: Panel, rows: Rows, at: Int64[np.ndarray, " R"]) -> None:
    """Refuses missing steps before a row of the table of the future; arguments as in `missing_before`."""
    missing = missing_before(rows, at)
    in_future = np.flatnonzero((missing > 0) & (rows.table > 0))
    if len(in_future):
        row = int(in_future[0])
        series = rows.series[row]
        raise DataError(
            f"{rows.name(row)}: before it series {panel.ids[series]!r} lacks "
            f"{panel.timestamp(series, at[row] - missing[row])}: the rows of its future must "
            "follow its last observation without a gap"
        )


@dataclass(frozen=True)
class Gaps:
    """The time steps that a table lacks between two rows of a series."""

    steps: int = 0
    affected: int = 0
    """Series that lack some."""
    series: int = 0
    """All series."""
    first: str = ""
    """The first missing step, in words."""

    @classmethod
    def of(cls, panel: Panel, rows: Rows, at: Int64[np.ndarray, " R"]) -> Self:
        """Those of a panel's rows; arguments as in `missing_before`."""
        missing = missing_before(rows, at)
        if not missing.any():
            return cls(series=len(panel.ids))
        row = int(np.argmax(missing > 0))
        series = rows.series[row]
        first = f"in series {panel.ids[series]!r} at {panel.timestamp(series, at[row] - missing[row])}"
        return cls(int(missing.sum()), len(np.unique(rows.series[missing > 0])), len(panel.ids), first)

    def joined(self, later: "Gaps") -> "Gaps":
        """Those of these series and of later ones."""
        first = self.first or later.first
        return Gaps(self.steps + later.steps, self.affected + later.affected, self.series + later.series, first)

    def report(self, config: DataConfig, source: str) -> None:
        """Warns of missing steps, or refuses them where ``config.gaps`` says so."""
        if not self.steps:
            return
        message = (
            f"{source}: {self.steps} missing time step{'s' * (self.steps > 1)} in {self.affected} of {self.series} "
            f"series, the first {self.first}"
        )
        if config.gaps == "error":
            raise DataError(f'{message}: complete the table, or set data.gaps to "mask"')
        warnings.warn(f"{message}: masked", DataWarning, stacklevel=4)
