"""The table of a run from several seeds: their metrics, mean and deviation."""

from typing import Any

import pandas as pd

TABLE_FILE = "seeds.csv"

_COUNTS = ("best_step", "steps")
"""Columns that count steps."""


def seeds_table(metrics: dict[int, dict[str, Any]]) -> pd.DataFrame:
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


def render_seeds(table: pd.DataFrame) -> str:
    """The seeds' metrics as text, with their mean and deviation (ddof = 1) below.

    Args:
        table: from `seeds_table`.

    >>> print(render_seeds(pd.DataFrame({"mae": [1.0, 2.0], "best_step": [10, 20]}, index=[0, 1])), end="")
    seed               mae   best_step
    0               1.0000     10.0000
    1               2.0000     20.0000
    mean            1.5000     15.0000
    deviation       0.7071      7.0711
    """
    rows = {str(seed): table.loc[seed] for seed in table.index}
    rows |= {"mean": table.mean(), "deviation": table.std(ddof=1)}
    lines = [["seed", *table.columns]]
    lines += [[name, *(f"{value:.4f}" for value in row)] for name, row in rows.items()]
    return "".join(f"{name:<10}" + "".join(f"{cell:>12}" for cell in cells) + "\n" for name, *cells in lines)
