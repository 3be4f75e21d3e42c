"""Packs a table into a store (see `lstmjax.data.store`), in memory that does not grow with the table."""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lstmjax.config import DataConfig
from lstmjax.data.build import frequency_of
from lstmjax.data.calendar import check_calendar
from lstmjax.data.digest import panel_digest
from lstmjax.data.empty_cells import EmptyCells
from lstmjax.data.gaps import Gaps
from lstmjax.data.lay_out import check_observed, lay_out
from lstmjax.data.pack_intake import Intake, frames
from lstmjax.data.panel import BY_ROW, row_ranges
from lstmjax.data.series_ids import stored_label
from lstmjax.data.store import FORMAT_VERSION, LABELS_FILE, STORE_FILE, Store
from lstmjax.errors import ConfigError, DataError
from lstmjax.storage.files import replace_folder
from lstmjax.storage.growing_array import GrowingArray
from lstmjax.storage.lock import DirectoryLock


def pack(table: Any, store: Path | str, config: DataConfig | None = None, *, overwrite: bool = False) -> Store:
    """Packs a table into a store: ``data.store`` then trains from it, as from the table.

    Rows may come in any order, as in `lstmjax.data.build.panel_from_table`, and the same is refused and warned of.

    Args:
        table: a CSV or Parquet file, a folder of them (taken in the order of their names), a frame of pandas, polars
            or pyarrow, or an iterable of frames.
        store: where to; a new folder.
        config: the meaning of the columns, and how files are read. ``h`` matters with ``calendar`` or ``holidays``
            only: the rows to forecast are then packed too. Default: ``DataConfig()``.
        overwrite: whether to replace a store that is there.

    Returns:
        The store.

    Raises:
        DataError: the table cannot be used, or the store cannot be written.
        ConfigError: an option does not fit; or the folder exists.
    """
    store, config = Path(store), DataConfig() if config is None else config
    if config.futr_path is not None:
        raise ConfigError(
            f"data.futr_path is {config.futr_path!r}: the known future is packed as rows without targets at the end of "
            "the table: add it there"
        )
    try:
        with _new_folder(store, overwrite=overwrite) as folder:
            (folder / "records").mkdir()
            intake = Intake(config, folder / "records", _series_id(table))
            for source, frame, kind in frames(table, config):
                intake.add(source, frame, kind)
            _write(folder, intake, config)
            shutil.rmtree(folder / "records")
    except OSError as error:
        raise DataError(f"{store}: cannot be written ({error.strerror or error})") from None
    return Store.open(store)


def _series_id(table: Any) -> str:
    return Path(table).name.split(".")[0] if isinstance(table, (str, Path)) else "series"


@contextlib.contextmanager
def _new_folder(store: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder beside the store that takes its place when all is written, so that no one ever sees half a store."""
    if not store.name:
        raise ConfigError(f"the store is {str(store)!r}: name a new folder")
    beside = store.absolute().parent / f".{store.name}.packing"
    with DirectoryLock(beside):
        try:
            with replace_folder(store, new=beside / "new", old=beside / "old") as new:
                if store.exists() and not overwrite:
                    raise ConfigError(f"{store} exists already: name another folder, or replace it by --overwrite")
                if store.exists() and not (store / STORE_FILE).exists() and not _is_empty(store):
                    raise ConfigError(f"{store} is not a store, and is not replaced: name another folder")
                new.mkdir()
                yield new
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _write(folder: Path, intake: Intake, config: DataConfig) -> None:
    """Lays out the rows that were taken in, and writes the files of the store."""
    frequency = frequency_of(intake.tables(), config)
    check_calendar(config, frequency, intake.name)
    by_series: dict[str, list[np.ndarray]] = {"start": [], "lengths": [], "observed": [], "stat": []}
    gaps, empty, last = Gaps(), None, None
    with contextlib.ExitStack() as stack:
        writers: dict[str, GrowingArray] = {}
        for table in intake.tables():
            last, at = lay_out(table, frequency, config, intake.kind, intake.rows)
            cells = EmptyCells.of(last, table.rows, at, config)
            gaps, empty = gaps.joined(Gaps.of(last, table.rows, at)), cells if empty is None else empty.joined(cells)
            if config.calendar or config.holidays:
                last = last.reaching(last.observed + config.h)
            for name in BY_ROW:
                rows = getattr(last, name)
                if name not in writers:
                    writers[name] = stack.enter_context(GrowingArray(folder / f"{name}.npy", rows.shape[1]))
                writers[name].append(rows)
            for name, columns in by_series.items():
                columns.append(getattr(last, name))
    assert last is not None
    assert empty is not None
    joined = {name: np.concatenate(columns) for name, columns in by_series.items()}
    check_observed(bool(joined["observed"].any()), intake.name, config)
    gaps.report(config, intake.name)
    empty.report(config, intake.name)
    joined["offsets"] = row_ranges(joined.pop("lengths"))
    for name, array in joined.items():
        np.save(folder / f"{name}.npy", array)
    labels = [stored_label(label) for label in intake.labels]
    (folder / LABELS_FILE).write_text(json.dumps(labels))
    schema = dataclasses.replace(last.schema, categories=intake.categories)
    described: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "schema": dataclasses.asdict(schema),
        "form": dataclasses.asdict(last.form),
        "weight_col": config.weight_col,
        "h": config.h if config.calendar or config.holidays else None,
        "missing_steps": gaps.steps,
        "series": len(labels),
        "rows": int(joined["offsets"][-1]),
    }
    (folder / STORE_FILE).write_text(json.dumps(described))
    described["digest"] = panel_digest(Store.open(folder).data)
    (folder / STORE_FILE).write_text(json.dumps(described, indent=2) + "\n")
