"""The panel: every series of a table, laid end to end in NumPy arrays, with what its columns mean.

pandas ends here. A row that the table lacks, or a cell that is empty, is NaN: it is masked further on, never filled.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64, Shaped

from lstmjax.data.frequency import Frequency, as_index, parse_frequency
from lstmjax.data.rows import as_ids, kind_of_times
from lstmjax.errors import DataError


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
        calendar: covariates made from the timestamps: see `lstmjax.data.calendar`.
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
    calendar: tuple[str, ...] = ()
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
        weight: (R, 1) how much each row counts in the loss; (R, 0) where all count alike.
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
    weight: Float64[np.ndarray, "R Fw"]

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
            offsets=row_ranges(self.lengths - first),
            observed=self.observed - first,
            y=self.y[keep],
            hist=self.hist[keep],
            futr=self.futr[keep],
            weight=self.weight[keep],
        )

    def reaching(self, lengths: Int64[np.ndarray, " N"]) -> "Panel":
        """The panel with empty rows after the last ones of each series, up to so many in all.

        Args:
            lengths: (N,) rows that each series should have; longer ones stay as they are.
        """
        lengths = np.maximum(lengths, self.lengths)
        offsets = row_ranges(lengths)
        old = np.arange(len(self.y)) + np.repeat(offsets[:-1] - self.offsets[:-1], self.lengths)

        def longer(values: np.ndarray) -> np.ndarray:
            grown = np.full((offsets[-1], values.shape[1]), np.nan)
            grown[old] = values
            return grown

        return dataclasses.replace(
            self,
            offsets=offsets,
            y=longer(self.y),
            hist=longer(self.hist),
            futr=longer(self.futr),
            weight=longer(self.weight),
        )

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The panel as named arrays of numbers and JSON-able metadata, from which `from_arrays` makes it again."""
        names = ("start", "offsets", "observed", "y", "hist", "futr", "stat", "weight")
        metadata = {"schema": dataclasses.asdict(self.schema), "ids": self.ids.tolist()}
        return {name: getattr(self, name) for name in names}, metadata

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> Self:
        """The panel that `to_arrays` took apart, also after its metadata went through JSON."""
        stored: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in metadata["schema"].items()
        }
        return cls(schema=Schema(**stored), ids=as_ids(metadata["ids"]), **arrays)


def row_ranges(lengths: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " N+1"]:
    """Where each of N series begins that lie end to end, and where the last one ends.

    >>> row_ranges(np.array([3, 2])).tolist()
    [0, 3, 5]
    """
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def check_compatible(trained: Schema, new: Schema, *, source: str = "the table") -> None:
    """Checks that new data has the columns, the time zone and the frequency of the training data.

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
    # How far training saw is a time: on another clock it would be another row.
    then, now = (kind_of_times(schema.time_zone, integer=schema.frequency.integer) for schema in (trained, new))
    if then != now:
        raise DataError(
            f"{source}: column {new.time_col!r} holds {now}, the forecaster was trained with {then}: make them alike"
        )
    if (before.step, before.base, before.integer) != (after.step, after.base, after.integer):
        raise DataError(f"{source} has the frequency {new.freq!r}, the forecaster was trained with {trained.freq!r}")


def _listed(names: str | tuple[str, ...]) -> str:
    return names if isinstance(names, str) else ", ".join(names) or "none"
