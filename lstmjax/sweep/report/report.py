"""What a sweep leaves for people: the table of its trials, pictures, and the winner's run directory."""

import shutil
from collections.abc import Callable

import pandas as pd

from lstmjax.runs.directory import RunDirectory
from lstmjax.storage.files import replace_file
from lstmjax.sweep.report import plots as pictures
from lstmjax.sweep.report.table import best_trial, trials_table
from lstmjax.sweep.report.winner import write_winner
from lstmjax.sweep.setup import Question
from lstmjax.sweep.study.study import Study
from lstmjax.sweep.worker import block_directory

TABLE_FILE = "trials.csv"


def write_trials(question: Question, study: Study) -> pd.DataFrame:
    """Writes trials.csv, and returns what it holds."""
    names = [name for name, _ in question.space.parameters]
    table = trials_table(study.trials(), names, question.settings.seeds)
    replace_file(question.directory / TABLE_FILE, table.to_csv(index=False))
    return table


def write_report(question: Question, study: Study, say: Callable[[str], None]) -> pd.DataFrame:
    """Writes all of it; of several workers that end at the same time one does, and the others find it written.

    Args:
        question: what was searched.
        study: its trials, all finished.
        say: where to tell how it goes, a line at a time.

    Returns:
        The table of trials.
    """
    with study.storage.exclusive():
        return _write(question, study, say)


def _write(question: Question, study: Study, say: Callable[[str], None]) -> pd.DataFrame:
    directory, metric = question.directory, question.settings.metric
    table, trials = write_trials(question, study), study.trials()
    for name, figure in pictures.draw(trials, metric).items():
        RunDirectory(directory).write_plot(name, figure)
    best = best_trial(trials)
    if best is None:
        say("no trial is complete, so there is no winner: see the column reason in trials.csv")
        return table
    shown = "  ".join(f"{name}={value}" for name, value in best.params.items())
    say(f"best {metric}: {best.value:.6g} (trial {best.number}: {shown})")
    write_winner(directory, best, question.panel, data_digest=question.digest, say=say)
    winning = block_directory(directory, best.user_attrs["block"])
    for folder in (directory / "blocks").glob("*"):
        if folder != winning:  # the others' weights are of no more use
            shutil.rmtree(folder / "best", ignore_errors=True)
    say(f"run directory: {directory}")
    return table
