"""The checkpoints of a run: what they hold, for one member or a population, and the callbacks that write them."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lstmjax import parallel
from lstmjax.config import OptimizerConfig, TrainConfig
from lstmjax.data.categories import Categories
from lstmjax.errors import CheckpointError
from lstmjax.storage import checkpoint
from lstmjax.storage.checkpoint_saver import Saver
from lstmjax.storage.metrics_log import MetricsLog
from lstmjax.storage.named_arrays import flatten, unflatten
from lstmjax.training import (
    Callback,
    Check,
    Hyperparameters,
    Network,
    TrainResult,
    TrainState,
    Weights,
    functional,
)
from lstmjax.training.state import first_state

CHECKPOINTS = "checkpoints"
"""The folder of checkpoints, within a run's."""

LOG_FILE = "metrics.jsonl"
"""The log of a run with one member, one line per validation check."""

PREFIX = "state"
"""What the names of a state's arrays begin with."""

START = "start"
"""The folder, within a run's, of the weights it was given to begin with. They outlive the checkpoint of step 0, which
goes with the next ones: a training on all rows begins with them too."""

_RENAMED = {
    f"{PREFIX}/plateau_scale": f"{PREFIX}/plateau/scale",
    f"{PREFIX}/plateau_best": f"{PREFIX}/plateau/best",
    f"{PREFIX}/plateau_count": f"{PREFIX}/plateau/bad_checks",
}
"""Arrays of a state that have another name since format 2."""

_RESUMED_SINCE = 2
"""Training continues from checkpoints of this format and later ones."""

_TRAINED_FIELDS = ("params", "model_state", "opt_state", "best_params", "best_model_state")


def state_arrays(state: TrainState) -> dict[str, Any]:
    """A state's arrays by name; every one has a leading axis of members."""
    return flatten(PREFIX, state)


def is_trained(name: str) -> bool:
    """Whether an array of this name must be finite. The best loss, say, is infinite before the first check."""
    return name.startswith(tuple(f"{PREFIX}/{field}" for field in _TRAINED_FIELDS))


def weights_template(network: Network) -> Weights:
    """The shapes of a network's weights; the network is as `training.train` takes it."""
    _, first = functional(network)
    return first if isinstance(first, Weights) else jax.eval_shape(first, jax.random.key(0))


def state_template(network: Network, optimizer: OptimizerConfig, config: TrainConfig, members: int) -> TrainState:
    """The shapes of a state.

    Args:
        network: as `training.train` takes it.
        optimizer: of it, the name of the optimiser.
        config: not used but for its seed.
        members: how many.
    """
    hyper = Hyperparameters.from_config(optimizer, config)

    def first(weights: Weights) -> TrainState:
        return first_state(weights, optimizer.name, optimizer.schedule, hyper)

    shapes = jax.eval_shape(first, weights_template(network))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((members, *leaf.shape), leaf.dtype), shapes)


def stored_state(
    stored: checkpoint.Checkpoint, network: Network, optimizer: OptimizerConfig, config: TrainConfig
) -> TrainState:
    """The state in a checkpoint, as NumPy arrays: training continues from it on any number of devices.

    Args:
        stored: a checkpoint of a training run.
        network: as it was trained.
        optimizer: as it was trained.
        config: as it was trained.

    Raises:
        CheckpointError: the checkpoint holds the state of another network, or none.
    """
    name = f"{PREFIX}/step"
    members = len(stored.arrays[name]) if name in stored.arrays else 1
    template = state_template(network, optimizer, config, members)
    arrays = stored.arrays
    if stored.format_version == 1:
        arrays = arrays | {_RENAMED[name]: array for name, array in arrays.items() if name in _RENAMED}
    return unflatten(PREFIX, template, arrays)


def check_resumable(stored: checkpoint.Checkpoint, directory: Path | str) -> None:
    """Refuses to continue the training of a version that trained otherwise.

    Args:
        stored: a checkpoint of the run.
        directory: the run's, for the message.

    Raises:
        CheckpointError: the checkpoint's format is an earlier one.
    """
    if stored.format_version < _RESUMED_SINCE:
        seeds = stored.metadata.get("seeds", [])
        source = Path(directory) / f"seed-{seeds[0]}" if len(seeds) > 1 else directory
        raise CheckpointError(
            f"{directory} was begun by an earlier lstmjax, which drew batches in another order and lowered the "
            "learning rate at validation checks under every schedule: it still forecasts, but cannot be resumed; "
            f"start a new run from its weights: lstmjax train --finetune-from {source}"
        )


def save_start(directory: Path, start: Weights, categories: Categories) -> None:
    """Keeps the weights that a run was given to begin with.

    Args:
        directory: the run's.
        start: the weights.
        categories: of the covariates of text, in the order in which the weights know them.

    Raises:
        CheckpointError: they cannot be written.
    """
    checkpoint.save(directory / START, 0, flatten("weights", start), {"categories": dict(categories)})


