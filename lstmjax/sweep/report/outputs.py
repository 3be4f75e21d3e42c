"""What a sweep leaves for people: the table of its trials, plots, and the winner's run directory."""

import shutil
from collections.abc import Callable

import pandas as pd

from lstmjax.errors import LstmjaxError
from lstmjax.runs.decoration import decoration, heard
from lstmjax.runs.directory import RunDirectory
from lstmjax.storage.files import replace_file
from lstmjax.storage.lock import file_lock
from lstmjax.sweep.report import plots
from lstmjax.sweep.report.table import best_trial, trials_table
from lstmjax.sweep.report.winner import write_winner
from lstmjax.sweep.setup import LOCK_FILE, Sweep
from lstmjax.sweep.study.block_directory import BlockDirectory

TABLE_FILE = "trials.csv"


class NoWinnerError(LstmjaxError):
    """All trials of a sweep are finished and none is complete: they failed, or were pruned before the others failed."""

    exit_status = 1
    """Of a command that ends with it: the command was right, and the training failed."""


def write_trials(sweep: Sweep) -> pd.DataFrame:
    """Writes trials.csv, and returns what it holds."""
    names = [name for name, _ in sweep.space.parameters]
    table = trials_table(sweep.study.trials(), names, sweep.settings.seeds, sweep.settings.folds)
    replace_file(sweep.directory / TABLE_FILE, table.to_csv(index=False))
    return table


def write_report(sweep: Sweep, say: Callable[[str], None]) -> pd.DataFrame:
    """Writes all outputs; of several workers that end at the same time one writes, and the others find it written.

    Args:
        sweep: its trials are all finished.
        say: called with each line that says what happens.

    Returns:
        The table of trials.

    Raises:
        NoWinnerError: no trial is complete; the table and the plots are written.
    """
    directory, metric, say = sweep.directory, sweep.settings.metric, heard(say)
    with file_lock(directory / LOCK_FILE):
        table, trials = write_trials(sweep), sweep.study.trials()
        with decoration("a picture of the sweep"):
            for name, figure in plots.draw(trials, metric).items():
                RunDirectory(directory).write_plot(name, figure)
        best = best_trial(trials)
        if best is None:
            raise NoWinnerError(
                f"no trial is complete, so there is no winner: see the column reason in {directory / TABLE_FILE}"
            )
        shown = "  ".join(f"{name}={value}" for name, value in best.params.items())
        say(f"best {metric}: {best.value:.6g} (trial {best.number}: {shown})")
        write_winner(sweep, best, say)
        winning = BlockDirectory(directory, best.user_attrs["block"]).best
        for weights in (directory / "blocks").glob("*/best"):
            if weights != winning:  # only the winner's weights are of use now
                shutil.rmtree(weights, ignore_errors=True)
        say(f"run directory: {directory}")
        return table
