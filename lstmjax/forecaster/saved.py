"""A trained forecaster on disk: its config as JSON, checkpoints of what was selected, of a refit and of its errors."""

import shutil
from pathlib import Path

from lstmjax import parallel
from lstmjax.config import RunConfig
from lstmjax.errors import CheckpointError
from lstmjax.evaluation.calibration import Errors
from lstmjax.forecaster.checkpoints import CHECKPOINTS
from lstmjax.forecaster.fitted import Fitted
from lstmjax.forecaster.network import UserNetwork, check_network
from lstmjax.storage import checkpoint
from lstmjax.storage.files import replace_file

CONFIG_FILE = "config.json"

REFIT = "refit"
"""Folder, within a run's, of what was trained again on all rows; it has a config once it is whole."""


ERRORS = "calibration"
"""Folder, within a run's, of the held-out errors of the selected weights: a checkpoint for each member, by number."""


def read_config(directory: Path | str) -> RunConfig:
    """The options of a run.

    Raises:
        CheckpointError: no run is found.
        ConfigError: its config cannot be read.
    """
    path = Path(directory) / CONFIG_FILE
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        raise CheckpointError(f"{directory} is not a run directory: it has no readable {CONFIG_FILE}") from None
    return RunConfig.from_json(text, str(path))


def write_config(directory: Path | str, config: RunConfig) -> None:
    """Writes the options of a run, all at once.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    write_file(Path(directory) / CONFIG_FILE, config.to_json())


def write_file(path: Path, text: str) -> None:
    """Writes a file of a run, all at once.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    try:
        replace_file(path, text)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror})") from None


def save_fitted(fitted: Fitted, directory: Path | str, *, overwrite: bool) -> None:
    """Writes a trained forecaster without the state of its training; see `Forecaster.save`."""
    folder = Path(directory) / CHECKPOINTS
    with parallel.together():
        before = checkpoint.steps(folder)
        if before and not overwrite:
            raise CheckpointError(f"{directory} holds a trained forecaster: name another folder, or say overwrite=True")
        if not before and (Path(directory) / CONFIG_FILE).exists():
            read_config(directory)  # raises where it is not of lstmjax
    step = fitted.summary["steps"]
    checkpoint.save(folder, step, *fitted.to_arrays())
    if parallel.is_first_process():
        for other in set(before) - {step}:
            checkpoint.remove(folder, other)
        write_config(directory, fitted.config)
        if before:
            shutil.rmtree(Path(directory) / REFIT, ignore_errors=True)
    save_errors(fitted, directory)
    if fitted.refit is not None:
        refit = fitted.replace(selected=fitted.refit, refit=None, errors=None)
        save_fitted(refit, Path(directory) / REFIT, overwrite=True)


def save_errors(fitted: Fitted, directory: Path | str, member: int = 0) -> None:
    """Writes the held-out errors of a forecaster, or removes those of an earlier one.

    Args:
        fitted: the forecaster.
        directory: where it is.
        member: its number, where several were trained together.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    folder = Path(directory) / ERRORS
    if fitted.errors is not None:
        checkpoint.save(folder, member, fitted.errors._asdict(), {"best_step": fitted.summary["best_step"]})
    elif parallel.is_first_process() and checkpoint.steps(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _stored_errors(fitted: Fitted, directory: Path | str, member: int) -> Errors | None:
    """The held-out errors that belong to these weights; None where there are none, or those of other weights."""
    folder = Path(directory) / ERRORS
    if member not in checkpoint.steps(folder):
        return None
    stored = checkpoint.load_step(folder, member)
    return Errors(**stored.arrays) if stored.metadata["best_step"] == fitted.summary["best_step"] else None


def load_fitted(directory: Path | str, network: UserNetwork | None, member: int | None = None) -> Fitted:
    """A trained forecaster from a directory; see `Forecaster.load`."""
    if (Path(directory) / "sweep.json").exists():
        if not (Path(directory) / "best").exists():
            table = Path(directory) / "trials.csv"
            raise CheckpointError(f"{directory} holds a sweep without a winner: see the column reason in {table}")
        raise CheckpointError(f"{directory} holds a sweep: name its winner, {Path(directory) / 'best'}")
    stored = checkpoint.load(Path(directory) / CHECKPOINTS)
    seeds = stored.metadata.get("seeds", [])
    if member is None and len(seeds) > 1:
        first = Path(directory) / f"seed-{seeds[0]}"
        hint = f"name one of them, such as {first}" if first.exists() else "say which by member="
        raise CheckpointError(f"{directory} holds {len(seeds)} runs, of the seeds {', '.join(map(str, seeds))}: {hint}")
    config = RunConfig.from_json(stored.metadata["config"], f"{directory}")
    check_network(stored.metadata["network"], network, config, directory)
    fitted = Fitted.from_checkpoint(stored, network, member or 0)
    fitted = fitted.replace(errors=_stored_errors(fitted, directory, member or 0))
    refit = Path(directory) / REFIT
    if not (refit / CONFIG_FILE).exists():
        return fitted
    return fitted.replace(refit=load_fitted(refit, network).selected)