def start_categories(directory: Path | str) -> Categories | None:
    """The categories of text covariates that a fine-tuned run has from the run it began with; None for other runs."""
    start, states = (Path(directory) / name for name in (START, CHECKPOINTS))
    if not checkpoint.steps(start):
        return None
    metadata = checkpoint.load(states if checkpoint.steps(states) else start).metadata
    return metadata.get("scaling", metadata).get("categories")


def stored_start(directory: Path, network: Network) -> Weights | None:
    """The weights that a run was given to begin with; None where none are kept, as it drew its own.

    Args:
        directory: the run's.
        network: as it was trained.

    Raises:
        CheckpointError: they do not verify.
    """
    if not checkpoint.steps(directory / START):
        return None
    return unflatten("weights", weights_template(network), checkpoint.load(directory / START).arrays)


def training_summary(result: TrainResult, member: int, *, seconds: float) -> dict[str, Any]:
    """How training went so far, for one member.

    Args:
        result: what training left.
        member: which.
        seconds: of training, over all processes.
    """
    return {
        "steps": result.steps(member),
        "best_step": result.best_step(member),
        "seconds": round(seconds, 3),
        "parameters": result.parameters,
        "failure": result.failure(member),
    }


@dataclass(frozen=True)
class Store:
    """Where a run keeps its checkpoints and logs, and where it continues from."""

    directory: Path
    """The run's folder; its lock is held by this process."""
    data_sha256: str
    """Digest of the data, see `panel_digest`."""
    stored: checkpoint.Checkpoint | None = None
    """The checkpoint to continue from. None: the run begins."""
    logs: tuple[Path, ...] = ()
    """The log of each member, one line per validation check."""

    @property
    def seconds(self) -> float:
        """Of training, before this process."""
        return 0.0 if self.stored is None else float(self.stored.metadata["seconds"])

    @property
    def step(self) -> int:
        """Updates done before this process; -1: the run begins."""
        return -1 if self.stored is None else self.stored.step


class MetricsLogs(Callback):
    """Writes one line per validation check into each member's log."""

    def __init__(self, store: Store) -> None:
        self._seconds = store.seconds
        self._logs = [MetricsLog(path) for path in store.logs]
        for log in self._logs:
            log.rewind(store.step)

    def on_check(self, check: Check) -> None:
        """Adds the line of each member."""
        for member, log in enumerate(self._logs):
            log.append(check.metrics(member) | {"seconds": round(self._seconds + check.seconds, 3)})


class SaveCheckpoints(Callback):
    """Saves the state of training at validation checks and at the end; to be closed.

    Of several processes each has one, and the first decides when all save.

    Args:
        store: where.
        arrays: what else is saved, by name.
        metadata: what is saved beside the arrays, JSON-able.
        every_seconds: at checks that come sooner after the last save, nothing is saved: from the older state a resume
            comes to the same bytes.
    """

    def __init__(self, store: Store, arrays: dict[str, Any], metadata: dict[str, Any], every_seconds: float) -> None:
        self.saver = Saver(store.directory / CHECKPOINTS, since=store.step, must_be_finite=is_trained)
        self._arrays, self._metadata, self._store = arrays, metadata, store
        self._every_seconds, self._saved_at = every_seconds, time.monotonic()
        self._last = store.step
        self._losses: dict[int, float | None] = {}

    def on_check(self, check: Check) -> None:
        """Hands the state over to be written, if it is time."""
        known = check.val_loss[np.isfinite(check.val_loss)]
        self._losses = {check.step: float(known.min()) if len(known) else None}
        due = time.monotonic() - self._saved_at >= self._every_seconds
        if parallel.from_first(due):
            self._save(check.step, check)

    def on_end(self, result: TrainResult) -> None:
        """Returns when the last state is on disk.

        Raises:
            CheckpointError: it cannot be written.
        """
        step = int(result.state.step.max())
        if step == self._store.step:  # nothing was left to do
            return
        if self._last != step:
            self._save(step, result)
        self.saver.wait()
        if parallel.from_first(step not in checkpoint.steps(self.saver.directory)):
            # It failed, which was warned of; perhaps there is room again. If not, this says so.
            checkpoint.save(self.saver.directory, step, *self._contents(result), self._losses.get(step))

    def close(self) -> None:
        """Ends the thread that writes."""
        self.saver.close()

    def _save(self, step: int, reached: Check | TrainResult) -> None:
        self.saver.save(step, *self._contents(reached), loss=self._losses.get(step))
        if parallel.process_count() > 1:  # what is saved crosses the devices, and so may no step of training meanwhile
            self.saver.wait()
        self._last, self._saved_at = step, time.monotonic()

    def _contents(self, reached: Check | TrainResult) -> tuple[dict[str, Any], dict[str, Any]]:
        seconds = round(self._store.seconds + reached.seconds, 3)
        return self._arrays | state_arrays(reached.state), self._metadata | {"seconds": seconds}
