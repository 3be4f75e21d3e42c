"""A whole sweep: from a space to trials in a database, their table, pictures, and the winner as a run directory.

R/config.json, R/run.json   the options that trials share; command, versions, commit, devices, SHA-256 of the data
R/sweep.json                the space, and how it is searched
R/study.db                  the trials, for Optuna and its dashboard (unless another storage is named)
R/trials.csv                the trials as a table
R/best/                     the winner's run directory
R/plots/*.png               history, parallel coordinates, importance, learning curves
R/blocks/, R/workers/       states and weights of the blocks, and who is at work on them
"""

import dataclasses
import fcntl
import json
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lstmjax.config import RunConfig
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import prepare
from lstmjax.data.source import load_source, with_dataset_settings
from lstmjax.errors import CheckpointError
from lstmjax.forecaster import Forecaster
from lstmjax.run import absolute_paths
from lstmjax.run_directory import RunDirectory
from lstmjax.sweep import pictures
from lstmjax.sweep.ask import asker, distributions, encode, number_of_trials
from lstmjax.sweep.block import train_block
from lstmjax.sweep.display import SweepDisplay
from lstmjax.sweep.files import replace_file
from lstmjax.sweep.halving import Halving
from lstmjax.sweep.objective import check_metric
from lstmjax.sweep.settings import SweepConfig
from lstmjax.sweep.space import Space
from lstmjax.sweep.storage import Storage
from lstmjax.sweep.study import Block, Study
from lstmjax.sweep.table import best_trial, trials_table
from lstmjax.sweep.trial import Outcome
from lstmjax.sweep.winner import BEST, write_winner
from lstmjax.sweep.worker import Plan, block_directory, work

SWEEP_FILE = "sweep.json"
TABLE_FILE = "trials.csv"

_HARMLESS = ("data.path", "data.futr_path", "train.chunk_steps", "train.refit_all")
"""Options whose change changes no trial."""


class SweepResult(NamedTuple):
    """What a sweep came to."""

    directory: Path
    trials: pd.DataFrame
    """See `lstmjax.sweep.table.trials_table`."""

    def best(self) -> Forecaster:
        """The winner.

        Raises:
            CheckpointError: no trial was complete.
        """
        return Forecaster.load(self.directory / BEST)


def run(
    space: Space | Mapping[str, Any] | Path | str,
    base: RunConfig,
    run_dir: Path | str,
    settings: SweepConfig | None = None,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = print,
) -> SweepResult:
    """Searches a space, or goes on with a search that was interrupted; any number of processes may do so at once.

    Whatever is wrong with the options or the data shows before anything is written.

    Args:
        space: what is searched: a `Space`, a dict as in `Space.from_dict`, or the path of a TOML file.
        base: the options that trials share.
        run_dir: where to; if the same search is there, it is gone on with.
        settings: how it is searched.
        should_stop: asked after every chunk of steps.
        say: where to tell how it goes, a line at a time.

    Returns:
        The trials; the winner is in the folder ``best``.

    Raises:
        ConfigError: the space, an option or the storage does not fit.
        DataError: the data cannot be used.
        CheckpointError: the directory holds something else, or cannot be written.
        Interrupted: ``should_stop`` said so; the same call goes on.
    """
    settings = SweepConfig() if settings is None else settings
    space, source_name = _space(space)
    space.check(base, source_name)
    check_metric(settings.metric)
    total = number_of_trials(settings, space)
    base = dataclasses.replace(base, data=absolute_paths(with_dataset_settings(base.data)))
    source = load_source(base.data)
    panel = source.panel(base.data)
    prepare(panel, base.data, with_test=True)
    digest, directory = source.digest(), Path(run_dir)
    description = _describe(space, base, settings, digest)
    halving = None if settings.halving is None else Halving(settings.halving, hyperband=settings.hyperband)
    server = None if settings.storage is None else Storage(settings.storage)
    identity = _make_directory(directory, base, digest, description)
    storage = server or Storage(f"sqlite:///{directory.resolve() / 'study.db'}")
    told = description | {"run directory": identity}
    study = Study(storage, settings.study, told, distributions(space), encode)

    with SweepDisplay(total, base.train.max_steps) as display:

        def train(block: Block, state: Path, stop: Callable[[], bool]) -> list[Outcome]:
            return train_block(
                base,
                panel,
                space,
                block.trials,
                seeds=settings.seeds,
                population=settings.population * settings.seeds,
                halving=halving,
                metric=settings.metric,
                mapping=settings.mapping,
                state_dir=state,
                should_stop=stop,
                on_report=display.on_report,
            )

        def on_block() -> None:
            _write_table(study, directory, space, settings.seeds)
            display.on_trials(study.trials())

        display.on_trials(study.trials())
        plan = Plan(total, settings.population, asker(space, settings.sampler, base.train.seed, settings.population))
        work(study, directory, plan, train, should_stop=should_stop, on_block=on_block)
    # Of several workers that end now, one writes the report, and the others find it written.
    with storage.exclusive():
        trials = _report(study, directory, space, settings, panel, digest, say)
    return SweepResult(directory, trials)


