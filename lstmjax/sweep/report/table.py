"""A sweep's trials as a table."""

import math
from collections.abc import Sequence

import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from lstmjax.sweep.study.blocks import params_of

PARAMS = "params."
"""The first part of the names of the columns of parameters."""

_CONFIDENCE = 0.95


def trials_table(trials: Sequence[FrozenTrial], names: Sequence[str], seeds: int = 1, folds: int = 1) -> pd.DataFrame:
    """One row per trial that was begun, in the order of their numbers.

    Args:
        trials: from `Study.trials`.
        names: the options of the space.
        seeds: members per trial and fold.
        folds: folds of each trial.

    Returns:
        ``number``, ``state``, ``value`` (of a pruned trial, when it was pruned), for each option a column
        ``params.<dotted name>`` (empty where it does not belong to the trial), ``steps``, ``seconds``, ``reason``. With
        several seeds or folds also ``value_std``, the deviation over them. With several seeds of one fold besides
        ``value_low`` and ``value_high``: a 95% confidence interval of the mean over all possible seeds (Student's t);
        folds, which share rows, are no such sample.
    """
    rows = []
    for trial in trials:
        params, attributes = params_of(trial), trial.user_attrs
        row = {"number": trial.number, "state": trial.state.name, "value": trial.value}
        row |= {f"{PARAMS}{name}": params.get(name) for name in names}
        rows.append(row | {name: attributes.get(name) for name in ("value_std", "steps", "seconds", "reason")})
    columns = ["number", "state", "value", "value_std", *(f"{PARAMS}{name}" for name in names)]
    table = pd.DataFrame(rows, columns=[*columns, "steps", "seconds", "reason"])
    table = table.astype({"value": float, "value_std": float, "steps": "Int64"})
    if seeds > 1 and folds == 1:
        from scipy.stats import t  # half a second

        reach = float(t.ppf((1 + _CONFIDENCE) / 2, seeds - 1)) * table["value_std"] / math.sqrt(seeds)
        table.insert(4, "value_low", table["value"] - reach)
        table.insert(5, "value_high", table["value"] + reach)
    return table if seeds * folds > 1 else table.drop(columns="value_std")


def best_trial(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The complete trial with the least value, the first among equals; None if none is complete."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and trial.value is not None]
    return min(complete, key=lambda trial: (trial.value, trial.number), default=None)
