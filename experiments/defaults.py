"""The options that nobody sets: which defaults forecast best, on rows that decide nothing else.

Command:  python experiments/defaults.py [--settings NAME ...] [--tasks NAME ...] [--seeds N] [--jobs N] [--test]
          [--json FILE]
Runtime:  half a minute per setting, task and seed on one core; the earlier defaults two minutes. All of the table: two
          hours on one core
Score:    mean over the tasks of the error on validation rows, relative to the defaults before: 0.612
Source:   none; MASE of all validation windows (at most 4,000, evenly spaced), one seed

Three data sets, each at the horizon and lookback that a user gets without a word (24 and 96 rows) and at one of its
own; and the oil temperature of a transformer (ETTh1, column OT) one day ahead from a week. Measured on 16 cores of an
Intel Xeon, one core per run, jax 0.11. MASE on validation rows:

                                        oil   etth1   elecdemand      m4_hourly       relative
    horizon / lookback                24/168 24/96  24/96  96/336  24/96  48/168
    the defaults                      0.658  0.959  0.446  0.544  0.758  0.817   0.612
    recall, 2000 steps, std           0.668  0.967  0.468  0.528  0.733  0.823   0.614
    highway, batch 128, 2000 steps    0.663  0.959  0.434  0.559  0.756  0.837   0.615
    highway, 2000 steps, dropout 0.1  0.659  0.957  0.432  0.565  0.765  0.838   0.616
    recall, 2000 steps, dropout 0.1   0.665  0.967  0.461  0.544  0.754  0.837   0.620
    highway, 2000 steps               0.663  0.960  0.430  0.558  0.786  0.852   0.620
    recall, 2000 steps                0.667  0.967  0.469  0.546  0.754  0.853   0.624
    highway, lr 4e-3                  0.657  0.970  0.455  0.552  0.799  0.882   0.630
    recall, lr 4e-3                   0.671  0.975  0.476  0.543  0.792  0.874   0.635
    highway, std                      0.660  0.965  0.493  0.529  0.824  0.858   0.635
    highway, batch 128                0.662  0.959  0.462  0.550  0.813  0.905   0.636
    recall, batch 128                 0.658  0.971  0.483  0.549  0.799  0.880   0.636
    recall, std                       0.670  0.973  0.505  0.534  0.795  0.863   0.638
    highway                           0.658  0.963  0.474  0.546  0.847  0.908   0.642
    recall, relative to mean and mad  0.675  0.977  0.486  0.580  0.803  0.847   0.642
    recall, dropout 0.1               0.661  0.981  0.510  0.540  0.818  0.875   0.644
    recall, dropout 0.2               0.661  0.980  0.507  0.550  0.816  0.876   0.645
    recall, relative to mean          0.672  0.980  0.488  0.581  0.829  0.878   0.650
    recall                            0.660  0.979  0.517  0.542  0.831  0.913   0.651
    recall, lr 1e-3                   0.657  0.987  0.533  0.551  0.882  0.933   0.666
    plain, lr 4e-3                    0.654  0.982  0.534  0.631  1.016  1.199   0.726
    plain                             0.654  0.982  0.558  0.642  1.038  1.200   0.736
    plain, lr 1e-3                    0.657  0.990  0.585  0.669  1.099  1.245   0.761
    plain, lr 5e-4                    0.659  1.011  0.617  0.707  1.217  1.346   0.801
    earlier                           0.693  1.178  0.649  0.861  1.907  2.062   1.000

The tasks again, on the test rows (MASE, one seed, jax 0.10, `results/defaults_test.json`):

    the defaults                      0.473  0.769  0.516  0.785  0.751  0.778   0.545
    earlier                           0.777  0.974  0.709  1.204  2.046  2.486   1.000

Chosen: recall and a highway, each window relative to its last value and deviation, cosine from 2e-3 over 2,000 steps.
Dropout of 0.1 is as good and wider networks a little better, at twice the time. On short tables (700 to 1,100 rows of
OT and elecdemand; 480 to 800 windows) a network of 32 features is better than one of 64 or 128, on the validation and
the test rows: so it is the default below 1,000 windows.
"""

