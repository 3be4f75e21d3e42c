"""Takes the rows of a table in, a part at a time, and gives them back by series: on disk, whatever their order."""

import dataclasses
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lstmjax.config import DataConfig
from lstmjax.data.frame_kinds import as_pandas, is_frame, kind_of_frame
from lstmjax.data.rows import (
    Known,
    Rows,
    Table,
    column_groups,
    covariates_of,
    prepared_table,
    sorted_rows,
    unsorted_rows,
)
from lstmjax.data.series_ids import as_labels, id_text
from lstmjax.data.table import PARQUET, read_parts
from lstmjax.data.times import TimeOptions, time_column
from lstmjax.data.zones import localized
from lstmjax.errors import DataError
from lstmjax.storage.grouped_records import GroupedRecords

ROWS = 250_000
"""Rows of the table that are in memory at a time; a series that has more is in memory as a whole."""

_EVERY_LABEL = pd.RangeIndex(2**62)
"""The label of a row is its number: those of the table are kept as numbers."""


class Intake:
    """The rows of a table in the order of its series, on disk.

    Args:
        config: the meaning of the columns.
        folder: an empty folder for the rows.
        series_id: the identifier of the only series, where the table has no id column.
    """

    def __init__(self, config: DataConfig, folder: Path, series_id: str) -> None:
        self.config = config
        self.labels: list[Any] = []
        """The identifiers as the table has them, in order of first appearance."""
        self.kind = "pandas"
        """The library that the frames are of."""
        self.rows = 0
        self._series_id = series_id
        self._sources: list[str] = []
        self._number: dict[str, int] = {}
        self._latest: Table | None = None
        self._local = False
        self._undecided = frozenset(covariates_of(config))
        self._records: GroupedRecords | None = None
        self._folder = folder
        self._said = False

    @property
    def name(self) -> str:
        """What messages call the table."""
        return self._sources[0]

    @property
    def categories(self) -> dict[str, list[str]]:
        """By covariate of text, the text that each number stands for."""
        assert self._latest is not None
        return self._latest.categories

    def add(self, source: str, frame: pd.DataFrame, kind: str) -> None:
        """Takes in a part of the table.

        Raises:
            DataError: as `lstmjax.data.rows.read_rows`; or its times are of another kind than those before.
        """
        config, before = self.config, self._latest
        if before is None:
            self.kind, known = kind, Known()
            self._local = _is_local(frame, config, source)
        else:
            config = dataclasses.replace(config, time_format=config.time_format or before.time_format)
            known = Known(categories=before.categories, undecided=self._undecided)
        table = unsorted_rows(frame, config, source, self._series_id, known)
        if before is not None and (table.zone, table.integer) != (before.zone, before.integer):
            raise DataError(
                f"{source}: column {config.time_col!r} holds {table.kind}, before it {before.kind}: make them alike, "
                "or name the zone by data.time_zone"
            )
        if not self._sources or self._sources[-1] != source:
            self._sources.append(source)
        form = table.time_format or (None if before is None else before.time_format)
        dtype = table.id_dtype if before is None else before.id_dtype
        self._latest = dataclasses.replace(table, time_format=form, id_dtype=dtype, rows=table.rows.take(np.array([0])))
        at = column_groups(config)
        cells = np.concatenate([table.rows.cells[:, at[group]] for group in ("hist", "futr", "stat")], axis=1)
        empty = np.isnan(cells).all(axis=0).tolist()
        self._undecided &= {name for name, none in zip(covariates_of(config), empty, strict=True) if none}
        self._store(table)

    def _store(self, table: Table) -> None:
        rows, numbers = table.rows, np.array([self._series(label) for label in table.labels.tolist()])
        if self._records is None:
            cells = ("cells", np.float64, (rows.cells.shape[1],))
            whole = [(name, np.int64) for name in ("group", "table", "number", "wall", "utc")]
            self._records = GroupedRecords(self._folder, np.dtype([*whole, cells]))
        records = np.empty(len(rows.series), self._records.dtype)
        labels = rows.labels[0]
        own = labels.to_numpy() if labels.dtype.kind in "iu" else np.arange(len(labels))
        fields = {"group": numbers[rows.series], "table": len(self._sources) - 1, "number": own[rows.number]}
        for name, values in (fields | {"wall": rows.wall, "utc": rows.utc, "cells": rows.cells}).items():
            records[name] = values
        self._records.append(records)
        self.rows += len(records)

    def _series(self, label: Any) -> int:
        text = id_text(label)
        if text not in self._number:
            self._number[text] = len(self.labels)
            self.labels.append(label)
        return self._number[text]

    def tables(self) -> Iterator[Table]:
        """Yields the rows of some series after others, sorted by series, then time.

        Raises:
            DataError: two rows of a series have one time, or there are no rows.

        Warns:
            DataWarning: rows of a series are not sorted by time; once.
        """
        latest = self._latest
        if self._records is None or latest is None:
            raise DataError("nothing to pack: no frame was given")
        labels = as_labels(self.labels)
        for records in self._records.parts(ROWS):
            first, last = int(records["group"][0]), int(records["group"][-1])
            series, utc = records["group"], records["utc"].copy()
            if self._local:  # of a time that clocks show twice, the rows may have come in two parts
                assert latest.zone is not None
                wall = pd.DatetimeIndex(records["wall"].copy().view("datetime64[us]"))
                utc = localized(wall, latest.zone, series).asi8
            arrays = (records["table"], records["number"], series, records["wall"], utc, records["cells"])
            rows = Rows(
                tuple(self._sources),
                (_EVERY_LABEL,) * len(self._sources),
                *(np.ascontiguousarray(array) for array in arrays),
            )
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                table = sorted_rows(dataclasses.replace(latest, rows=rows, labels=labels), rows, self.config)
            if caught and not self._said:
                self._said = True
                warnings.warn(caught[0].message, caught[0].category, stacklevel=4)
            rows = table.rows._replace(series=table.rows.series - first)
            yield dataclasses.replace(table, rows=rows, labels=labels[first : last + 1])


