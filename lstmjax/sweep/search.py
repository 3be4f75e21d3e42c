"""A whole sweep: from a space to trials in a database, their table, plots, and the winner as a run directory.

R/config.json, R/run.json   the options that trials share; command, versions, commit, devices, SHA-256 of the data
R/sweep.json                the space, and how it is searched
R/study.db                  the trials, for Optuna and its dashboard (unless another storage is named)
R/trials.csv                the trials as a table
R/best/                     the winner's run directory
R/plots/*.png               history, parallel coordinates, importance, learning curves
R/blocks/, R/workers/       checkpoints and weights of the blocks, and the workers that are alive
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lstmjax.config import RunConfig
from lstmjax.data.folds import Folds
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.models.user_network import NetworkMaker
from lstmjax.runs.outputs import outputs_written
from lstmjax.sweep.config import SweepConfig
from lstmjax.sweep.population.block import train_block
from lstmjax.sweep.population.halving import Halving
from lstmjax.sweep.population.trial import Outcome
from lstmjax.sweep.report.outputs import write_report, write_trials
from lstmjax.sweep.report.progress import SweepDisplay
from lstmjax.sweep.report.winner import BEST
from lstmjax.sweep.setup import set_up
from lstmjax.sweep.space.space import Space
from lstmjax.sweep.study.blocks import Block
from lstmjax.sweep.worker import work


@dataclasses.dataclass(frozen=True)
class SweepResult:
    """A finished sweep."""

    directory: Path
    trials: pd.DataFrame
    """See `lstmjax.sweep.report.table.trials_table`."""
    network: NetworkMaker | None = None
    """The network of your own that the trials have."""

    def best(self) -> Forecaster:
        """The winner.

        Raises:
            CheckpointError: no trial is complete.
        """
        return Forecaster.load(self.directory / BEST, network=self.network)


def run(
    space: Space | Mapping[str, Any] | Path | str,
    base: RunConfig,
    run_dir: Path | str,
    settings: SweepConfig | None = None,
    *,
    network: NetworkMaker | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = print,
) -> SweepResult:
    """Searches a space, or continues a search that was interrupted; any number of processes may do so at once.

    Options and data are validated before anything is written.

    Args:
        space: what is searched: a `Space`, a dict as in `Space.from_dict`, or the path of a TOML file.
        base: the options that trials share.
        run_dir: the sweep's directory; if it holds the same sweep, that is continued.
        settings: how it is searched. Default: `SweepConfig()`.
        network: a network of your own instead of that of ``base.model``: a class or function ``(spec: WindowSpec, *,
            rngs: nnx.Rngs)`` that makes an NNX module; called for every member. The space then has no options of
            ``model``. Its winner is loaded by ``Forecaster.load(run_dir / "best", network=network)``.
        should_stop: called after every chunk of steps; True interrupts the sweep.
        say: called with each line that says what happens.

    Returns:
        The trials; the winner is in the folder ``best``.

    Raises:
        ConfigError: the space, an option or the storage does not fit.
        DataError: the data cannot be used.
        CheckpointError: the directory holds something else, or cannot be written.
        Interrupted: ``should_stop`` returned True; the same call continues.
        NoWinnerError: no trial is complete; the column ``reason`` of trials.csv says why.
    """
    with set_up(space, base, run_dir, settings or SweepConfig(), network) as sweep, outputs_written(sweep.directory):
        asked = sweep.settings
        with SweepDisplay(sweep.plan.total, base.train.max_steps) as display:

            def train(block: Block, state: Path, should_stop: Callable[[], bool]) -> list[Outcome]:
                return train_block(
                    sweep.base,
                    sweep.panel,
                    sweep.space,
                    block.trials,
                    seeds=asked.seeds,
                    population=asked.population * asked.seeds * asked.folds,
                    folds=Folds(asked.folds, asked.fold_step),
                    halving=None if asked.halving is None else Halving(asked.halving, hyperband=asked.hyperband),
                    metric=asked.metric,
                    mapping=asked.mapping,
                    network=network,
                    state_dir=state,
                    should_stop=should_stop,
                    on_report=display.on_report,
                )

            def on_block() -> None:
                write_trials(sweep)
                display.on_trials(sweep.study.trials())

            on_block()
            work(sweep.study, sweep.directory, sweep.plan, train, should_stop=should_stop, on_block=on_block)
        return SweepResult(sweep.directory, write_report(sweep, say), network)
