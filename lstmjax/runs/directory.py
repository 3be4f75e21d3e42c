"""What a run leaves on disk, written and read in one place.

R/config.json             every option, with all that was inferred filled in
R/run.json                command, versions, git commit, devices, SHA-256 of the data
R/metrics.jsonl           one line a validation check
R/metrics.json            metrics on the test rows, of the model and of the baselines
R/test_forecasts.csv.gz   every test window and step: all metrics can be recomputed from it
R/forecast.csv            beyond the last row
R/plots/*.png             learning curve, forecasts
R/checkpoints/            the latest states of training and the best: all that `Forecaster.load` and a resume need
R/start/                  the weights that a fine-tuned run began with
R/refit/                  with train.refit_all: the forecaster trained again on all rows
R/lock                    held by the process at work
"""

import gzip
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import jax
import pandas as pd
from matplotlib.figure import Figure

from lstmjax import parallel
from lstmjax.evaluation import plots
from lstmjax.storage.metrics_log import CheckLog
from lstmjax.config import RunConfig
from lstmjax.errors import CheckpointError
from lstmjax.forecaster.fitted import versions
from lstmjax.storage.lock import LOCK_FILE, DirectoryLock
from lstmjax.forecaster.resume import CONFIG_FILE, read_config, write_config
from lstmjax.forecaster.fit import LOG_FILE
from lstmjax.training import Check
from lstmjax.storage.files import replace_file

RUN_FILE = "run.json"


