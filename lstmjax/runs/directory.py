"""A run directory, held by one process: made, opened again, and written; `lstmjax.runs.files` says what is in it."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pandas as pd
from matplotlib.figure import Figure

from lstmjax import parallel
from lstmjax.config import RunConfig, TableFormat
from lstmjax.errors import CheckpointError
from lstmjax.evaluation import plots
from lstmjax.evaluation.windows import Evaluation
from lstmjax.forecaster.checkpoints import LOG_FILE
from lstmjax.forecaster.run_kind import KINDS, RUN_FILE, Kind, check_kind, kind_of, read_description
from lstmjax.forecaster.saved import write_config
from lstmjax.runs.csv_text import csv_text
from lstmjax.runs.description import as_json, describe_process
from lstmjax.runs.files import remove_run, remove_unfinished, remove_written
from lstmjax.runs.table_file import replace_table, texts_of
from lstmjax.storage.files import replace_file
from lstmjax.storage.lock import LOCK_FILE, DirectoryLock
from lstmjax.storage.metrics_log import MetricsLog


class RunDirectory:
    """One run's folder. One from `create` or `reopen` is held by this process until `close`.

    Of several processes that train one model the first alone holds it and writes; in the others nothing is changed on
    disk.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.writes = parallel.is_first_process()
        self._lock: DirectoryLock | None = None

    def close(self) -> None:
        """Frees the folder for others."""
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @staticmethod
    def check_free(path: Path | str, kind: Kind, *, overwrite: bool) -> None:
        """Refuses a folder that holds something already.

        Raises:
            CheckpointError: there is a file of that name, or a folder that holds something else than a run of this
                kind, or such a run, and it may not be replaced.
        """
        path = Path(path)
        if not path.exists() or (path.is_dir() and all(entry.name == LOCK_FILE for entry in path.iterdir())):
            return
        if not path.is_dir():
            raise CheckpointError(f"{path} is a file: name another --run-dir")
        found = kind_of(path)
        if found is None:
            raise CheckpointError(f"{path} exists and is not a run directory: name another --run-dir")
        if found != kind:
            raise CheckpointError(
                f"{path} holds {KINDS[found]}, which is not replaced by {KINDS[kind]}: name another --run-dir"
            )
        if not overwrite:
            raise CheckpointError(f"{path} holds a run already: name another --run-dir, or replace it with --overwrite")

    @classmethod
    def create(
        cls,
        path: Path | str,
        config: RunConfig,
        *,
        kind: Kind = "run",
        seeds: Sequence[int] = (),
        data_digest: str,
        overwrite: bool = False,
        nested: bool = False,
        finetuned_from: Path | None = None,
        names: Mapping[str, Any] | None = None,
    ) -> Self:
        """Makes the folder and says in it what is run.

        Args:
            path: where.
            config: the options, resolved.
            kind: what kind of run it is.
            seeds: of the members, where there are several.
            data_digest: SHA-256 of the data.
            overwrite: whether to replace a run of the same kind that is there; files that no run writes are left.
            nested: whether the folder is that of a seed, in a run's that is held and was checked.
            finetuned_from: the run whose weights this one starts with.
            names: of the network and of a loss of the user's own, from `lstmjax.forecaster.resume.trained_names`; and
                what else run.json says.

        Raises:
            CheckpointError: the folder holds something already, is in use, or cannot be written.
        """
        if not parallel.is_first_process():
            return cls(path)
        if not nested:
            cls.check_free(path, kind, overwrite=overwrite)
        run = cls._held(path)
        try:
            if not nested:
                cls.check_free(path, kind, overwrite=overwrite)  # again, now that nobody else can write
            remove_run(run.path) if kind == "seeds" else remove_written(run.path)
            told: dict[str, Any] = {"data_digest": data_digest, "finetuned_from": finetuned_from, "names": names}
            run.describe(config, kind=kind, seeds=seeds, **told)
        except OSError as error:
            run.close()
            raise CheckpointError(f"{path}: cannot write the run ({error.strerror})") from None
        return run

    @classmethod
    def reopen(cls, path: Path | str, kind: Kind = "run", *, into: Path | str | None = None) -> Self:
        """An existing run, to be resumed.

        Args:
            path: where it is.
            kind: what kind of run it must be.
            into: a new folder to continue in, from a copy. Default: the run's own.

        Raises:
            CheckpointError: no run of this kind is found, or it is in use, or the new folder holds something already.
        """
        check_kind(path, kind)  # before a lock file is made in a folder of somebody else
        if not parallel.is_first_process():
            return cls(path if into is None else into)
        run = cls._held(path)
        if into is not None and Path(into).resolve() != run.path.resolve():
            with run:
                cls.check_free(into, kind, overwrite=False)
                copy = cls._held(into)
                try:
                    shutil.copytree(path, into, dirs_exist_ok=True, ignore=shutil.ignore_patterns(LOCK_FILE))
                except (OSError, shutil.Error) as error:
                    raise CheckpointError(f"{into}: cannot copy the run ({error})") from None
            run = copy
        remove_unfinished(run.path)
        return run

    @classmethod
    def _held(cls, path: Path | str) -> Self:
        run = cls(path)
        run._lock = DirectoryLock(path)
        return run

    def describe(
        self,
        config: RunConfig,
        *,
        kind: Kind,
        data_digest: str,
        seeds: Sequence[int] = (),
        finetuned_from: Path | None = None,
        names: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes run.json, then config.json: a folder that has it can be resumed. Arguments as in `create`."""
        described: dict[str, Any] = {"kind": kind, **({"seeds": list(seeds)} if seeds else {})}
        described |= {**describe_process(config, len(seeds) or 1), "data_sha256": data_digest, **(names or {})}
        if finetuned_from is not None:
            described["finetuned_from"] = str(finetuned_from)
        self._write(RUN_FILE, as_json(described))
        write_config(self.path, config)

    @property
    def description(self) -> dict[str, Any]:
        """What run.json says; empty where it cannot be read."""
        return read_description(self.path)

    def record_resume(self, config: RunConfig, step: int, members: int = 1) -> None:
        """Notes that the run is resumed.

        Args:
            config: the options it is resumed with.
            step: updates done.
            members: trained together.
        """
        if not self.writes:
            return
        description = self.description
        resumed = [*description.get("resumed", []), {"step": step, **describe_process(config, members)}]
        self._write(RUN_FILE, as_json({"kind": kind_of(self.path) or "run", **description, "resumed": resumed}))
        write_config(self.path, config)

    def checks(self) -> list[dict[str, Any]]:
        """The validation checks so far, from metrics.jsonl."""
        return MetricsLog(self.path / LOG_FILE).read()

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Writes metrics.json; what is not a finite number becomes null."""
        self._write("metrics.json", as_json(metrics))

    def write_test_forecasts(self, evaluation: Evaluation, form: TableFormat) -> None:
        """Writes test_forecasts.csv.gz, or test_forecasts.parquet; equal tables give equal bytes."""
        self._write_table(evaluation.tables(), "test_forecasts.csv.gz", form, evaluation.texts)

    def write_backtest(self, evaluation: Evaluation, form: TableFormat) -> None:
        """Writes backtest.csv.gz, or backtest.parquet; equal tables give equal bytes."""
        self._write_table(evaluation.tables(), "backtest.csv.gz", form, evaluation.texts)

    def write_metrics_by(self, what: str, table: pd.DataFrame) -> None:
        """Writes a table of metrics, one of `BACKTEST_BY`."""
        self._write(f"metrics_by_{what}.csv", "".join(csv_text([table], quoted=False)))

    def write_forecast(self, table: pd.DataFrame, form: TableFormat) -> None:
        """Writes forecast.csv, or forecast.parquet."""
        self._write_table([table], "forecast.csv", form, texts_of(table))

    def write_plot(self, name: str, figure: Figure) -> Path:
        """Writes a picture into plots/."""
        folder = self.path / "plots"
        folder.mkdir(exist_ok=True)
        plots.save(figure, folder / f"{name}.png")
        return folder / f"{name}.png"

    def remove_plot(self, name: str) -> None:
        """Deletes a picture, where there is one."""
        (self.path / "plots" / f"{name}.png").unlink(missing_ok=True)

    def _write(self, name: str, text: str) -> None:
        if self.writes:
            replace_file(self.path / name, text)

    def _write_table(self, tables: Iterable[pd.DataFrame], name: str, form: TableFormat, texts: Iterable[Any]) -> None:
        if self.writes:
            replace_table(tables, self.path, name, form, texts=texts)
