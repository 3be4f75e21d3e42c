"""What a run leaves on disk: the names of its files and folders, and how they are deleted.

R/config.json             every option, with all that was inferred filled in
R/run.json                kind of run, command, versions, git commit, devices, SHA-256 of the data
R/metrics.jsonl           one line per validation check
R/metrics.json            metrics on the test rows, of the model and of the baselines
R/metrics_by_series.csv   the same by series; also metrics_by_target.csv and metrics_by_horizon.csv (the step ahead)
R/test_forecasts.csv.gz   every test window and step: all metrics can be recomputed from it
R/forecast.csv            beyond the last row; with outputs.format parquet both are Parquet files
R/plots/*.png             learning curve, forecasts; with intervals their calibration, error and width by step
R/checkpoints/            the latest states of training and the best: all that `Forecaster.load` and a resume need
R/start/                  the weights that a fine-tuned run began with
R/refit/                  with train.refit_all: the forecaster trained again on all rows
R/calibration/            errors of held-out windows, where intervals may need them
R/lock                    held by the process at work

The runs of several seeds (kind ``seeds``) have a folder each, and beside these:

R/seed-*/                 each seed's run
R/seeds.csv               one row per seed: its metrics on the test rows, its best step
R/metrics.json            mean and deviation (ddof = 1) over the seeds
R/checkpoints/            the states of all of them while they are trained
"""

import contextlib
import shutil
from datetime import UTC, datetime
from pathlib import Path

from lstmjax.forecaster.checkpoints import CHECKPOINTS, LOG_FILE, START
from lstmjax.forecaster.run_kind import RUN_FILE, seed_directories
from lstmjax.forecaster.saved import CONFIG_FILE, ERRORS, REFIT
from lstmjax.storage.lock import LOCK_FILE

METRICS_BY = ("series", "target", "horizon")
"""Of what there is a table of metrics."""

BACKTEST_BY = (*METRICS_BY, "cutoff")
"""Of what a backtest has a table of metrics."""

REFITS = "refits"
"""Folder, within a backtest's, of the training before each cutoff."""

_TABLES = (
    "test_forecasts.csv.gz",
    "backtest.csv.gz",
    *(f"metrics_by_{what}.csv" for what in BACKTEST_BY),
    "forecast.csv",
)

_PARQUET = ("test_forecasts.parquet", "backtest.parquet", "forecast.parquet")

_WRITTEN = (
    CONFIG_FILE,
    RUN_FILE,
    LOG_FILE,
    "metrics.json",
    *_TABLES,
    *_PARQUET,
    "seeds.csv",
    "plots/learning_curve.png",
    "plots/test_forecasts.png",
    "plots/forecast.png",
    "plots/calibration.png",
    "plots/by_horizon.png",
    "plots/error_by_horizon.png",
    "plots/error_by_cutoff.png",
    REFITS,
    CHECKPOINTS,
    START,
    REFIT,
    ERRORS,
)
"""What a run leaves in its folder, beside the folders of seeds; nothing else in it is ever deleted."""


def remove_run(path: Path, *more: str) -> None:
    """Deletes what a run of several seeds wrote; files of the user's are left.

    Args:
        path: its folder.
        more: what else was written into it.
    """
    remove_written(path, *more)
    for seed in seed_directories(path):
        remove_written(seed, LOCK_FILE)
        with contextlib.suppress(OSError):  # it holds files of the user's
            seed.rmdir()


def remove_written(path: Path, *more: str) -> None:
    """Deletes what a run wrote into its folder; a link is deleted, not what it leads to."""
    for entry in (path / name for name in (*_WRITTEN, *more)):
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it holds pictures of the user's, or is a link
        (path / "plots").rmdir()


def remove_unfinished(path: Path) -> None:
    """Deletes files that a killed process had not written to the end: they have other names until they are whole."""
    for name in (CONFIG_FILE, RUN_FILE, "metrics.json", *_TABLES, *_PARQUET):
        for unfinished in path.glob(f".{name}.*"):
            unfinished.unlink()
    for unfinished in path.glob("plots/.*.png.*"):
        unfinished.unlink()


def default_path() -> Path:
    """Where a run goes that is given no name: ``runs/`` and the time, to the second."""
    return Path("runs") / datetime.now(UTC).strftime("%Y-%m-%d_%H-%M-%S")