import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from lstmjax import RunConfig, fit_seeds
from lstmjax.cli import one_line_messages
from lstmjax.data import Panel, Windows
from lstmjax.data.frames import truth
from lstmjax.data.prepare import prepare
from lstmjax.data.source import load_source, with_dataset_settings
from lstmjax.evaluation import metrics
from lstmjax.training import evenly_spaced

OIL = {"data.dataset": "etth1", "data.layout": "wide", "data.time_col": "date", "data.target_cols": ("OT",)}
TASKS: dict[str, dict[str, Any]] = {
    "oil 24/168": OIL | {"data.input_size": 168, "data.val_size": 1440, "data.test_size": 2880},
    "etth1 24/96": {"data.dataset": "etth1"},
    "elecdemand 24/96": {"data.dataset": "elecdemand"},
    "elecdemand 96/336": {"data.dataset": "elecdemand", "data.h": 96, "data.input_size": 336},
    "m4_hourly 24/96": {"data.dataset": "m4_hourly"},
    "m4_hourly 48/168": {"data.dataset": "m4_hourly", "data.h": 48, "data.input_size": 168},
}
"""Data sets, at horizon / lookback."""

_STORED = json.loads(RunConfig.from_json('{"format_version": 1}').to_json())
FORMER = {f"{part}.{name}": value for part in ("model", "optimizer", "train") for name, value in _STORED[part].items()}
"""The defaults before this choice: what a config of format 1 means."""

SHORT = {"train.max_steps": 1000}
PLAIN = SHORT | {"model.highway": False, "model.recall": False, "model.instance_scale": "none"}
RECALL = PLAIN | {"model.recall": True}
HIGHWAY = RECALL | {"model.highway": True}
SETTINGS: dict[str, dict[str, Any]] = {
    "earlier": FORMER,
    "plain": PLAIN,
    "plain, lr 1e-3": PLAIN | {"optimizer.learning_rate": 1e-3},
    "plain, lr 5e-4": PLAIN | {"optimizer.learning_rate": 5e-4},
    "plain, lr 4e-3": PLAIN | {"optimizer.learning_rate": 4e-3},
    "recall": RECALL,
    "recall, lr 1e-3": RECALL | {"optimizer.learning_rate": 1e-3},
    "recall, lr 4e-3": RECALL | {"optimizer.learning_rate": 4e-3},
    "recall, dropout 0.1": RECALL | {"model.dropout": 0.1},
    "recall, dropout 0.2": RECALL | {"model.dropout": 0.2},
    "recall, batch 128": RECALL | {"train.batch_size": 128},
    "recall, relative to mean": RECALL | {"model.instance_norm": "mean"},
    "recall, relative to mean and mad": RECALL | {"model.instance_norm": "mean", "model.instance_scale": "mad"},
    "recall, std": RECALL | {"model.instance_scale": "std"},
    "recall, 2000 steps": RECALL | {"train.max_steps": 2000},
    "recall, 2000 steps, std": RECALL | {"train.max_steps": 2000, "model.instance_scale": "std"},
    "recall, 2000 steps, dropout 0.1": RECALL | {"train.max_steps": 2000, "model.dropout": 0.1},
    "highway": HIGHWAY,
    "highway, lr 4e-3": HIGHWAY | {"optimizer.learning_rate": 4e-3},
    "highway, std": HIGHWAY | {"model.instance_scale": "std"},
    "highway, batch 128": HIGHWAY | {"train.batch_size": 128},
    "highway, batch 128, 2000 steps": HIGHWAY | {"train.batch_size": 128, "train.max_steps": 2000},
    "highway, 2000 steps": HIGHWAY | {"train.max_steps": 2000},
    "highway, 2000 steps, dropout 0.1": HIGHWAY | {"train.max_steps": 2000, "model.dropout": 0.1},
    "the defaults": {},
}
"""What was compared, as differences from the defaults; "highway" has recall too."""

