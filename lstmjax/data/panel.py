"""The panel: all series of a table, one after the other in NumPy arrays, with the meaning of the columns.

pandas ends here. A row that the table lacks, or a cell that is empty, is NaN: later it is masked, never filled.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64, Shaped

from lstmjax.data.frequency import Frequency, as_index, parse_frequency
from lstmjax.data.series_ids import as_ids, as_labels, id_column, stored_id, stored_label
from lstmjax.data.times import kind_of_times
from lstmjax.errors import DataError

PART_ROWS = 1 << 20
"""Rows of `Panel.parts`."""

_BY_SERIES = ("ids", "start", "observed", "stat", "labels")
"""Fields of `Panel` that have one entry per series."""

BY_ROW = ("y", "hist", "futr", "weight")
"""Fields of `Panel` that have one row per row of the data."""


@dataclass(frozen=True)
class Schema:
    """The meaning of a panel's columns. JSON-able by `dataclasses.asdict`.

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
        holidays: whose public holidays are a covariate: see `lstmjax.data.calendar`.
        categories: by covariate of text, the text that each number in the panel stands for.
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
    holidays: str | None = None
    categories: dict[str, list[str]] = field(default_factory=dict)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the target channels C: the target columns, or ``("y",)`` where each column is a series."""
        return ("y",) if self.layout == "wide" else self.target_cols

    @property
    def frequency(self) -> Frequency:
        """`freq`, parsed."""
        return parse_frequency(self.freq)


@dataclass(frozen=True)
class Form:
    """How the table wrote what the panel holds, so that other tables are read alike and results are given back alike.

    Attributes:
        id_dtype: name of the dtype of the identifiers; None where the table had no such column.
        frame: the library that the table was of: see `lstmjax.data.frame_kinds`.
        time_format: what settles the reading of times: see `lstmjax.data.times.TimeColumn`.
    """

    id_dtype: str | None = None
    frame: str = "pandas"
    time_format: str | None = None


@dataclass(frozen=True)
class Panel:
    """N series in R rows, one after the other; rows within a series are one step apart.

    Attributes:
        schema: the meaning of the columns.
        ids: (N,) identifiers as text, in the order in which the table names them first.
        start: (N,) time of each series' first row, on the frequency's clock: see `timestamps`.
        offsets: (N + 1,) series n holds the rows from offsets[n] up to offsets[n + 1].
        observed: (N,) rows of each series up to and including the last with an observed target. Those beyond are the
            known future.
        y: (R, C) targets in the table's units, NaN where missing.
        hist: (R, Fh) historic covariates, NaN where missing.
        futr: (R, Ff) known-future covariates, NaN where missing.
        stat: (N, Fs) static covariates.
        weight: (R, 1) how much each row counts in the loss; (R, 0) where all count alike.
        labels: (N,) the identifiers as the table has them.
        form: how the table wrote them, and its times.
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
    labels: Shaped[np.ndarray, " N"]
    form: Form = Form()

    @property
    def lengths(self) -> Int64[np.ndarray, " N"]:
        """(N,) rows of each series, its known future included."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> tuple[Int64[np.ndarray, " R"], Int64[np.ndarray, " R"]]:
        """(R,) the series of each row, and (R,) its row number within the series."""
        series = np.repeat(np.arange(len(self.ids)), self.lengths)
        return series, np.arange(len(self.y)) - self.offsets[series]

    def timestamps(self, series: Int64[np.ndarray, " W"], rows: Int64[np.ndarray, " W"]) -> pd.Index:
        """Returns the times of rows, which may lie beyond the end of their series.

        Args:
            series: (W,) numbers of series.
            rows: (W,) row numbers within them, from 0.

        Returns:
            (W,) timestamps in the table's own time zone, or whole numbers.
        """
        frequency = self.schema.frequency
        times = frequency.at(self.start[np.asarray(series)], np.asarray(rows, np.int64))
        return as_index(times, frequency, self.schema.time_zone)

    def id_column(self, series: Int64[np.ndarray, " W"]) -> pd.Series:
        """Returns the identifiers of some series, (W,), in the dtype that the table has them in."""
        return id_column(self.labels[series], self.form.id_dtype)

    def timestamp(self, series: int | np.integer, row: int | np.integer) -> Any:
        """The time of one row, for a message; as `timestamps`."""
        return self.timestamps(np.array([series]), np.array([row]))[0]

    def tail(self, rows: int) -> "Panel":
        """Keeps the last observed rows of each series and its known future: what a forecast from its end needs.

        Args:
            rows: observed rows to keep; shorter series are kept whole.
        """
        first = np.maximum(0, self.observed - rows)
        offsets = row_ranges(self.lengths - first)
        kept = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1] + first - offsets[:-1], np.diff(offsets))
        return dataclasses.replace(
            self,
            start=self.schema.frequency.at(self.start, first),
            offsets=offsets,
            observed=self.observed - first,
            **{name: np.asarray(getattr(self, name))[kept] for name in BY_ROW},
        )

    def parts(self, rows: int | None = None) -> Iterator[tuple[slice, "Panel"]]:
        """Yields the panel a few series at a time, so that what is computed of each needs little memory.

        Args:
            rows: of a part, at most; a series that has more is a part of its own. Default: `PART_ROWS`.

        Yields:
            Which series, and the panel of these. Its arrays are views.
        """
        for some in series_ranges(self.offsets, PART_ROWS if rows is None else rows):
            begin, end = self.offsets[some.start], self.offsets[some.stop]
            own: dict[str, Any] = {name: getattr(self, name)[some] for name in _BY_SERIES}
            own |= {name: np.asarray(getattr(self, name))[begin:end] for name in BY_ROW}
            own["offsets"] = self.offsets[some.start : some.stop + 1] - begin
            yield some, dataclasses.replace(self, **own)

    def reaching(self, lengths: Int64[np.ndarray, " N"]) -> "Panel":
        """Adds empty rows at the end of each series.

        Args:
            lengths: (N,) rows that each series has afterwards; longer series stay as they are.
        """
        lengths = np.maximum(lengths, self.lengths)
        offsets = row_ranges(lengths)
        series, row = self.rows

        def longer(values: np.ndarray) -> Any:
            grown = np.full((offsets[-1], values.shape[1]), np.nan)
            grown[offsets[series] + row] = values
            return grown

        return dataclasses.replace(self, offsets=offsets, **{name: longer(getattr(self, name)) for name in BY_ROW})

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Returns the panel as named arrays of numbers and JSON-able metadata: the arguments of `from_arrays`."""
        names = ("start", "offsets", "observed", "y", "hist", "futr", "stat", "weight")
        metadata = {
            "schema": dataclasses.asdict(self.schema),
            "ids": [stored_id(text) for text in self.ids.tolist()],
            "labels": [stored_label(label) for label in self.labels.tolist()],
            "form": dataclasses.asdict(self.form),
        }
        return {name: getattr(self, name) for name in names}, metadata

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> Self:
        """Restores a panel from the result of `to_arrays`, also after the metadata went through JSON."""
        stored: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in metadata["schema"].items()
        }
        labels = metadata["labels"] if "labels" in metadata else metadata["ids"]  # as earlier versions stored
        form = Form(**metadata.get("form", {}))
        return cls(schema=Schema(**stored), ids=as_ids(labels), labels=as_labels(labels), form=form, **arrays)


