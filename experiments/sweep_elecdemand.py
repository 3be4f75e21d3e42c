"""How much of a search can halving save? 64 settings for the electricity demand of Victoria, with and without it.

Command:  python experiments/sweep_elecdemand.py [--run-dir DIR] [--json FILE] [--trials N] [any option of RunConfig]
Runtime:  about six minutes on two cores: half a minute with halving, the rest for 64 models of 810 steps each
Score:    the best of all 64 has a validation error (mean absolute error over the training rows' deviation) of 0.2245;
          halving finds the same one, by 10.6% of the updates. Random survivors at that budget miss the best by more
          than 2% in 8 of 10 draws. Results: `results/sweep_elecdemand.json`
Source:   fpp2::elecdemand, 17,520 rows of 2014 (Hyndman & Athanasopoulos, Forecasting: Principles and Practice);
          Jamieson & Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization, 2016

Two days ahead from one day back; the working day is known ahead, the temperature up to the cut-off. What is searched
scales arithmetic only, so that all settings share one compiled program. The same 64 random ones are trained twice: all
in full, and with successive halving (eta = 3), which after each rung lets the best
third go on. Both searches can be killed and started again: they go on. Were the space flat, random survivors would do
as well as the best; that they do not is the third number.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro

from lstmjax import RunConfig, configure_devices
from lstmjax.cli import check_typed, one_line_messages
from lstmjax.runs.files import default_path
from lstmjax.sweep import Halving, SweepConfig, run

CONFIG = RunConfig().replace(
    {
        "data.dataset": "elecdemand",
        "data.h": 96,
        "data.input_size": 48,
        "data.futr_exog": ("workday",),
        "data.hist_exog": ("temperature",),
        "model.name": "direct",
        "model.hidden_size": 64,
        "model.head_size": 64,
        "model.instance_norm": "none",
        "model.instance_scale": "none",
        "optimizer.learning_rate": 1e-3,
        "optimizer.schedule": "cosine",
        "train.loss": "mae",
        "train.batch_size": 32,
        "train.max_steps": 810,
        "train.val_check_steps": 30,
        "train.val_windows": 0,
        "train.early_stop_patience_steps": -1,
    }
)
SPACE: dict[str, Any] = {
    "optimizer.learning_rate": {"type": "loguniform", "low": 1e-4, "high": 1e-1},
    "optimizer.warmup_steps": {"type": "int", "low": 0, "high": 100},
    "optimizer.clip_norm": {"type": "loguniform", "low": 0.1, "high": 10.0},
    "model.dropout": {"type": "uniform", "low": 0.0, "high": 0.5},
    "optimizer.final_fraction": {"type": "uniform", "low": 0.0, "high": 0.5},
}
RANDOM_DRAWS = 10
WITHIN = 1.02
"""What counts as found: a validation error of at most so many times the best."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What the command line takes."""

    options: Annotated[RunConfig, tyro.conf.arg(name="")] = CONFIG
    trials: int = 64
    """Settings."""
    eta: int = 3
    """One in so many goes on after a rung."""
    run_dir: Path | None = None
    """Where to leave the searches. Default: runs/ and the time."""
    json: Path | None = None
    """A file for the results."""


def main(experiment: Experiment) -> None:
    """Searches with halving and in full, and compares."""
    check_typed(sys.argv[1:], inert=experiment.options.inert(), fixed=dict.fromkeys(SPACE, "it is searched"))
    directory = default_path() if experiment.run_dir is None else experiment.run_dir
    tables = {
        name: search(experiment, halving, directory / name)
        for name, halving in (("halving", experiment.eta), ("full", None))
    }
    found = compare(tables["full"], tables["halving"])
    train = experiment.options.train
    ((_, rungs),) = Halving(experiment.eta).brackets(experiment.trials, train.max_steps, train.val_check_steps)
    survivors = experiment.trials
    for _ in rungs[:-1]:
        survivors = Halving(experiment.eta).survivors(survivors)
    found["random"] = random_survivors(tables["full"], survivors)
    missed = sum(value > WITHIN * found["best"] for value in found["random"])
    print(f"\nbest of {experiment.trials} trained in full:   {found['best']:.5f}  (trial {found['best_trial']})")
    print(f"found by halving:            {found['found']:.5f}  (trial {found['found_trial']})")
    print(f"  that is {found['ratio']:.4f} times the best, at {found['share']:.1%} of the member-steps")
    print(f"random survivors miss the best by more than 2% in {missed} of {RANDOM_DRAWS} draws")
    if experiment.json is not None:
        told = {"trials": experiment.trials, "eta": experiment.eta, "rungs": bracket.steps, "missed": missed, **found}
        experiment.json.write_text(json.dumps(told, indent=2) + "\n")


def search(experiment: Experiment, halving: int | None, directory: Path) -> pd.DataFrame:
    """All settings as one population, with or without halving."""
    settings = SweepConfig(trials=experiment.trials, population=experiment.trials, sampler="random", halving=halving)
    return run(SPACE, experiment.options, directory, settings).trials


def compare(full: pd.DataFrame, halved: pd.DataFrame) -> dict[str, Any]:
    """What halving found of what there was to find.

    Args:
        full: trials trained in full.
        halved: the same with halving.
    """
    best = full.loc[full["value"].idxmin()]
    complete = halved[halved["state"] == "COMPLETE"]
    found = complete.loc[complete["value"].idxmin()]
    return {
        "best": float(best["value"]),
        "best_trial": int(best["number"]),
        "found": float(found["value"]),
        "found_trial": int(found["number"]),
        "ratio": float(found["value"] / best["value"]),
        "share": float(halved["steps"].sum() / full["steps"].sum()),
    }


def random_survivors(full: pd.DataFrame, survivors: int) -> list[float]:
    """The best of as many settings as halving trains to the end, chosen at random; a value a draw."""
    values = full.loc[full["state"] == "COMPLETE", "value"].to_numpy()
    draws = (np.random.default_rng(seed) for seed in range(RANDOM_DRAWS))
    return [float(draw.choice(values, survivors, replace=False).min()) for draw in draws]


if __name__ == "__main__":
    configure_devices()
    with one_line_messages("sweep_elecdemand.py"):
        main(tyro.cli(Experiment, description=__doc__))
