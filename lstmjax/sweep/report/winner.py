"""The winner of a sweep as a run directory: evaluated once on the test rows, which no trial saw."""

import json
import shutil
from collections.abc import Callable
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial

from lstmjax.data.origins import test_windows
from lstmjax.data.prepare import prepare
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.runs.directory import RunDirectory
from lstmjax.runs.outputs import write_outputs
from lstmjax.storage.files import replace_file
from lstmjax.sweep.study.block_directory import BlockDirectory
from lstmjax.sweep.study.study import params_of
from lstmjax.sweep.study.sweep import Sweep

BEST = "best"
"""The winner's folder, in the sweep's directory."""

TRIAL_FILE = "trial.json"
"""Which trial it is."""


def write_winner(sweep: Sweep, trial: FrozenTrial, say: Callable[[str], None]) -> None:
    """Makes the winner's run directory, unless it exists.

    With several seeds it is the run of the first seed, and also holds the others' forecasters and a table of all.

    Args:
        sweep: what was searched.
        trial: the winner.
        say: called with each line that says what happens.
    """
    target, new = sweep.directory / BEST, sweep.directory / f"{BEST}.new"
    described = target / TRIAL_FILE
    description = json.dumps({"number": trial.number, "value": trial.value, "params": params_of(trial)}, indent=2)
    if described.exists() and json.loads(described.read_text()) == json.loads(description):
        return
    shutil.rmtree(new, ignore_errors=True)
    weights = BlockDirectory(sweep.directory, trial.user_attrs["block"]).weights(trial.number)
    members = {int(path.name.removeprefix("seed-")): path for path in weights.glob("seed-*")}
    scores: dict[int, dict[str, Any]] = {}
    for seed, path in sorted(members.items()):
        forecaster = Forecaster.load(path, network=sweep.network)
        if not scores:
            prepared = prepare(sweep.panel, forecaster.config.data, with_test=True)
            with RunDirectory.create(new, forecaster.config, data_digest=sweep.data_digest) as run:
                _, metrics = write_outputs(run, forecaster, prepared, sweep.data_digest, say=say)
            if len(members) == 1 or not len(test_windows(prepared.split, h=prepared.spec.h).series):
                break
            scores[seed] = metrics["test"]
        else:
            forecaster.save(new / f"seed-{seed}")
            scores[seed] = forecaster.evaluate_panel(sweep.panel).metrics["test"]
    if scores:
        pd.DataFrame.from_dict(scores, orient="index").rename_axis("seed").to_csv(new / "seeds.csv")
    replace_file(new / TRIAL_FILE, description + "\n")
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)
