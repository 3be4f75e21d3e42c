"""A whole sweep: from a space to trials in a database, their table, pictures, and the winner as a run directory.

R/config.json, R/run.json   the options that trials share; command, versions, commit, devices, SHA-256 of the data
R/sweep.json                the space, and how it is searched
R/study.db                  the trials, for Optuna and its dashboard (unless another storage is named)
R/trials.csv                the trials as a table
R/best/                     the winner's run directory
R/plots/*.png               history, parallel coordinates, importance, learning curves
R/blocks/, R/workers/       states and weights of the blocks, and who is at work on them
R/exchange/                 what workers ask a coordinator, and its answers
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lstmjax.config import RunConfig
from lstmjax.errors import Interrupted
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.sweep.config import SweepConfig
from lstmjax.sweep.population.block import train_block
from lstmjax.sweep.population.halving import Halving
from lstmjax.sweep.population.trial import Outcome
from lstmjax.sweep.report.progress import SweepDisplay
from lstmjax.sweep.report.report import TABLE_FILE, write_report, write_trials
from lstmjax.sweep.report.winner import BEST
from lstmjax.sweep.setup import Question, pose
from lstmjax.sweep.space.space import Space
from lstmjax.sweep.study.coordinator import AskedStudy, Coordinator
from lstmjax.sweep.study.study import Block, Study
from lstmjax.sweep.worker import GRACE, Train, work


class SweepResult(NamedTuple):
    """What a sweep came to."""

    directory: Path
    trials: pd.DataFrame
    """See `lstmjax.sweep.report.table.trials_table`."""

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
    with contextlib.closing(pose(space, base, run_dir, settings)) as question:
        study = AskedStudy(question.directory) if question.storage is None else question.study()
        with SweepDisplay(question.plan.total, question.base.train.max_steps) as display:
            on_block = _watcher(question, study, display)
            on_block()
            train = _trainer(question, display)
            work(study, question.directory, question.plan, train, should_stop=should_stop, on_block=on_block)
        if isinstance(study, Study):
            return SweepResult(question.directory, write_report(question, study, say))
    table = question.directory / TABLE_FILE  # as far as the coordinator, which writes the report, has come
    return SweepResult(question.directory, pd.read_csv(table) if table.exists() else pd.DataFrame())


def coordinate(
    space: Space | Mapping[str, Any] | Path | str,
    base: RunConfig,
    run_dir: Path | str,
    settings: SweepConfig,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = print,
) -> SweepResult:
    """Owns a search for workers on any host that see its directory, and trains nothing; arguments as in `run`.

    The workers are given ``SweepConfig.storage = "coordinator"``, and ask through files. Killed, the same call goes on.

    Raises:
        Interrupted: ``should_stop`` said so.
    """
    with contextlib.closing(pose(space, base, run_dir, settings)) as question:
        study = question.study(coordinated=True)
        with SweepDisplay(question.plan.total, question.base.train.max_steps) as display:
            on_block = _watcher(question, study, display)
            on_block()
            coordinator = Coordinator(study, question.directory, question.plan.ask, GRACE)
            if not coordinator.serve(question.plan.total, should_stop=should_stop, on_block=on_block):
                raise Interrupted("interrupted, the state is saved")
        return SweepResult(question.directory, write_report(question, study, say))


def _watcher(question: Question, study: Study | AskedStudy, display: SweepDisplay) -> Callable[[], None]:
    """What is done whenever a block was recorded: nothing by a worker whose trials another process keeps."""

    def on_block() -> None:
        if isinstance(study, Study):
            write_trials(question, study)
            display.on_trials(study.trials())

    return on_block


def _trainer(question: Question, display: SweepDisplay) -> Train:
    """What trains a block."""
    settings = question.settings
    halving = None if settings.halving is None else Halving(settings.halving, hyperband=settings.hyperband)

    def train(block: Block, state: Path, stop: Callable[[], bool]) -> Sequence[Outcome]:
        return train_block(
            question.base,
            question.panel,
            question.space,
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

    return train
