"""What a sweep leaves for people: the table of its trials, plots, and the winner's run directory."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from lstmjax.data.panel import Panel
from lstmjax.errors import LstmjaxError
from lstmjax.models.user_network import NetworkMaker
from lstmjax.runs.directory import RunDirectory
from lstmjax.storage.files import replace_file
from lstmjax.sweep.config import SweepConfig
from lstmjax.sweep.report import plots
from lstmjax.sweep.report.table import best_trial, trials_table
from lstmjax.sweep.report.winner import write_winner
from lstmjax.sweep.study.block_directory import BlockDirectory
from lstmjax.sweep.study.study import Study

TABLE_FILE = "trials.csv"


class NoWinnerError(LstmjaxError):
    """All trials of a sweep are finished and none is complete: they failed, or were pruned before the others failed."""

    exit_status = 1
    """Of a command that ends with it: the command was right, and the training failed."""


def write_trials(directory: Path, study: Study, seeds: int) -> pd.DataFrame:
    """Writes trials.csv, and returns what it holds.

    Args:
        directory: the sweep's directory.
        study: its trials.
        seeds: members per trial.
    """
    table = trials_table(study.trials(), [name for name, _ in study.space.parameters], seeds)
    replace_file(directory / TABLE_FILE, table.to_csv(index=False))
    return table


def write_report(
    directory: Path,
    study: Study,
    settings: SweepConfig,
    panel: Panel,
    data_digest: str,
    *,
    network: NetworkMaker | None,
    say: Callable[[str], None],
) -> pd.DataFrame:
    """Writes all outputs; of several workers that end at the same time one writes, and the others find it written.

    Args:
        directory: the sweep's directory.
        study: its trials, all finished.
        settings: how they were searched.
        panel: the data.
        data_digest: SHA-256 of the data.
        network: a network of the user's own, if the trials have one.
        say: called with each line that says what happens.

    Returns:
        The table of trials.

    Raises:
        NoWinnerError: no trial is complete; the table and the plots are written.
    """
    with study.storage.exclusive():
        table, trials = write_trials(directory, study, settings.seeds), study.trials()
        for name, figure in plots.draw(trials, settings.metric).items():
            RunDirectory(directory).write_plot(name, figure)
        best = best_trial(trials)
        if best is None:
            raise NoWinnerError(
                f"no trial is complete, so there is no winner: see the column reason in {directory / TABLE_FILE}"
            )
        shown = "  ".join(f"{name}={value}" for name, value in best.params.items())
        say(f"best {settings.metric}: {best.value:.6g} (trial {best.number}: {shown})")
        write_winner(directory, best, panel, data_digest=data_digest, network=network, say=say)
        winning = BlockDirectory(directory, best.user_attrs["block"])
        for best_weights in (directory / "blocks").glob("*/best"):
            if best_weights != winning.best:  # only the winner's weights are of use now
                shutil.rmtree(best_weights, ignore_errors=True)
        say(f"run directory: {directory}")
        return table
