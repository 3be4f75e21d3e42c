"""The winner of a sweep as a run directory: evaluated once on the test rows, which no trial saw."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial

from lstmjax.data.origins import test_windows
from lstmjax.data.panel import Panel
from lstmjax.data.prepare import prepare
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.runs.directory import RunDirectory
from lstmjax.runs.run import conclude
from lstmjax.storage.files import replace_file
from lstmjax.sweep.study.study import params_of
from lstmjax.sweep.worker import weights_directory

BEST = "best"
"""The winner's folder, within the sweep's."""

TRIAL_FILE = "trial.json"
"""Which trial it is."""


def write_winner(
    directory: Path, trial: FrozenTrial, panel: Panel, *, data_digest: str, say: Callable[[str], None] = print
) -> Path:
    """Makes the winner's run directory, unless it is there.

    With several seeds it is the run of the first of them; the others lie in it, and a table of all.

    Args:
        directory: the sweep's.
        trial: the winner.
        panel: the data.
        data_digest: SHA-256 of it.
        say: where to tell how it goes, a line at a time.

    Returns:
        The run directory.
    """
    target = directory / BEST
    told = {"number": trial.number, "value": trial.value, "params": params_of(trial)}
    if _reads(target / TRIAL_FILE) == json.loads(json.dumps(told)):
        return target
    folder = weights_directory(directory, trial.user_attrs["block"], trial.number)
    members = {int(path.name.removeprefix("seed-")): path for path in folder.glob("seed-*")}
    new = directory / f"{BEST}.new"
    shutil.rmtree(new, ignore_errors=True)
    scores: dict[int, dict[str, Any]] = {}
    for seed, path in sorted(members.items()):
        forecaster = Forecaster.load(path)
        if not scores:
            prepared = prepare(panel, forecaster.config.data, with_test=True)
            with RunDirectory.create(new, forecaster.config, data_digest=data_digest) as run:
                metrics = conclude(run, forecaster, panel, prepared, say=say)
            if len(members) == 1 or not len(test_windows(prepared.split, h=prepared.spec.h).series):
                break
            scores[seed] = metrics["test"]
        else:
            forecaster.save(new / f"seed-{seed}")
            scores[seed] = forecaster.evaluate_panel(panel).metrics["test"]
    if scores:
        pd.DataFrame.from_dict(scores, orient="index").rename_axis("seed").to_csv(new / "seeds.csv")
    replace_file(new / TRIAL_FILE, json.dumps(told, indent=2) + "\n")
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)
    return target


def _reads(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None
