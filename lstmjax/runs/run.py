"""A whole run: from a config to trained forecasters, their evaluation, forecasts and pictures on disk.

It is what ``lstmjax train`` does. A run is a population of one; with several seeds it is a population of as many, with
one run directory per seed. A new run and a resumed one take the same path.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lstmjax import parallel
from lstmjax.config import RunConfig
from lstmjax.data.host_panel import feed_of
from lstmjax.data.panel import Panel
from lstmjax.data.source import with_dataset_settings
from lstmjax.errors import ConfigError, Interrupted
from lstmjax.forecaster import Forecaster
from lstmjax.forecaster.checkpoints import LOG_FILE, Store, start_categories
from lstmjax.forecaster.finetune import in_trained_order, starting_weights
from lstmjax.forecaster.fit import train_members
from lstmjax.forecaster.fitted import Fitted, versions
from lstmjax.forecaster.network import UserNetwork
from lstmjax.forecaster.resume import trained_names
from lstmjax.forecaster.resumed_options import agreed_config
from lstmjax.forecaster.run_kind import Kind, check_kind, kind_of, seeds_of
from lstmjax.forecaster.saved import CONFIG_FILE, REFIT, read_config
from lstmjax.runs.decoration import heard
from lstmjax.runs.directory import RunDirectory
from lstmjax.runs.job import Job, make_job
from lstmjax.runs.outputs import Outputs, outputs_written, write_outputs
from lstmjax.runs.resumable import checkpoint_to_resume
from lstmjax.runs.seeds import write_seeds
from lstmjax.runs.signals import Signals
from lstmjax.runs.stop_at_signal import StopAtSignal
from lstmjax.runs.tracker import Tracker
from lstmjax.storage import checkpoint
from lstmjax.training import Callback, ProgressDisplay, Weights
from lstmjax.training.losses import OwnLoss


@dataclass(frozen=True)
class Run:
    """What a run came to."""

    directory: Path
    forecasters: list[Forecaster]
    """One per seed, with refit weights where the run has them."""
    panel: Panel
    """The data."""
    metrics: dict[str, Any]
    """What metrics.json holds."""
    table: pd.DataFrame | None = None
    """What seeds.csv holds, by seed; None for a run of one seed."""

    @property
    def forecaster(self) -> Forecaster:
        """That of the first seed."""
        return self.forecasters[0]


def train_run(
    config: RunConfig,
    directory: Path | str,
    *,
    seeds: int | None = None,
    network: UserNetwork | None = None,
    loss: OwnLoss | None = None,
    overwrite: bool = False,
    finetune_from: Path | None = None,
    callbacks: Sequence[Callback] = (),
    signals: Signals | None = None,
    say: Callable[[str], None] = print,
) -> Run:
    """Trains, evaluates, forecasts, and leaves all of it in a run directory (see `lstmjax.runs.files`).

    What is wrong with the options or the data is reported before anything is written.

    Args:
        config: the options.
        directory: where to.
        seeds: train from so many seeds, ``train.seed`` and those after it. Default: one, without a folder per seed.
        network: a network of your own, as `Forecaster` takes it.
        loss: a loss of your own, as `Forecaster` takes it.
        overwrite: whether to replace a run of the same kind that is there.
        finetune_from: a run whose weights to start with, instead of those that the seed draws.
        callbacks: called as training goes.
        signals: what ends the run early. Default: nothing.
        say: where to report, one line at a time.

    Returns:
        The run.

    Raises:
        ConfigError: an option does not fit.
        DataError: the data cannot be used.
        CheckpointError: the directory holds something already, is in use, or cannot be written.
        Interrupted: a signal came, and the state is saved.
    """
    if seeds is not None and seeds < 1:
        raise ConfigError(f"seeds is {seeds}: expected at least 1")
    say = heard(say)
    with parallel.together():
        RunDirectory.check_free(directory, "run" if seeds is None else "seeds", overwrite=overwrite)
        config = dataclasses.replace(config, data=with_dataset_settings(config.data))
        if finetune_from is None:
            job, start = make_job(config, seeds, network, loss), None
        else:
            trained = Forecaster.load(finetune_from, network=network, loss=loss).fitted
            categories = trained.forecasting.scaling.categories
            job = make_job(in_trained_order(config, trained), seeds, network, loss, categories=categories)
            start = starting_weights(trained, network, job.config, job.prepared)
    parallel.require_equal(lambda: _identity(job, None))
    say(job.sizes())
    with _new_directories(directory, job, overwrite=overwrite, finetuned_from=finetune_from) as (run, members):
        return _carry_out(run, members, job, None, start, callbacks, signals or Signals(), say)


def resume_run(
    directory: Path | str,
    config: RunConfig | None = None,
    *,
    seeds: int | None = None,
    network: UserNetwork | None = None,
    loss: OwnLoss | None = None,
    into: Path | str | None = None,
    callbacks: Sequence[Callback] = (),
    signals: Signals | None = None,
    say: Callable[[str], None] = print,
) -> Run:
    """Continues a run from its newest checkpoint, or from the beginning where it has none; then as `train_run`.

    The files it leaves have the same bytes as if the run had not been interrupted, but for the times in them.

    Args:
        directory: the run's.
        config: the options. Default: the run's own; see `lstmjax.forecaster.resume` for those that may differ.
        seeds: how many, for the runs of several seeds. Default: as many as there are.
        network: the network of your own that it was begun with.
        loss: the loss of your own that it was begun with.
        into: a new directory, to leave the run's own as it is; for a run of one seed.
        callbacks: as in `train_run`.
        signals: as in `train_run`.
        say: as in `train_run`.

    Returns:
        The run.

    Raises:
        CheckpointError: no run is found, it is in use, its checkpoints do not verify, or the data are others.
        ConfigError: other options than the run's.
        Interrupted: a signal came again.
    """
    say = heard(say)
    with parallel.together():
        kind: Kind = "run" if seeds is None and kind_of(directory) != "seeds" else "seeds"
        check_kind(directory, kind)
        stored = read_config(directory)
        config = stored if config is None else agreed_config(stored, config, directory)
        if kind == "seeds" and seeds is None:
            seeds = len(seeds_of(directory))
        job = make_job(config, seeds, network, loss, categories=start_categories(directory))
        if into is not None:
            checkpoint_to_resume(directory, stored, config, job)  # before anything is copied
    with contextlib.ExitStack() as stack:
        with parallel.together():
            run = stack.enter_context(RunDirectory.reopen(directory, kind, into=into))
        with parallel.together():  # all have read before the first process writes
            found = checkpoint_to_resume(run.path, stored, config, job)
        parallel.require_equal(lambda: _identity(job, found))
        step = 0 if found is None else found.step
        say(f"{job.sizes()}\nresuming after step {step} of {config.train.max_steps}")
        with outputs_written(run.path):
            run.record_resume(config, step, len(job.seeds))
        with _old_directories(run, job, step) as members:
            return _carry_out(run, members, job, found, None, callbacks, signals or Signals(), say)


@contextlib.contextmanager
def _new_directories(
    directory: Path | str, job: Job, *, overwrite: bool, finetuned_from: Path | None
) -> Iterator[tuple[RunDirectory, list[RunDirectory]]]:
    """The run's directory, and one per member: the same for a run of one seed."""
    names = trained_names(job.config, job.network, job.loss) | {"feed": feed_of(job.prepared.arrays)}
    create: dict[str, Any] = {"data_digest": job.data_sha256, "overwrite": overwrite, "names": names}
    with contextlib.ExitStack() as stack:
        told: dict[str, Any] = {} if job.alone else {"kind": "seeds", "seeds": job.seeds}
        with parallel.together():
            run = stack.enter_context(
                RunDirectory.create(directory, job.config, finetuned_from=finetuned_from, **told, **create)
            )
            members = [run]
            if not job.alone:
                create |= {"nested": True}
                each = ((_seed_path(run, seed), _seed_config(job, seed)) for seed in job.seeds)
                members = [stack.enter_context(RunDirectory.create(*one, **create)) for one in each]
        yield run, members


