"""What a run leaves on disk, written and read in one place.

R/config.json             every option, with all that was inferred filled in
R/run.json                command, versions, git commit, devices, SHA-256 of the data
R/metrics.jsonl           one line a validation check
R/metrics.json            metrics on the test rows, of the model and of the baselines
R/test_forecasts.csv.gz   every test window and step: all metrics can be recomputed from it
R/forecast.csv            beyond the last row
R/plots/*.png             learning curve, forecasts
R/checkpoints/            all that `Forecaster.load` needs
"""

import gzip
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Self

import jax
import pandas as pd
from matplotlib.figure import Figure

from lstmjax import plots
from lstmjax.config import RunConfig
from lstmjax.errors import CheckpointError
from lstmjax.fitted import versions
from lstmjax.forecaster import CONFIG_FILE
from lstmjax.training import Check


class RunDirectory:
    """One run's folder.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @staticmethod
    def check_free(path: Path | str, *, overwrite: bool) -> None:
        """Refuses a folder that holds something already.

        Raises:
            CheckpointError: there is a file of that name, or a folder that is not empty and may not, or should not, be
                replaced.
        """
        path = Path(path)
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return
        if not path.is_dir():
            raise CheckpointError(f"{path} is a file: name another --run-dir")
        if not (path / CONFIG_FILE).exists():
            raise CheckpointError(f"{path} exists and is not a run directory: name another --run-dir")
        if not overwrite:
            raise CheckpointError(f"{path} holds a run already: name another --run-dir, or replace it with --overwrite")

    @classmethod
    def create(cls, path: Path | str, config: RunConfig, *, data_digest: str, overwrite: bool = False) -> Self:
        """Makes the folder and says in it what is run.

        Args:
            path: where.
            config: the options, resolved.
            data_digest: SHA-256 of the data.
            overwrite: whether to replace a run that is there.

        Raises:
            CheckpointError: the folder holds something already, or cannot be written.
        """
        cls.check_free(path, overwrite=overwrite)
        run = cls(path)
        try:
            if overwrite and run.path.exists():
                shutil.rmtree(run.path)
            run.path.mkdir(parents=True, exist_ok=True)
            run.describe(config, data_digest=data_digest)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot write the run ({error.strerror})") from None
        return run

    def describe(self, config: RunConfig, *, data_digest: str) -> None:
        """Writes config.json and run.json; arguments as in `create`."""
        self.write_config(config)
        self._write("run.json", _json(_description(data_digest)))

    def write_config(self, config: RunConfig) -> None:
        """Writes config.json."""
        self._write(CONFIG_FILE, config.to_json())

    def append_check(self, check: Check, member: int = 0) -> None:
        """Adds a validation check of one member to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(check.metrics(member)) + "\n")

    def checks(self) -> list[dict[str, Any]]:
        """The validation checks so far."""
        path = self.path / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Writes metrics.json; what is not a finite number becomes null."""
        self._write("metrics.json", _json(metrics))

    def read_metrics(self) -> dict[str, Any]:
        """What `write_metrics` wrote.

        Raises:
            CheckpointError: it is not there: the run did not end.
        """
        path = self.path / "metrics.json"
        if not path.exists():
            raise CheckpointError(f"{path}: no such file: the run did not end, or this is not a run directory")
        return json.loads(path.read_text())

    def write_test_forecasts(self, table: pd.DataFrame) -> None:
        """Writes test_forecasts.csv.gz; equal tables give equal bytes."""

        def write(file: IO[bytes]) -> None:
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=4, mtime=0) as compressed:
                table.to_csv(compressed, index=False)

        self._replace("test_forecasts.csv.gz", write)

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
        self._replace(name, lambda file: file.write(text.encode()))

    def _replace(self, name: str, write: Callable[[IO[bytes]], Any]) -> None:
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=self.path)
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
            os.chmod(temporary, 0o644)
            os.replace(temporary, self.path / name)
        except BaseException:
            os.unlink(temporary)
            raise


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


def _description(data_digest: str) -> dict[str, Any]:
    return {
        "command": sys.argv,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "versions": versions(),
        "git_commit": _git_commit(),
        "platform": jax.default_backend(),
        "devices": [str(device) for device in jax.devices()],
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


def _json(value: Any) -> str:
    return json.dumps(_finite(value), indent=2) + "\n"


def _finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
