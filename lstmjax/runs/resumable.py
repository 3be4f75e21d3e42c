"""Which checkpoint a run is resumed from, and which runs cannot be resumed."""

from pathlib import Path

from lstmjax.config import RunConfig
from lstmjax.errors import CheckpointError
from lstmjax.forecaster import resume
from lstmjax.forecaster.checkpoints import START
from lstmjax.forecaster.run_kind import read_description, seeds_of
from lstmjax.runs.job import Job
from lstmjax.storage import checkpoint


def checkpoint_to_resume(
    directory: Path | str, stored: RunConfig, config: RunConfig, job: Job
) -> checkpoint.Checkpoint | None:
    """The checkpoint that a run is resumed from. It changes nothing on disk.

    Args:
        directory: the run's.
        stored: its options.
        config: those it is resumed with.
        job: what is trained.

    Returns:
        None where the run starts from its beginning.

    Raises:
        CheckpointError: the data, the seeds, the network or the loss are others; no checkpoint verifies; or the
            weights that a fine-tuned run began with are missing.
    """
    found = resume.checkpoint_to_resume(
        directory,
        stored,
        config,
        data_sha256=job.data_sha256,
        source=job.source,
        seeds=job.seeds,
        network=job.network,
        loss=job.loss,
    )
    if found is None and not job.alone:
        resume.check_seeds(seeds_of(directory), job.seeds)
    _check_origin(Path(directory), read_description(Path(directory)).get("finetuned_from"), found, config)
    return found


def _check_origin(directory: Path, origin: str | None, found: checkpoint.Checkpoint | None, config: RunConfig) -> None:
    """Refuses to resume a fine-tuned run where the weights it began with are needed and missing."""
    if origin is None:
        return
    if found is None and not checkpoint.steps(directory / START):
        raise CheckpointError(
            f"{directory} was killed before the weights it starts with were saved: begin again with "
            f"--overwrite --finetune-from {origin}"
        )
    if config.train.refit_all and not checkpoint.steps(directory / START):
        raise CheckpointError(
            f"{directory} was fine-tuned by an lstmjax that did not keep the weights it began with, with which "
            "train.refit_all begins again: leave that out with --train.no-refit-all, or begin again with "
            f"--overwrite --finetune-from {origin}"
        )
