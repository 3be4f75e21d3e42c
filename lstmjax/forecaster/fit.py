"""Training on prepared data, with checkpoints as it goes: afresh, from given weights, or from a checkpoint on."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from flax import nnx

from lstmjax import models
from lstmjax.config import RunConfig
from lstmjax.data.prepare import Prepared
from lstmjax.errors import CheckpointError, ConfigError, Interrupted
from lstmjax.forecaster import checkpoint as snapshot
from lstmjax.forecaster.fitted import Fitted
from lstmjax.models.user_network import NetworkMaker, OwnBuilder, own_name
from lstmjax.storage import checkpoint
from lstmjax.storage.background import Saver
from lstmjax.storage.metrics_log import CheckLog
from lstmjax.training import (
    Check,
    Network,
    Status,
    TrainingData,
    TrainResult,
    TrainState,
    Weights,
    functional,
    resolve_batch,
    train,
    widest,
)
from lstmjax.window import WindowSpec

CHECKPOINTS = "checkpoints"
"""The folder of checkpoints, within a run's."""

LOG_FILE = "metrics.jsonl"
"""One line a validation check, of a run with one member."""


class Watcher(NamedTuple):
    """Who is told how training goes, and asked whether it should."""

    on_check: Callable[[Check], None] = lambda check: None
    """Called after every validation check, before its state is saved."""
    on_chunk: Callable[[Status], None] = lambda status: None
    """Called after every chunk of steps."""
    should_stop: Callable[[], bool] = lambda: False
    """Asked after every chunk of steps."""


class Keeping(NamedTuple):
    """Where a run leaves its checkpoints, and from which it goes on."""

    directory: Path
    """The run's folder; its lock is held by this process."""
    stored: checkpoint.Checkpoint | None = None
    """What to go on from. None: the run begins."""


def train_members(
    config: RunConfig,
    network: nnx.Module | NetworkMaker | None,
    prepared: Prepared,
    seeds: Sequence[int],
    *,
    until: int | None = None,
    start: Weights | None = None,
    keeping: Keeping | None = None,
    watcher: Watcher = Watcher(),  # noqa: B008  # immutable
) -> list[Fitted]:
    """Trains one member a seed, as one population; a single run is a population of one.

    Args:
        config: all options.
        network: a network of the user's own; None for that of ``config.model``.
        prepared: what to train on.
        seeds: one a member.
        until: stop at this step, short of ``train.max_steps``; the schedule goes as if training went on.
        start: weights to begin with, instead of those that the seeds draw.
        keeping: where to save, and what to go on from. Default: nothing is saved.
        watcher: who is told.

    Returns:
        What training left, by member.

    Raises:
        Interrupted: it was told to stop, and its state is saved (only with ``keeping``).
        CheckpointError: the last state cannot be saved.
        DataError: there is no window to train on.
        ConfigError: the shards asked for do not divide the batch.
    """
    made = network_for(network, config, prepared.spec)
    if start is not None:
        check_start(start, made)
    source = made if start is None else functional(made)[0].merge(start)
    data = TrainingData(prepared.arrays, prepared.train, prepared.validation, prepared.spec)
    frame = Fitted.of(resolved_config(config, prepared, network, len(seeds)), network_name(network, config), prepared)

    def run(state: TrainState | None, until: int | None, on_check: Callable[[Check], None]) -> TrainResult:
        return train(
            source,
            data,
            config.optimizer,
            config.train,
            seeds=seeds,
            state=state,
            until=until,
            on_check=on_check,
            on_chunk=watcher.on_chunk,
            should_stop=watcher.should_stop,
        )

    if keeping is None:
        result = run(None, until, watcher.on_check)
        seconds = result.seconds
    else:
        state = None
        if keeping.stored is not None:
            check_network(keeping.stored, network, config, keeping.directory)
            state = snapshot.stored_state(keeping.stored, made, config.optimizer, config.train)
        with _Keeper(keeping, frame, seeds, snapshot.panel_digest(prepared.panel)) as keeper:
            if start is not None and state is None:
                # Whoever resumes the run before its first check must not draw weights from the seed.
                snapshot.save_start(keeping.directory, start)
                first = run(None, 0, watcher.on_check)
                state = first.state
                keeper.save_last(first)
            result = run(state, until, keeper.after(watcher.on_check))
            seconds = keeper.save_last(result)
        if result.interrupted:
            raise Interrupted(f"interrupted after step {_step(result)}")
    return [
        frame._replace(
            config=frame.config.replace({"train.seed": seed}),
            weights=result.weights(member),
            summary=snapshot.summary(result, member, seconds=seconds),
        )
        for member, seed in enumerate(seeds)
    ]


def resolved_config(
    config: RunConfig, prepared: Prepared, network: nnx.Module | NetworkMaker | None = None, members: int = 1
) -> RunConfig:
    """The options with all that was inferred filled in: frequency, season, splits, and the parts of a batch.

    Args:
        config: as the user gave it.
        prepared: what is trained on.
        network: a network of the user's own; None for that of ``config.model``.
        members: members trained together.

    Raises:
        ConfigError: the shards asked for do not divide the batch, or the schedule waits for what is never validated.
    """
    if config.optimizer.schedule == "plateau" and not len(prepared.validation.series):
        raise ConfigError(
            "optimizer.schedule is 'plateau', which needs validation windows, and there are none: give rows to "
            "data.val_size (at least data.h), or choose another schedule"
        )
    _, first = functional(network_for(network, config, prepared.spec))
    windows = max(1, len(prepared.train.series))
    _, shards = resolve_batch(config.train, windows, members, widest=widest(first))
    return dataclasses.replace(
        config, data=prepared.config, train=dataclasses.replace(config.train, batch_shards=shards)
    )


