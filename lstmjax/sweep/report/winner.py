"""The winner of a sweep as a run directory: evaluated once on the test rows, which no trial saw."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from lstmjax.data.prepare import prepare
from lstmjax.forecaster.checkpoints import LOG_FILE
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.forecaster.intervals import with_errors
from lstmjax.runs.directory import RunDirectory
from lstmjax.runs.files import remove_run
from lstmjax.runs.outputs import write_outputs
from lstmjax.runs.seeds import TABLE_FILE, seeds_table
from lstmjax.runs.table_file import write_table
from lstmjax.storage.files import replace_file, replace_folder
from lstmjax.sweep.setup import Sweep
from lstmjax.sweep.study.block_directory import BlockDirectory
from lstmjax.sweep.study.blocks import params_of

BEST = "best"
"""The winner's folder, in the sweep's directory."""

TRIAL_FILE = "trial.json"
"""Which trial it is."""


def write_winner(sweep: Sweep, trial: FrozenTrial, say: Callable[[str], None]) -> None:
    """Makes the winner's run directory, unless it exists. Files of the user's in that of an earlier winner are kept.

    With several seeds it is the run of the first seed, and also holds the others' forecasters and a table of all.

    Args:
        sweep: what was searched.
        trial: the winner.
        say: called with each line that says what happens.
    """
    target = sweep.directory / BEST
    described = target / TRIAL_FILE
    description = json.dumps({"number": trial.number, "value": trial.value, "params": params_of(trial)}, indent=2)
    if described.exists() and json.loads(described.read_text()) == json.loads(description):
        return
    new, old = (sweep.directory / f"{BEST}{end}" for end in (".new", ".old"))
    with replace_folder(target, new=new, old=old):
        if target.exists():
            shutil.copytree(target, new, symlinks=True)
            remove_run(new, TRIAL_FILE)
        _write(sweep, new, BlockDirectory(sweep.directory, trial.user_attrs["block"]).weights(trial.number), say)
        replace_file(new / TRIAL_FILE, description + "\n")


def _write(sweep: Sweep, directory: Path, weights: Path, say: Callable[[str], None]) -> None:
    """Writes the run of the first member, and the other members and the table of all into it."""
    loaded = (Forecaster.load(path, network=sweep.network) for path in weights.glob("seed-*"))
    (seed, first), *others = sorted({member.config.train.seed: member for member in loaded}.items())
    categories = first.fitted.selected.scaling.categories  # of all folds, if there are several
    prepared = prepare(sweep.panel, first.config.data, with_test=True, categories=categories)
    with RunDirectory.create(directory, first.config, data_digest=sweep.data_digest, nested=True) as run:
        shutil.copy(weights / f"seed-{seed}" / LOG_FILE, directory / LOG_FILE)
        metrics = write_outputs(run, first, prepared, sweep.data_digest, say=say).metrics
    if not others or "test" not in metrics:
        return
    scores: dict[int, dict[str, Any]] = {seed: metrics}
    for seed, other in others:
        fitted = with_errors(other.fitted, sweep.network, prepared)
        forecaster = Forecaster.of(fitted, sweep.network)
        forecaster.save(directory / f"seed-{seed}")
        scores[seed] = forecaster.evaluate_panel(sweep.panel).metrics | fitted.summary
    write_table(seeds_table(scores).reset_index(), directory / TABLE_FILE)
