"""How sure is the forecast? Electricity demand of Victoria, two days ahead: head by head, calibrated or not.

Command:  python experiments/probabilistic.py [--heads quantile ...] [--json FILE] [any option of RunConfig]
Runtime:  ten minutes on two cores
Score:    six blocks: CRPS 0.136 to 0.147 GW by head, calibrated (seasonal naive 0.245); 80% intervals hold 77 to 79%,
          95% intervals 93 to 94%; the sum over two days lies in the 80% interval of its paths in 71 to 77% of cases,
          of independent draws in 10 to 16%. Results: `results/probabilistic.json` (one seed; the defaults)
Source:   fpp2::elecdemand, 17,520 half-hours of 2014 (Hyndman & Athanasopoulos, Forecasting: Principles and Practice)

Six blocks of two weeks, spread over the year, are forecast from every half-hour. Each block has a forecaster of its
own, trained on the rows before it but for the last six weeks: two of them decide when training stops, four calibrate.
Then the same with the last six weeks of the year as the block, Christmas among them, as it comes. The temperature is
known up to the cut-off only, the working day ahead of time. CRPS is the mean of the pinball loss over the levels 0.1,
0.2, ..., 0.9. The last columns are about the sum over the two days: how often its true value lies in the 80% interval
of 200 sample paths, and in that of 200 draws that are independent at each step.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro

from lstmjax import Forecaster, RunConfig, configure_devices
from lstmjax.cli import check_typed, one_line_messages
from lstmjax.config import OutputsConfig
from lstmjax.data import Panel, Windows
from lstmjax.data.frames import truth
from lstmjax.data.source import load_source, with_dataset_settings
from lstmjax.evaluation.windows import Evaluation

DAY = 48
TEST, CALIBRATION, VALIDATION = 14 * DAY, 28 * DAY, 14 * DAY
BLOCKS = {f"day {day}": (day * DAY, TEST) for day in (155, 186, 217, 248, 279, 309)}
"""First row and number of rows of each block."""
CHRISTMAS = {"the last six weeks": (323 * DAY, 42 * DAY)}
SAMPLES, STRIDE = 200, 12  # paths per window, of every twelfth window
LEVELS = tuple(round(0.1 * k, 1) for k in range(1, 10))

CONFIG = RunConfig().replace(
    {
        "data.dataset": "elecdemand",
        "data.h": 2 * DAY,
        "data.input_size": 7 * DAY,
        "data.futr_exog": ("workday",),
        "data.hist_exog": ("temperature",),
        "data.val_size": VALIDATION,
        "data.calibration_size": CALIBRATION,
        "model.dropout": 0.2,
        "train.max_steps": 1000,
    }
)
FIXED = dict.fromkeys(
    ("data.val_size", "data.calibration_size", "data.test_size", "model.head", "outputs.calibration"), "see --heads"
)
"""Options that the script sets, and what to give instead."""
CALIBRATIONS = {"point": ("conformal",), "quantile": ("none", "conformal", "cqr")}
"""By head; the others: none and conformal."""


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What the command line takes."""

    options: Annotated[RunConfig, tyro.conf.arg(name="")] = CONFIG
    heads: tuple[str, ...] = ("point", "quantile", "normal", "student_t")
    """Each is trained for every block."""
    json: Path | None = None
    """A file for the results."""


def main(experiment: Experiment) -> None:
    """Trains a forecaster for every head and block, and prints how good and how honest its intervals are."""
    check_typed(sys.argv[1:], inert=experiment.options.inert(), fixed=FIXED)
    results = {}
    for title, blocks in (("six blocks of two weeks", BLOCKS), ("the last six weeks", CHRISTMAS)):
        rows = {}
        for head in experiment.heads:
            found: dict[str, list[dict[str, float]]] = {}
            for name, (first, size) in blocks.items():
                for model, scores in of_block(experiment.options.replace({"model.head": head}), first, size):
                    found.setdefault(model, []).append(scores)
                print(f"{head}, {name}: {pd.DataFrame({m: s[-1] for m, s in found.items()}).round(3).to_dict()}")
            rows |= {model: pd.DataFrame(scores).mean().to_dict() for model, scores in found.items()}
        table = pd.DataFrame(rows).T
        print(f"\n{title}, means over the blocks; CRPS and widths in GW:\n\n{table.round(4).to_string()}\n")
        results[title] = rows
    if experiment.json is not None:
        experiment.json.write_text(json.dumps(results, indent=2) + "\n")


def of_block(config: RunConfig, first: int, size: int) -> Iterator[tuple[str, dict[str, float]]]:
    """The scores of one block, of the head under every calibration and of seasonal naive.

    Args:
        config: with the head.
        first: the block's first row.
        size: its rows.
    """
    data = with_dataset_settings(config.data)
    config = dataclasses.replace(config, data=dataclasses.replace(data, test_size=size))
    head = config.model.head
    table = load_source(data).table.iloc[: first + size]
    kept = config.replace({"outputs.calibration": "conformal"})  # keeps the errors of a point forecast too
    trained = Forecaster(kept).fit(table)
    panel = trained.panel(table)
    for calibration in CALIBRATIONS.get(head, ("none", "conformal")):
        outputs = OutputsConfig(level=(80, 95), quantiles=LEVELS, calibration=calibration)
        forecaster = trained.with_outputs(outputs)
        evaluation = forecaster.evaluate_panel(panel)
        scores = shown(evaluation.metrics["test"]) | sums(forecaster, panel, evaluation)
        yield f"{head}, {calibration}", scores
    yield "seasonal naive", shown(evaluation.metrics["baselines"]["seasonal_naive"])


def shown(metrics: dict[str, Any]) -> dict[str, float]:
    """The metrics of the table."""
    names = ("mae", "crps", "coverage-80", "coverage-95", "width-80", "width-95", "interval_score-80")
    return {name: metrics[name] for name in names}


def sums(forecaster: Forecaster, panel: Panel, evaluation: Evaluation) -> dict[str, float]:
    """How often the sum over the horizon lies in the 80% interval of sample paths, and of independent draws."""
    origin = np.arange(panel.observed[0] - len(evaluation.series) - 95, panel.observed[0] - 95, STRIDE)
    windows = Windows(np.zeros(len(origin), np.int32), origin.astype(np.int32))
    paths = forecaster.sample_windows(panel, windows, SAMPLES)[..., 0]  # (W, S, H)
    total = truth(panel, windows, paths.shape[-1])[..., 0].sum(axis=1)
    independent = np.random.default_rng(0).permuted(paths, axis=1)
    found = {}
    for name, drawn in (("sum, paths", paths), ("sum, independent", independent)):
        low, high = np.quantile(drawn.sum(axis=-1), [0.1, 0.9], axis=1)
        found[name] = float(((low <= total) & (total <= high)).mean())
    return found


if __name__ == "__main__":
    configure_devices()
    with one_line_messages("probabilistic.py"):
        main(tyro.cli(Experiment, description=__doc__))
