"""What a backtest costs: refits as one population beside separate runs, and many cutoffs beside one batch of forecasts.

Command:  python scripts/bench_backtest.py [--refits 8] [--cutoffs 300] [--max-steps 1500] [--json FILE]
Runtime:  about six minutes on two cores, of which the separate runs take the most

The recipe is that of `experiments/elecdemand.py` (temperature known up to the cutoff), in 1,500 steps without early
stopping, so that both sides do the same updates. Cutoffs are a week apart.

Refits: the wall time of ``lstmjax backtest --refit yes`` beside that of as many processes one after the other, each
``lstmjax backtest --n-windows 1`` on the table that ends with its horizon; start-up, compilation and outputs included.

Cutoffs: after training, the forecasts of all cutoffs by one model, as `Forecaster.cross_validation` makes and compares
them with the truth and the baselines, beside the network called once on a batch of the same windows, and beside that
batch as a table, as `Forecaster.predict` gives it.
"""

import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import tyro

from lstmjax import configure_devices
from lstmjax.config import BacktestConfig, RunConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.cutoffs import windows_at
from lstmjax.data.frames import forecast_frame
from lstmjax.data.source import load_source, with_dataset_settings
from lstmjax.forecaster.backtest import evaluate_backtest, train_refits
from lstmjax.forecaster.backtest_plan import make_plan
from lstmjax.forecaster.predict import forecast_values

WEEK = 336
RECIPE: dict[str, Any] = {
    "data.h": 96,
    "data.input_size": 96,
    "data.season_length": WEEK,
    "data.futr_exog": ("workday",),
    "data.hist_exog": ("temperature",),
    "data.val_size": 6 * WEEK,
    "model.name": "direct",
    "model.hidden_size": 64,
    "model.dropout": 0.1,
    "model.instance_norm": "none",
    "model.instance_scale": "none",
    "optimizer.learning_rate": 6e-3,
    "optimizer.warmup_steps": 50,
    "train.loss": "mae",
    "train.batch_size": 32,
    "train.val_check_steps": 50,
    "train.val_windows": 0,
    "train.early_stop_patience_steps": -1,
}


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What the command line takes."""

    refits: int = 8
    """Models that are trained."""
    cutoffs: int = 300
    """Cutoffs that one model forecasts."""
    max_steps: int = 1500
    """Updates of each model."""
    turns: int = 15
    """Times that the cutoffs are forecast."""
    json: Path | None = None
    """A file for the results."""


def main(benchmark: Benchmark) -> None:
    """Times both, and prints the ratios."""
    data = with_dataset_settings(RunConfig().replace({"data.dataset": "elecdemand"}).data)
    table = load_source(data).table
    found = {"refits": time_refits(table, benchmark), "cutoffs": time_cutoffs(table, benchmark)}
    if benchmark.json is not None:
        benchmark.json.write_text(json.dumps(found, indent=2) + "\n")


def time_refits(table: pd.DataFrame, benchmark: Benchmark) -> dict[str, float]:
    """Wall time of a population of refits, and of separate runs.

    Their forecasts differ: a separate run splits its batches over the cores, and so draws other dropout masks.
    """
    flags = []
    for name, value in (RECIPE | {"train.max_steps": benchmark.max_steps}).items():
        flags += [f"--{name.replace('_', '-')}", *(value if isinstance(value, tuple) else [str(value)])]

    def run(name: str, rows: pd.DataFrame, windows: int) -> tuple[float, pd.DataFrame]:
        rows.to_csv(folder / f"{name}.csv", index=False)
        command = [sys.executable, "-m", "lstmjax.cli", "backtest", "--data.path", str(folder / f"{name}.csv")]
        command += ["--run-dir", str(folder / name), "--n-windows", str(windows), "--step-size", str(WEEK)]
        began = time.monotonic()
        subprocess.run([*command, "--refit", "yes", *flags], check=True, capture_output=True)
        return time.monotonic() - began, pd.read_csv(folder / name / "backtest.csv.gz")

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        together, forecasts = run("together", table, benchmark.refits)
        each = [
            run(f"alone-{back}", table.iloc[: len(table) - back * WEEK], 1)
            for back in reversed(range(benchmark.refits))
        ]
    separate = sum(seconds for seconds, _ in each)
    alone = pd.concat([frame for _, frame in each], ignore_index=True)
    mae = [float((frame["lstm"] - frame["y"]).abs().mean()) for frame in (forecasts, alone)]
    print(f"{benchmark.refits} refits as one population: {together:.1f} s; as separate runs: {separate:.1f} s")
    ratio, names = together / separate, ("together", "separate")
    print(f"  ratio {ratio:.3f}; MAE {mae[0]:.4f} and {mae[1]:.4f} GW")
    seconds = dict(zip(names, (together, separate), strict=True))
    return seconds | {"ratio": ratio, "mae together": mae[0], "mae separate": mae[1]}


def time_cutoffs(table: pd.DataFrame, benchmark: Benchmark) -> dict[str, float]:
    """Time of the forecasts of many cutoffs by one model, and of one batch of the same windows."""
    config = RunConfig().replace(RECIPE | {"train.max_steps": 50, "data.val_size": WEEK})
    panel = panel_from_table(table, config.data)
    plan = make_plan(config, panel, BacktestConfig(n_windows=benchmark.cutoffs, step_size=24))
    (fitted,) = members = train_refits(plan, None, None)
    windows, _ = windows_at(plan.rows)

    def batch() -> Any:
        return forecast_values(fitted, None, panel, windows, fitted.selected)

    def batch_in_table() -> Any:
        return forecast_frame(panel, windows, {"lstm": batch()[0]}, cutoff=True)

    ways: dict[str, Callable[[], Any]] = {
        "backtest": lambda: evaluate_backtest(plan, members, None),
        "batch": batch,
        "batch in a table": batch_in_table,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(benchmark.turns + 1):
        for name, way in ways.items():
            began = time.monotonic()
            way()
            if turn:  # the first compiles
                seconds[name].append(time.monotonic() - began)
    found = {name: statistics.median(each) for name, each in seconds.items()}
    print(f"{benchmark.cutoffs} cutoffs by one model: {1e3 * found['backtest']:.1f} ms", end="")
    for name in ("batch", "batch in a table"):
        found[f"ratio to {name}"] = statistics.median(
            ours / theirs for ours, theirs in zip(seconds["backtest"], seconds[name], strict=True)
        )
        print(f"; {name} {1e3 * found[name]:.1f} ms, ratio {found[f'ratio to {name}']:.3f}", end="")
    print()
    return found


if __name__ == "__main__":
    configure_devices()
    main(tyro.cli(Benchmark, description=__doc__))