def row_ranges(lengths: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " N+1"]:
    """Returns the first row of each of N series that lie one after the other, and the end of the last one.

    >>> row_ranges(np.array([3, 2])).tolist()
    [0, 3, 5]
    """
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def series_ranges(offsets: Int64[np.ndarray, " bounds"], rows: int) -> Iterator[slice]:
    """Yields ranges of series that have at most some rows together, or one series.

    >>> list(series_ranges(np.array([0, 3, 5, 50]), 6))
    [slice(0, 2, None), slice(2, 3, None)]
    """
    first, count = 0, len(offsets) - 1
    while first < count:
        last = int(np.searchsorted(offsets, offsets[first] + rows, side="right")) - 1
        last = min(max(last, first + 1), count)
        yield slice(first, last)
        first = last


def check_compatible(trained: Schema, new: Schema, *, source: str = "the table") -> None:
    """Requires that new data has the columns, the time zone and the frequency of the training data.

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
    # The end of the training data is a time: on another clock it would be another row.
    then, now = (kind_of_times(schema.time_zone, integer=schema.frequency.integer) for schema in (trained, new))
    if then != now:
        raise DataError(
            f"{source}: column {new.time_col!r} holds {now}, the forecaster was trained with {then}: make them alike"
        )
    if (before.step, before.base, before.integer) != (after.step, after.base, after.integer):
        raise DataError(f"{source} has the frequency {new.freq!r}, the forecaster was trained with {trained.freq!r}")


def _listed(names: str | tuple[str, ...]) -> str:
    return names if isinstance(names, str) else ", ".join(names) or "none"
