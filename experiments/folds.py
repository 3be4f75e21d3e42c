"""Does choosing a setting on three splits instead of one give a better test error? Eight small searches.

Command:  python experiments/folds.py [--run-dir DIR] [--json FILE] [--trials N] [any option of RunConfig]
Runtime:  eight and a half minutes on two cores beside other work; a trial's member takes 0.4 to 1.5 seconds
Score:    on average no difference: the test error of the setting that three folds choose is 1.0006 times that of the
          one that one split chooses (geometric mean of eight, standard error 0.026). It is lower in two searches, equal
          in two (the same setting) and higher in four; extremes 0.845 and 1.095. Results: `results/folds.json`
Source:   fpp2::elecdemand, 17,520 half-hours of 2014 (Hyndman & Athanasopoulos, Forecasting: Principles and Practice);
          ETTh1, hourly oil temperature (Zhou et al., Informer, 2021)

Each search has a table of its own: four stretches of 3,600 rows of the electricity demand, four of the oil temperature,
24 rows ahead from 96 rows back. The last 672 rows are the test, the 336 before them are validation rows. The same 12
random settings are ranked twice: by the one split, and by the mean over three folds, each 336 rows earlier than the one
before. Then each setting that was chosen is trained on the one split, alone, and tested: what differs is the setting.
Both searches can be killed and started again: they are resumed.
"""

import dataclasses
import json
import math
import statistics
import sys
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import tyro

from lstmjax import Forecaster, RunConfig, configure_devices
from lstmjax.cli import check_typed, one_line_messages
from lstmjax.data.prepare import prepare
from lstmjax.data.source import load_source, with_dataset_settings
from lstmjax.runs.files import default_path
from lstmjax.sweep import SweepConfig, run

CONFIG = RunConfig().replace(
    {
        "data.h": 24,
        "data.input_size": 96,
        "data.val_size": 336,
        "data.test_size": 672,
        "model.name": "direct",
        "model.hidden_size": 32,
        "model.head_size": 32,
        "optimizer.schedule": "cosine",
        "train.loss": "mae",
        "train.batch_size": 32,
        "train.max_steps": 400,
        "train.val_check_steps": 40,
        "train.val_windows": 0,
        "train.early_stop_patience_steps": -1,
    }
)
SPACE: dict[str, Any] = {
    "optimizer.learning_rate": {"type": "loguniform", "low": 1e-4, "high": 3e-2},
    "optimizer.weight_decay": {"type": "loguniform", "low": 1e-6, "high": 1e-2},
    "optimizer.clip_norm": {"type": "loguniform", "low": 0.1, "high": 10.0},
    "model.dropout": {"type": "uniform", "low": 0.0, "high": 0.5},
}
DATASETS = {"elecdemand": "y", "etth1": "OT"}
STRETCHES, ROWS = 4, 3600
FOLDS = 3


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What the command line takes."""

    options: Annotated[RunConfig, tyro.conf.arg(name="")] = CONFIG
    trials: int = 12
    """Settings of each search."""
    run_dir: Path | None = None
    """Where to leave the searches. Default: runs/ and the time."""
    json: Path | None = None
    """A file for the results."""


def main(experiment: Experiment) -> None:
    """Searches each table twice, and compares the test errors of the winners."""
    fixed = dict.fromkeys([*SPACE, "data.path", "train.seed"], "it differs by search")
    check_typed(sys.argv[1:], inert=experiment.options.inert(), fixed=fixed)
    directory = default_path() if experiment.run_dir is None else experiment.run_dir
    directory.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    for number, (name, path) in enumerate(tables(directory).items()):
        options = experiment.options.replace({"data.path": str(path), "train.seed": number})
        one, folds = (
            search(options, SweepConfig(trials=experiment.trials, sampler="random", folds=folds), directory / end)
            for folds, end in ((1, f"{name}-one"), (FOLDS, f"{name}-folds"))
        )
        one |= tested(options, one["params"])
        folds |= tested(options, folds["params"]) if folds["trial"] != one["trial"] else {"mae": one["mae"]}
        results.append({"table": name, "one": one, "folds": folds, "ratio": folds["mae"] / one["mae"]})
        print(told(results[-1]))
    summary = summed_up(results)
    print(f"\ntest error of the setting chosen by {FOLDS} folds over that of the one chosen by one split:")
    print(f"geometric mean {summary['mean_ratio']:.4f} (standard error {summary['standard_error']:.4f})")
    print(f"lower in {summary['lower']}, equal in {summary['equal']}, higher in {summary['higher']} searches")
    if experiment.json is not None:
        experiment.json.write_text(json.dumps({**summary, "searches": results}, indent=2) + "\n")


def tables(directory: Path) -> dict[str, Path]:
    """The table of each search, written once: stretches of two series that follow one another."""
    written = {}
    for dataset, column in DATASETS.items():
        data = with_dataset_settings(RunConfig().replace({"data.dataset": dataset}).data)
        whole = load_source(data).table
        for stretch in range(STRETCHES):
            path = directory / f"{dataset}-{stretch + 1}.csv"
            part = whole.iloc[stretch * ROWS : (stretch + 1) * ROWS]
            pd.DataFrame({"ds": part[data.time_col], "y": part[column]}).to_csv(path, index=False)
            written[path.stem] = path
    return written


def search(options: RunConfig, settings: SweepConfig, directory: Path) -> dict[str, Any]:
    """Searches one table; gives the winner's number, value and setting."""
    table = run(SPACE, options, directory, settings, say=lambda line: None).trials
    best = json.loads((directory / "best" / "trial.json").read_text())
    seconds = float(table["seconds"].sum() / len(table) / settings.folds)
    return {
        "trial": best["number"],
        "value": best["value"],
        "params": best["params"],
        "seconds_per_member": round(seconds, 2),
    }


def tested(options: RunConfig, params: dict[str, Any]) -> dict[str, float]:
    """The test error of a setting, trained alone on the one split, and that of the seasonal naive forecast."""
    config = options.replace(params)
    panel = load_source(config.data).panel(config.data)
    forecaster = Forecaster(config).fit(prepare(panel, config.data, with_test=True))
    metrics = forecaster.evaluate_panel(panel).metrics
    return {
        "mae": metrics["test"]["mae"],
        "seasonal_naive_mae": metrics["baselines"]["seasonal_naive"]["mae"],
    }


def told(result: dict[str, Any]) -> str:
    """One search as a line."""
    one, folds = result["one"], result["folds"]
    return (
        f"{result['table']:<14} one split: trial {one['trial']:>2}, test MAE {one['mae']:.4f}   "
        f"{FOLDS} folds: trial {folds['trial']:>2}, test MAE {folds['mae']:.4f}   ratio {result['ratio']:.4f}"
    )


def summed_up(results: list[dict[str, Any]]) -> dict[str, Any]:
    """The ratio over all searches, and how often it is below, at and above 1."""
    logs = [math.log(result["ratio"]) for result in results]
    same = [result["one"]["trial"] == result["folds"]["trial"] for result in results]
    mean = math.exp(statistics.fmean(logs))
    return {
        "mean_ratio": mean,
        "standard_error": mean * statistics.stdev(logs) / math.sqrt(len(logs)),
        "lower": sum(log < 0 and not equal for log, equal in zip(logs, same, strict=True)),
        "equal": sum(same),
        "higher": sum(log > 0 and not equal for log, equal in zip(logs, same, strict=True)),
    }


if __name__ == "__main__":
    configure_devices()
    with one_line_messages("folds.py"):
        main(tyro.cli(Experiment, description=__doc__))