def _space(space: Space | Mapping[str, Any] | Path | str) -> tuple[Space, str]:
    if isinstance(space, Space):
        return space, "space"
    if isinstance(space, Mapping):
        return Space.from_dict(space), "space"
    return Space.from_toml(space), str(space)


def _describe(space: Space, base: RunConfig, settings: SweepConfig, data_digest: str) -> dict[str, Any]:
    """What makes a search the one it is."""
    searched = ("sampler", "population", "halving", "hyperband", "seeds", "metric")
    neutral = dict.fromkeys(_HARMLESS) | {"train.refit_all": False}
    # A path and a dataset exclude each other, and neither says what the data are: their digest does.
    options = json.loads(base.replace(neutral | {"data.dataset": None}).to_json())
    return {
        "space": json.loads(space.to_json()),
        "options": options,
        "data": data_digest,
        **{name: getattr(settings, name) for name in searched},
    }


def _make_directory(directory: Path, base: RunConfig, data_digest: str, description: Mapping[str, Any]) -> str:
    """Makes the sweep's folder, unless it is there.

    Returns:
        What tells it from every other.
    """
    lock = ".sweep.lock"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / lock).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            path = directory / SWEEP_FILE
            if path.exists():
                return json.loads(path.read_text())["id"]
            if {entry.name for entry in directory.iterdir()} - {lock}:
                (directory / lock).unlink()
                raise CheckpointError(f"{directory} holds something that is not a sweep: name another --run-dir")
            identity = uuid.uuid4().hex
            RunDirectory(directory).describe(base, data_digest=data_digest)
            replace_file(path, json.dumps({"id": identity, **description}, indent=2) + "\n")
            return identity
    except OSError as error:
        raise CheckpointError(f"{directory}: cannot be written ({error.strerror}): name another --run-dir") from None


def _write_table(study: Study, directory: Path, space: Space, seeds: int) -> pd.DataFrame:
    names = [name for name, _ in space.parameters]
    table = trials_table(study.trials(), names, seeds)
    replace_file(directory / TABLE_FILE, table.to_csv(index=False))
    return table


def _report(
    study: Study,
    directory: Path,
    space: Space,
    settings: SweepConfig,
    panel: Panel,
    data_digest: str,
    say: Callable[[str], None],
) -> pd.DataFrame:
    """The table, the pictures and the winner's run directory."""
    table = _write_table(study, directory, space, settings.seeds)
    trials = study.trials()
    for name, figure in pictures.draw(trials, settings.metric).items():
        RunDirectory(directory).write_plot(name, figure)
    best = best_trial(trials)
    if best is None:
        say("no trial is complete, so there is no winner: see the column reason in trials.csv")
        return table
    shown = "  ".join(f"{name}={value}" for name, value in best.params.items())
    say(f"best {settings.metric}: {best.value:.6g} (trial {best.number}: {shown})")
    write_winner(directory, best, panel, data_digest=data_digest, say=say)
    winning = block_directory(directory, best.user_attrs["block"])
    for folder in (directory / "blocks").glob("*"):
        if folder != winning:  # the others' weights are of no more use
            shutil.rmtree(folder / "best", ignore_errors=True)
    say(f"run directory: {directory}")
    return table