@contextlib.contextmanager
def _old_directories(run: RunDirectory, job: Job, step: int) -> Iterator[list[RunDirectory]]:
    """The directories of the members of a run that is resumed; those that a kill left unmade are made."""
    with contextlib.ExitStack() as stack:
        members = [run] if job.alone else []
        if not run.writes and not job.alone:
            members = [RunDirectory(_seed_path(run, seed)) for seed in job.seeds]
        for seed in () if job.alone or not run.writes else job.seeds:
            path, own = _seed_path(run, seed), _seed_config(job, seed)
            if (path / CONFIG_FILE).exists():
                members.append(stack.enter_context(RunDirectory.reopen(path)))
                members[-1].record_resume(own, step)
            else:
                made = RunDirectory.create(path, own, data_digest=job.data_sha256, nested=True)
                members.append(stack.enter_context(made))
        yield members


def _seed_path(run: RunDirectory, seed: int) -> Path:
    return run.path / f"seed-{seed}"


def _seed_config(job: Job, seed: int) -> RunConfig:
    return job.config.replace({"train.seed": seed})


def _carry_out(
    run: RunDirectory,
    members: Sequence[RunDirectory],
    job: Job,
    stored: checkpoint.Checkpoint | None,
    start: Weights | None,
    callbacks: Sequence[Callback],
    signals: Signals,
    say: Callable[[str], None],
) -> Run:
    """Trains all members, and writes the outputs of each."""
    store = Store(run.path, job.data_sha256, stored, tuple(member.path / LOG_FILE for member in members))
    if run.writes and store.step < job.config.train.max_steps:
        for member in members:  # a refit of an earlier end is not that of this one
            (member.path / REFIT / CONFIG_FILE).unlink(missing_ok=True)
    with ProgressDisplay() if run.writes else contextlib.nullcontext() as display:
        called = [StopAtSignal(signals), *([display, *map(Tracker, callbacks)] if display else [])]
        asked: dict[str, Any] = {"start": start, "store": store, "callbacks": called, "loss": job.loss}
        fitted = train_members(job.config, job.network, job.prepared, job.seeds, **asked)
    signals.adopt(parallel.agree(signals.number))
    if signals.requested():
        raise Interrupted(f"interrupted after step {max(member.summary['steps'] for member in fitted)}")
    signals.disarm()  # all is saved
    with outputs_written(run.path):
        return _write_all(run, members, job, fitted, say)