SCORED = 4_000
"""Validation windows that are scored at most."""


def score(task: str, setting: str, seed: int, *, test: bool) -> dict[str, Any]:
    """Trains one forecaster, and scores it on the validation rows, and on the test rows if asked."""
    config = RunConfig().replace(SETTINGS[setting] | TASKS[task])
    config = dataclasses.replace(config, data=with_dataset_settings(config.data))
    panel = load_source(config.data).panel(config.data)
    prepared = prepare(panel, config.data, with_test=True)
    (member,) = fit_seeds(config, prepared, [seed])

    def errors(windows: Windows) -> tuple[float, float]:
        y, forecast = truth(panel, windows, config.data.h), member.forecast_windows(panel, windows)
        scale = scales(panel, windows, prepared.config.season_length or 1)
        return float(np.nanmean(np.abs(y - forecast))), metrics.mase(y, forecast, scale, np.asarray(windows.series))

    mae, mase = errors(evenly_spaced(prepared.validation, SCORED))
    row = {"task": task, "setting": setting, "seed": seed, "mae": mae, "mase": mase}
    row["best_step"] = member.fitted.summary["best_step"]
    if test:
        row["test_mae"], row["test_mase"] = errors(prepared.test)
    return row


def scales(panel: Panel, windows: Windows, season: int) -> np.ndarray:
    """MASE's scale of each series, from the rows before its first window."""
    found = np.full((len(panel.ids), panel.y.shape[1]), np.nan)
    for series in np.unique(windows.series):
        begin, first = panel.offsets[series], windows.origin[windows.series == series].min()
        found[series] = metrics.seasonal_scale(panel.y[begin : begin + first], season)
    return found


def table(rows: list[dict[str, Any]], key: str) -> str:
    """Means over the seeds, by setting and task, best first; the last column is relative to the first setting."""
    tasks, settings = (list(dict.fromkeys(row[name] for row in rows)) for name in ("task", "setting"))
    means = {
        (setting, task): float(np.mean([row[key] for row in rows if (row["setting"], row["task"]) == (setting, task)]))
        for setting in settings
        for task in tasks
    }
    relative = {
        setting: float(np.exp(np.mean([np.log(means[setting, task] / means[settings[0], task]) for task in tasks])))
        for setting in settings
    }
    lines = [f"{'':34}" + "".join(f"{task:>19}" for task in tasks) + "  relative"]
    for setting in sorted(settings, key=relative.__getitem__):
        cells = "".join(f"{means[setting, task]:19.4f}" for task in tasks)
        lines.append(f"{setting:34}{cells}{relative[setting]:10.3f}")
    return "\n".join(lines)


def main(
    settings: tuple[str, ...] = tuple(SETTINGS),
    tasks: tuple[str, ...] = tuple(TASKS),
    seeds: int = 1,
    jobs: int = 1,
    test: bool = False,
    json_file: Path | None = None,
) -> None:
    """Compares settings, and prints their errors by task.

    Args:
        settings: names in `SETTINGS`; the last column is relative to the first.
        tasks: names in `TASKS`.
        seeds: from 0 on.
        jobs: processes, one core each.
        test: score the test rows too. Nothing is chosen by them.
        json_file: a file for the results.
    """
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, spawn, max_tasks_per_child=1) as pool:
        asked = [(task, setting, seed) for setting in settings for task in tasks for seed in range(seeds)]
        rows = list(pool.map(_score, asked, [test] * len(asked)))
    for key in ("mase", *(("test_mase", "test_mae") if test else ())):
        print(f"\n{key}\n{table(rows, key)}")
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=1) + "\n")


def _score(asked: tuple[str, str, int], test: bool) -> dict[str, Any]:
    return score(*asked, test=test)


if __name__ == "__main__":
    with one_line_messages("defaults.py"):
        tyro.cli(main, description=__doc__)