def _is_local(frame: pd.DataFrame, config: DataConfig, source: str) -> bool:
    """Whether times are of a clock whose zone ``config.time_zone`` names."""
    if config.time_zone is None or config.time_col not in prepared_table(frame.head(1), config).columns:
        return False
    times = time_column(prepared_table(frame.head(1), config), config.time_col, source, TimeOptions(config.time_format))
    return times.zone is None and not times.integer


def frames(table: Any, config: DataConfig) -> Iterator[tuple[str, pd.DataFrame, str]]:
    """Reads a table a part at a time: with the name of its source, and the library of its frames.

    Args:
        table: a CSV or Parquet file, a folder of them, a frame, or an iterable of frames.
        config: the meaning of the columns.
    """
    if isinstance(table, (str, Path)):
        asked = [config.time_col, *config.target_cols, *covariates_of(config)]
        asked += [config.id_col] * (config.layout == "long") + [config.weight_col or config.time_col]
        for file in _files(Path(table)):
            for part in read_parts(file, config, ROWS, list(dict.fromkeys(asked))):
                yield str(file), part, "pandas"
        return
    several = isinstance(table, Iterable) and not (isinstance(table, Mapping) or is_frame(table))
    for number, frame in enumerate(table if several else [table], 1):
        source = f"frame {number}"
        pandas = as_pandas(frame, source)
        if not len(pandas):
            raise DataError(f"{source} has no rows")
        yield source, pandas, kind_of_frame(frame, source)


def _files(path: Path) -> list[Path]:
    """The files of a table: one, or all CSV and Parquet files in a folder, by name; hidden ones are left out."""
    if not path.is_dir():
        return [path]
    kinds = (*PARQUET, ".csv", ".csv.gz")
    found = sorted(
        file
        for file in path.rglob("*")
        if file.name.lower().endswith(kinds)
        and not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)  # e.g. .ipynb_checkpoints
        and not file.is_dir()  # as Spark calls its folders
    )
    if not found:
        raise DataError(f"{path} is a folder without a CSV or Parquet file")
    return found