class RunDirectory:
    """One run's folder. One that `create` or `reopen` gave is held by this process until `close`.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._lock: DirectoryLock | None = None
        self._log = CheckLog(self.path / LOG_FILE)

    def close(self) -> None:
        """Lets go of the folder."""
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def check_free(path: Path | str, *, overwrite: bool) -> None:
        """Refuses a folder that holds something already.

        Raises:
            CheckpointError: there is a file of that name, or a folder that is not empty and may not, or should not, be
                replaced.
        """
        path = Path(path)
        if not path.exists() or (path.is_dir() and all(entry.name == LOCK_FILE for entry in path.iterdir())):
            return
        if not path.is_dir():
            raise CheckpointError(f"{path} is a file: name another --run-dir")
        if not (path / CONFIG_FILE).exists():
            raise CheckpointError(f"{path} exists and is not a run directory: name another --run-dir")
        if not overwrite:
            raise CheckpointError(f"{path} holds a run already: name another --run-dir, or replace it with --overwrite")

    @classmethod
    def create(
        cls,
        path: Path | str,
        config: RunConfig,
        *,
        data_digest: str,
        overwrite: bool = False,
        finetuned_from: Path | None = None,
    ) -> Self:
        """Makes the folder and says in it what is run.

        Args:
            path: where.
            config: the options, resolved.
            data_digest: SHA-256 of the data.
            overwrite: whether to replace a run that is there.
            finetuned_from: the run whose weights this one starts with.

        Raises:
            CheckpointError: the folder holds something already, is in use, or cannot be written.
        """
        cls.check_free(path, overwrite=overwrite)
        run = cls._held(path)
        try:
            cls.check_free(path, overwrite=overwrite)  # again, now that nobody else can write
            for entry in run.path.iterdir():
                if entry.name != LOCK_FILE:
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            run.describe(config, data_digest=data_digest, finetuned_from=finetuned_from)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot write the run ({error.strerror})") from None
        return run

    @classmethod
    def reopen(cls, path: Path | str, *, into: Path | str | None = None) -> Self:
        """An existing run, to go on with.

        Args:
            path: where it is.
            into: a new folder to go on in, from a copy. Default: the run's own.

        Raises:
            CheckpointError: there is no run, or it is in use, or the new folder holds something already.
        """
        read_config(path)  # before a lock file is made in somebody's folder
        run = cls._held(path)
        if into is not None and Path(into).resolve() != run.path.resolve():
            with run:
                cls.check_free(into, overwrite=False)
                copy = cls._held(into)
                try:
                    shutil.copytree(path, into, dirs_exist_ok=True, ignore=shutil.ignore_patterns(LOCK_FILE))
                except (OSError, shutil.Error) as error:
                    raise CheckpointError(f"{into}: cannot copy the run ({error})") from None
            run = copy
        for name in (CONFIG_FILE, RUN_FILE, "metrics.json", "test_forecasts.csv.gz", "forecast.csv"):
            for unfinished in run.path.glob(f".{name}.*"):
                unfinished.unlink()
        return run

    @classmethod
    def _held(cls, path: Path | str) -> Self:
        run = cls(path)
        run._lock = DirectoryLock(path)
        return run

    def describe(self, config: RunConfig, *, data_digest: str, finetuned_from: Path | None = None) -> None:
        """Writes run.json, then config.json: what has that can be resumed. Arguments as in `create`."""
        origin = {} if finetuned_from is None else {"finetuned_from": str(finetuned_from)}
        self._write(RUN_FILE, as_json(_description(config, data_digest) | origin))
        write_config(self.path, config)

    @property
    def description(self) -> dict[str, Any]:
        """What run.json says; empty where it cannot be read."""
        try:
            return json.loads((self.path / RUN_FILE).read_text())
        except (OSError, ValueError):
            return {}

    def go_on(self, config: RunConfig, step: int) -> None:
        """Notes that the run goes on, and forgets the checks of later steps, which come again.

        Args:
            config: the options it goes on with.
            step: updates done.
        """
        self._log.rewind(step)
        description, now = self.description, _description(config, "")
        del now["data_sha256"]  # it is the same
        resumed = [*description.get("resumed", []), {"step": step, **now}]
        self._write(RUN_FILE, as_json(description | {"resumed": resumed}))
        write_config(self.path, config)

    def append_check(self, check: Check, member: int = 0) -> None:
        """Adds a validation check of one member to metrics.jsonl."""
        self._log.append(check.metrics(member))

    def checks(self) -> list[dict[str, Any]]:
        """The validation checks so far."""
        return self._log.read()

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Writes metrics.json; what is not a finite number becomes null."""
        self._write("metrics.json", as_json(metrics))

    def write_test_forecasts(self, table: pd.DataFrame) -> None:
        """Writes test_forecasts.csv.gz; equal tables give equal bytes."""

        def write(file: IO[bytes]) -> None:
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=4, mtime=0) as compressed:
                table.to_csv(compressed, index=False)

        replace_file(self.path / "test_forecasts.csv.gz", write)

    def write_forecast(self, table: pd.DataFrame) -> None:
        """Writes forecast.csv."""
        self._write("forecast.csv", table.to_csv(index=False))

    def write_plot(self, name: str, figure: Figure) -> Path:
        """Writes a picture into plots/."""
        folder = self.path / "plots"
        folder.mkdir(exist_ok=True)
        plots.save(figure, folder / f"{name}.png")
        return folder / f"{name}.png"

    def _write(self, name: str, text: str) -> None:
        replace_file(self.path / name, text)


def default_path() -> Path:
    """Where a run goes that is given no name: ``runs/`` and the time, to the second."""
    return Path("runs") / datetime.now(UTC).strftime("%Y-%m-%d_%H-%M-%S")


def write_table(table: pd.DataFrame, path: Path | str) -> None:
    """Writes a table as CSV where the user wants it.

    Raises:
        CheckpointError: the file cannot be written.
    """
    try:
        table.to_csv(path, index=False)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot write the table ({error.strerror or error})") from None


def _description(config: RunConfig, data_digest: str) -> dict[str, Any]:
    shards = config.train.batch_shards or 1
    if shards > jax.device_count():  # a run that goes on where there are fewer devices
        shards = parallel.resolve_batch_shards(config.train.batch_size, shards)
    return {
        "command": sys.argv,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "versions": versions(),
        "git_commit": _git_commit(),
        "platform": jax.default_backend(),
        "devices": [str(device) for device in jax.devices()],
        "mapping": parallel.default_mapping(1, parallel.make_mesh(1, shards)),
        "batch_shards": shards,
        "data_sha256": data_digest,
    }


def _git_commit() -> str | None:
    """The commit of the source tree this package runs from; None where it was installed from elsewhere."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # else it lies in somebody else's tree
        return git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None


def as_json(value: Any) -> str:
    """Indented JSON text; what is not a finite number, which JSON does not know, becomes null."""
    return json.dumps(_finite(value), indent=2) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
