"""Plots of how good intervals and quantiles are: their calibration, and error and width by the step ahead."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lstmjax.evaluation.figure import ACCENT, GREY, OTHERS, blank_figure, legend, plain
from lstmjax.evaluation.intervals import Asked, level_name

_FEW = 16  # up to this many steps, points are marked
_STYLES = ("-", "--", ":", "-.")


def calibration(
    frequencies: Mapping[str, Float[np.ndarray, " K"]], probabilities: Sequence[float], *, title: str = ""
) -> Figure:
    """Draws the reliability of quantiles, and the histogram of the PIT beside it.

    The probability integral transform (PIT) is the place of a truth in its forecast distribution. Its histogram has a
    bar between each two quantiles, whose area is the fraction of truths that lie there: flat where forecasts are
    calibrated, hollow where they are too wide, high at the ends where they are too narrow.

    Args:
        frequencies: from `lstmjax.evaluation.probabilistic.frequencies`, by the name of each model, the first the one
            that is judged.
        probabilities: of the K quantiles, ascending.
        title: heading of the figure.

    Returns:
        The figure, for `save` or a notebook.

    Raises:
        ValueError: no quantiles.

    References:
        Gneiting, Balabdaoui, Raftery: Probabilistic forecasts, calibration and sharpness,
        https://doi.org/10.1111/j.1467-9868.2007.00587.x
    """
    if not len(probabilities):
        raise ValueError("probabilities is empty: expected at least one quantile")
    figure, axes = blank_figure(2, height=3.9, columns=2)
    axes[0].plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), label="calibrated")
    for (name, measured), color in zip(frequencies.items(), _colors(), strict=False):
        label = plain(name.replace("_", " "))
        axes[0].plot(probabilities, measured, color=color, linewidth=1.5, marker="o", markersize=4, label=label)
        _draw_histogram(axes[1], np.asarray(probabilities), measured, color, first=color == ACCENT)
    axes[0].set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), yticks=np.linspace(0, 1, 6))
    axes[0].set_xlabel("probability of the quantile", color=GREY)
    axes[0].set_ylabel("truths at or below it", color=GREY)
    axes[1].axhline(1.0, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    axes[1].set(xlim=(-0.02, 1.02))
    axes[1].set_ylim(bottom=0)
    axes[1].set_xlabel("place in the forecast distribution (PIT)", color=GREY)
    axes[1].set_ylabel("density of truths", color=GREY)
    legend(figure, axes, title)
    return figure


def by_horizon(metrics: pd.DataFrame, asked: Asked, *, unit: str | None = None, title: str = "") -> Figure:
    """Draws errors, and of intervals width and coverage, by the step ahead, one panel each.

    Args:
        metrics: `lstmjax.evaluation.table.metrics_by_group` by horizon: ``key`` (the step), ``model``, ``mae``,
            ``crps``, and by level ``width-80``, ``coverage-80`` and so on. The first model is the one that is judged.
        asked: the intervals and quantiles.
        unit: of the series, if known.
        title: heading of the figure.

    Returns:
        The figure, for `save` or a notebook.

    Raises:
        ValueError: no metrics.
    """
    if not len(metrics):
        raise ValueError("metrics is empty: expected at least one step")
    of_unit = f" ({unit})" if unit else ""
    levels = list(asked.intervals)
    panels = {f"MAE{of_unit}": ["mae"], f"CRPS{of_unit}": ["crps"]}
    if levels:
        panels[f"mean width{of_unit}"] = [level_name("width", level) for level in levels]
        panels["coverage"] = [level_name("coverage", level) for level in levels]
    figure, axes = blank_figure(len(panels), height=1.9)
    for axis, (label, names) in zip(axes, panels.items(), strict=True):
        for (model, rows), color in zip(metrics.groupby("model", sort=False), _colors(), strict=False):
            label_of = itertools.chain(
                [plain(str(model).replace("_", " "))], itertools.repeat("_")
            )  # of the first only
            for name, style, shown in zip(names, itertools.cycle(_STYLES), label_of, strict=False):
                _draw_steps(axis, rows, name, color=color, linestyle=style, label=shown)
        axis.set_ylabel(plain(label, limit=24), color=GREY)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if label == "coverage":
            for level in levels:
                axis.axhline(level / 100, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)))
        else:
            axis.set_ylim(bottom=0)
    for level, style in zip(levels if len(levels) > 1 else (), itertools.cycle(_STYLES), strict=False):
        axes[-1].plot([], [], color=GREY, linestyle=style, label=f"level {level:g}")
    axes[-1].set_xlabel("steps ahead", color=GREY)
    figure.align_ylabels(axes)
    legend(figure, axes, title)
    return figure


def _draw_steps(axis: Axes, rows: pd.DataFrame, name: str, **style: Any) -> None:
    marker = "o" if len(rows) <= _FEW else ""
    axis.plot(
        rows["key"].to_numpy(int), rows[name].to_numpy(float), linewidth=1.5, marker=marker, markersize=3.5, **style
    )
    axis.margins(x=0.01)


def _draw_histogram(axis: Axes, probabilities: np.ndarray, measured: np.ndarray, color: str, *, first: bool) -> None:
    """Draws the density of truths between each two quantiles: bars for the model, lines for the others."""
    edges = np.concatenate([[0.0], probabilities, [1.0]])
    density = np.diff(np.concatenate([[0.0], measured, [1.0]])) / np.diff(edges)
    if first:
        axis.bar(edges[:-1], density, np.diff(edges), align="edge", color=color, alpha=0.45, edgecolor="white")
    else:
        axis.stairs(density, edges, color=color, linewidth=1.2, baseline=None)


def _colors() -> itertools.chain[str]:
    """That of the model, then those of the baselines."""
    return itertools.chain([ACCENT], itertools.cycle(OTHERS))