def _identity(job: Job, stored: checkpoint.Checkpoint | None) -> dict[str, str]:
    """What must be the same in all processes of a run, for else they would wait for each other or learn other things.

    Each reads the data and the checkpoint itself; where these lie may differ.
    """
    options = job.config.replace({"data.path": None, "data.store": None, "data.futr_path": None}).to_json()
    saved = hashlib.sha256(b"" if stored is None else str(stored.step).encode())
    for name, array in sorted(stored.arrays.items()) if stored is not None else ():
        saved.update(name.encode() + array.tobytes())
    return {
        "versions": " ".join(f"{name} {version}" for name, version in versions().items()),
        "options": hashlib.sha256(options.encode()).hexdigest(),
        "data": job.data_sha256,
        "checkpoint": saved.hexdigest(),
    }


def _write_all(
    run: RunDirectory, members: Sequence[RunDirectory], job: Job, fitted: Sequence[Fitted], say: Callable[[str], None]
) -> Run:
    """Writes the outputs of each member, and of several seeds what they are together."""
    outputs: dict[int, Outputs] = {}
    for seed, member, trained in zip(job.seeds, members, fitted, strict=True):
        forecaster = Forecaster.of(trained, job.network, job.loss)
        asked: dict[str, Any] = {
            "trained_here": job.alone,
            "began": run.path,
            "say": say if job.alone else _only_remarks(say, seed),
        }
        outputs[seed] = write_outputs(member, forecaster, job.prepared, job.data_sha256, **asked)
    forecasters = [written.forecaster for written in outputs.values()]
    metrics, table = outputs[job.seeds[0]].metrics, None
    if not job.alone:
        metrics, table = write_seeds(run, job, outputs, members, say)
    say(f"run directory: {run.path}")
    return Run(run.path, forecasters, job.prepared.panel, metrics, table)


def _only_remarks(say: Callable[[str], None], seed: int) -> Callable[[str], None]:
    """Of a seed's run only single lines are shown: the table is shown for all seeds at the end."""
    return lambda line: say(f"seed {seed}: {line}") if "\n" not in line else None