def network_for(network: nnx.Module | NetworkMaker | None, config: RunConfig, spec: WindowSpec) -> Network:
    """What `training.train` draws networks from; equal for equal arguments, so that programs serve again."""
    if network is None:
        return models.Builder(spec, config.model)
    return network if isinstance(network, nnx.Module) else OwnBuilder(network, spec)


def network_name(network: nnx.Module | NetworkMaker | None, config: RunConfig) -> str:
    """What a checkpoint calls the network."""
    return config.model.name if network is None else own_name(network)


def check_start(start: Weights, network: Network) -> None:
    """Refuses to start a network with the weights of another.

    Raises:
        ConfigError: names an array that does not fit.
    """
    theirs, ours = (
        {name: leaf.shape for group in weights for name, leaf in group.items()}
        for weights in (start, snapshot.weights_template(network))
    )
    for name in sorted(theirs.keys() | ours.keys()):
        if theirs.get(name) != ours.get(name):
            raise ConfigError(
                f"the trained network's {name} has shape {theirs.get(name)}, the new one's has {ours.get(name)}: leave "
                "data.h, data.target_cols, the covariates and model.* as they were"
            )


class _Keeper:
    """Saves the states of one training run."""

    def __init__(self, keeping: Keeping, frame: Fitted, seeds: Sequence[int], data_digest: str) -> None:
        stored = keeping.stored
        self.saver = Saver(
            keeping.directory / CHECKPOINTS,
            since=-1 if stored is None else stored.step,
            must_be_finite=snapshot.is_trained,
        )
        self._seconds_before = 0.0 if stored is None else float(stored.metadata["seconds"])
        self._log = CheckLog(keeping.directory / LOG_FILE) if len(seeds) == 1 else None
        if self._log is not None:
            self._log.rewind(-1 if stored is None else stored.step)
        self._began_at = self._last = None if stored is None else stored.step
        self._arrays, self._metadata = frame.to_arrays(weights=False)
        self._metadata |= {"seeds": list(seeds), "data_sha256": data_digest}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.saver.close()

    def after(self, on_check: Callable[[Check], None]) -> Callable[[Check], None]:
        """A line in the log, ``on_check``, and then a save: what is saved is in the log."""

        def told_and_saved(check: Check) -> None:
            if self._log is not None:
                seconds = round(self._seconds_before + check.seconds, 3)
                self._log.append(check.metrics() | {"seconds": seconds})
            on_check(check)
            known = check.val_loss[np.isfinite(check.val_loss)]
            loss = float(known.min()) if len(known) else None
            self.saver.save(check.step, *self._contents(check.state, check.seconds), loss=loss)
            self._last = check.step

        return told_and_saved

    def save_last(self, result: TrainResult) -> float:
        """Sees to it that the state with which training ended is on disk.

        Returns:
            The seconds of training, over all processes.

        Raises:
            CheckpointError: it cannot be written.
        """
        step = _step(result)
        if self._began_at == step:  # nothing was left to do
            return self._seconds_before
        if self._last != step:
            self.saver.save(step, *self._contents(result.state, result.seconds))
            self._last = step
        self.saver.wait()
        if step not in checkpoint.steps(self.saver.directory):
            # It failed, which has been told; perhaps there is room again. If not, this says so.
            arrays, metadata = self._contents(result.state, result.seconds)
            checkpoint.save(self.saver.directory, step, arrays, metadata)
        return self._seconds_before + result.seconds

    def _contents(self, state: TrainState, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
        arrays = self._arrays | snapshot.state_arrays(state)
        return arrays, self._metadata | {"seconds": round(self._seconds_before + seconds, 3)}


def _step(result: TrainResult) -> int:
    """Updates done by those members that did most."""
    return int(result.state.step.max())


def check_network(
    stored: checkpoint.Checkpoint, network: nnx.Module | NetworkMaker | None, config: RunConfig, source: Path | str
) -> None:
    """Refuses to put the weights of one network into another.

    Raises:
        CheckpointError: naming what was trained.
    """
    theirs, ours = stored.metadata["network"], network_name(network, config)
    if theirs != ours:
        hint = "pass it as network=" if network is None else f"not with {ours}"
        raise CheckpointError(f"{source} was trained with the network {theirs}: {hint}")


def check_members(stored: checkpoint.Checkpoint, seeds: Sequence[int]) -> None:
    """Refuses to go on with other members than those that are stored.

    Raises:
        CheckpointError: naming both.
    """
    theirs = stored.metadata.get("seeds")
    if theirs is None:
        raise CheckpointError("a saved forecaster has no training to resume: finetune its weights (--finetune-from)")
    if theirs != list(seeds):
        raise CheckpointError(f"the run's seeds are {theirs}, not {list(seeds)}: resume it with the same")
