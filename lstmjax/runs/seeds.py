"""What several seeds leave together: the table of their metrics, their mean forecast, and its pictures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from lstmjax.forecaster.ensemble import Ensemble
from lstmjax.forecaster.predict import wanted
from lstmjax.runs.decoration import decoration
from lstmjax.runs.directory import RunDirectory
from lstmjax.runs.job import Job
from lstmjax.runs.outputs import Outputs
from lstmjax.runs.pictures import draw_forecasts, draw_learning_curve
from lstmjax.runs.table_file import write_table

TABLE_FILE = "seeds.csv"

_COUNTS = ("best_step", "steps")
"""Columns that count steps."""


def write_seeds(
    run: RunDirectory,
    job: Job,
    outputs: Mapping[int, Outputs],
    members: Sequence[RunDirectory],
    say: Callable[[str], None],
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Writes metrics.json, seeds.csv, the mean forecast, and the pictures of a run of several seeds.

    Args:
        run: the directory of all seeds.
        job: what was trained.
        outputs: what each seed left, by seed.
        members: the directories of the seeds, in the same order.
        say: where to report.

    Returns:
        What metrics.json and seeds.csv hold.
    """
    every = list(outputs.values())
    table = seeds_table({seed: written.metrics for seed, written in outputs.items()})
    baselines = every[0].metrics.get("baselines", {})
    summary = summarize(table, baselines)
    if run.writes:
        write_table(table.reset_index(), run.path / TABLE_FILE)
    run.write_metrics(summary)
    forecasts = [written.forecast for written in every if written.forecast is not None]
    asked = wanted(every[0].forecaster.fitted)
    if forecasts:
        ensemble = Ensemble([written.forecaster for written in every])
        panels = [job.prepared.panel] * len(every)
        run.write_forecast(ensemble.predict_panels(panels, asked), job.config.outputs.format)
    draw_learning_curve(
        run,
        {f"seed {seed}": member.checks() for seed, member in zip(outputs, members, strict=True)},
        every[0].metrics["best_step"],
        job.config.train.loss,
    )
    for name, (windows, *_) in every[0].pictured.items():
        _, values, bounds = zip(*(written.pictured[name] for written in every), strict=True)
        draw_forecasts(run, name, job.config, job.prepared.panel, windows, values, bounds, asked)
    with decoration("the table of seeds"):
        say(render_seeds(table, baselines))
    return summary, table


def seeds_table(metrics: Mapping[int, Mapping[str, Any]]) -> pd.DataFrame:
    """One row per seed.

    Args:
        metrics: by seed, what its metrics.json holds.
    """
    rows = {seed: found.get("test", {}) | {name: found[name] for name in _COUNTS} for seed, found in metrics.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("seed")


def summarize(table: pd.DataFrame, baselines: dict[str, Any]) -> dict[str, Any]:
    """What metrics.json holds for several seeds.

    Args:
        table: from `seeds_table`.
        baselines: their metrics, which no seed changes.

    Returns:
        ``{"test": {metric: {"mean", "deviation"}}, "baselines", "seeds"}``; deviations have ddof = 1.
    """
    metrics = [name for name in table.columns if name not in _COUNTS]
    spread = {
        name: {"mean": float(table[name].mean()), "deviation": float(table[name].std(ddof=1))} for name in metrics
    }
    return {"test": spread, "baselines": baselines, "seeds": [int(seed) for seed in table.index]}


def render_seeds(table: pd.DataFrame, baselines: Mapping[str, Mapping[str, float]]) -> str:
    """The seeds' metrics as text, with their mean and deviation (ddof = 1) and the baselines below.

    Args:
        table: from `seeds_table`.
        baselines: their metrics by name.

    >>> table = pd.DataFrame({"mae": [1.0, 2.0], "best_step": [10, 20]}, index=[0, 1])
    >>> print(render_seeds(table, {"seasonal_naive": {"mae": 2.5}}), end="")
    seed                   mae   best_step
    0                   1.0000          10
    1                   2.0000          20
    mean                1.5000          15
    deviation           0.7071         7.1
    seasonal_naive      2.5000
    """
    rows = {str(seed): table.loc[seed] for seed in table.index}
    rows |= {"mean": table.mean(), "deviation": table.std(ddof=1)} | {k: pd.Series(v) for k, v in baselines.items()}
    lines = [["seed", *table.columns]]
    lines += [[name, *(_cell(column, row.get(column)) for column in table.columns)] for name, row in rows.items()]
    widths = [max(12, 2 + max(map(len, cells))) for cells in list(zip(*lines, strict=True))[1:]]
    text = (
        f"{name:<14}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        for name, *cells in lines
    )
    return "".join(line.rstrip() + "\n" for line in text)


def _cell(column: str, value: float | None) -> str:
    """A number as text: steps as whole numbers, and what is small with digits that say something."""
    if value is None:
        return ""
    if column in _COUNTS:
        return f"{value:.0f}" if float(value).is_integer() else f"{value:.1f}"
    return f"{value:.4f}" if value == 0 or not abs(value) < 1e-3 else f"{value:.3e}"
