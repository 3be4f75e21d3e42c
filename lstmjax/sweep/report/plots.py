"""Plots of a sweep: its history, which settings were good, which options mattered, how its members learned."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from optuna.distributions import CategoricalDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from lstmjax.evaluation.figure import ACCENT, FAINT, GREY, INK, blank_figure, legend, plain, ticks_at
from lstmjax.sweep.report.table import best_trial
from lstmjax.sweep.study.quiet_optuna import quiet_optuna

_SHADES = LinearSegmentedColormap.from_list("sweep", [ACCENT, "#d9b08c", "#c9d1d8"])  # the best stands out
_PALE = "#b9c2ca"
_FEW = 3  # trials with a value that a plot needs
_FOR_IMPORTANCE = 8  # trials with a value that importance needs; with fewer it would be noise


def draw(trials: Sequence[FrozenTrial], metric: str) -> dict[str, Figure]:
    """All plots for which there are enough trials, by name.

    Args:
        trials: finished ones.
        metric: what they are ranked by.
    """
    valued = [trial for trial in trials if trial.value is not None and np.isfinite(trial.value)]
    if len(valued) < _FEW:
        return {}
    drawn = {
        "history": history(valued, metric),
        "parallel_coordinates": parallel_coordinates(valued, metric),
        "importance": importance(valued),
        "learning_curves": learning_curves(trials, metric),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def history(trials: Sequence[FrozenTrial], metric: str) -> Figure:
    """The value of each trial by number, and the best complete one so far.

    Args:
        trials: those with a value.
        metric: what they are ranked by.
    """
    figure, (axis,) = blank_figure(1, height=3.6)
    states = (TrialState.PRUNED, TrialState.COMPLETE)
    pruned, complete = ({t.number: _value(t) for t in trials if t.state == state} for state in states)
    for shown, color, label in ((pruned, _PALE, "pruned"), (complete, INK, "complete")):
        axis.plot(list(shown), list(shown.values()), "o", color=color, markersize=4, label=label)
    if complete:
        best = np.minimum.accumulate(list(complete.values()))
        axis.step([*complete, trials[-1].number], [*best, best[-1]], where="post", color=ACCENT, label="best so far")
    _finish(figure, axis, [_value(trial) for trial in trials], "trial", metric)
    return figure


def parallel_coordinates(trials: Sequence[FrozenTrial], metric: str) -> Figure | None:
    """One line per trial through its parameters, coloured by rank; None if there are fewer than two parameters.

    Args:
        trials: those with a value.
        metric: what they are ranked by.
    """
    names = sorted({name for trial in trials for name in trial.params})
    if len(names) < 2:
        return None
    axes_of = {name: _scale(name, trials) for name in names}
    figure, (axis,) = blank_figure(1, height=4.2)
    order = sorted(trials, key=_value, reverse=True)  # the best on top
    shade = Normalize(0, max(1, len(order) - 1))
    for rank, trial in enumerate(reversed(order)):
        # An option that does not belong to the trial leaves a gap.
        heights = [axes_of[name][0](trial.params[name]) if name in trial.params else np.nan for name in names]
        width = 2.2 if rank == 0 else 0.9
        color = _SHADES(shade(rank))
        axis.plot(range(len(names)), heights, color=color, linewidth=width, alpha=0.9, zorder=len(order) - rank)
    for position, name in enumerate(names):
        axis.axvline(position, color=FAINT, zorder=0)
        for height, text in axes_of[name][1]:
            label = axis.annotate(text, (position, height), (4, 0), textcoords="offset points", fontsize=8, color=GREY)
            label.set(zorder=len(order) + 1, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1})
    axis.set_xticks(range(len(names)), [name.replace(".", ".\n") + axes_of[name][2] for name in names])
    axis.set_yticks([])
    axis.grid(visible=False)
    axis.set_ylim(-0.04, 1.04)
    figure.suptitle(f"best {metric} in red", x=0.01, ha="left", fontsize=10, color=INK)
    return figure


def importance(trials: Sequence[FrozenTrial]) -> Figure | None:
    """How much each option decides which trials are among the best; None if the trials are too few to compute it.

    Pruned trials count with the value that they had when they were pruned: they were not among the best.

    Args:
        trials: those with a value.

    References:
        Watanabe, Bansal and Hutter, `PED-ANOVA <https://arxiv.org/abs/2304.10255>`_, 2023
    """
    if len(trials) < _FOR_IMPORTANCE:
        return None
    create = optuna.trial.create_trial
    copies = [create(params=t.params, distributions=t.distributions, value=t.value) for t in trials]
    with quiet_optuna():
        study = optuna.create_study()
        study.add_trials(copies)
        try:
            shares = optuna.importance.get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
        except (ValueError, RuntimeError):  # no option that all trials have, or no difference between them
            return None
    names = [name for name, share in reversed(shares.items()) if np.isfinite(share)]  # the greatest share on top
    if not names:
        return None
    figure, (axis,) = blank_figure(1, height=0.8 + 0.35 * len(names))
    axis.barh(names, [shares[name] for name in names], color=ACCENT, height=0.6)
    axis.set_yticks(range(len(names)), names)  # a name for every bar
    axis.grid(visible=False)
    axis.set_xlabel("importance (PED-ANOVA, share of all)", color=GREY)
    return figure


def learning_curves(trials: Sequence[FrozenTrial], metric: str) -> Figure | None:
    """The value of every trial by step, pruned ones included; None if no trial has two values.

    Args:
        trials: finished ones.
        metric: what they are ranked by.
    """
    curves = {trial.number: sorted(trial.intermediate_values.items()) for trial in trials}
    if all(len(curve) < 2 for curve in curves.values()):
        return None
    shown = [trial for trial in trials if curves[trial.number]]
    best = best_trial(shown)
    figure, (axis,) = blank_figure(1, height=3.8)
    for trial in sorted(shown, key=lambda trial: trial is best):
        label = "best" if trial is best else trial.state.name.lower()
        color = {"best": ACCENT, "complete": INK, "pruned": _PALE, "fail": "#c2a14d"}[label]
        steps, values = zip(*curves[trial.number], strict=True)
        marker, width = "o" if len(steps) == 1 else "", 2.2 if trial is best else 0.9
        axis.plot(steps, values, marker=marker, color=color, linewidth=width, label=label, markersize=3)
    points = [point for curve in curves.values() for point in curve]
    _finish(figure, axis, [value for _, value in points], "step", metric)
    ticks_at(axis, sorted({step for step, _ in points}))
    return figure


def _value(trial: FrozenTrial) -> float:
    return np.nan if trial.value is None else trial.value


def _finish(figure: Figure, axis: Axes, values: Sequence[float], across: str, metric: str) -> None:
    """Labels the axes, and ends them where values are far worse than most: one bad setting would flatten all others.

    How many values lie above the end is written beside it.
    """
    known = np.array(values)[np.isfinite(values)]
    low, median = known.min(), np.median(known)
    top = min(known.max(), median + 3 * (median - low) + 1e-12)
    margin = 0.05 * (top - low) or 0.05 * abs(low) or 1.0
    axis.set_ylim(low - margin, top + margin)
    if above := int((known > axis.get_ylim()[1]).sum()):
        note = f"{above} of {len(known)} values lie above {axis.get_ylim()[1]:.4g}, up to {known.max():.4g}"
        axis.set_title(note, loc="right", fontsize=9, color=GREY)
    axis.set_xlabel(across, color=GREY)
    axis.set_ylabel(plain(metric), color=GREY)
    legend(figure, [axis])


def _scale(name: str, trials: Sequence[FrozenTrial]) -> tuple[Callable[[Any], float], list[tuple[float, str]], str]:
    """The height of a parameter's values, between 0 and 1, its labels, and what to add to its name."""
    distribution: Any = next(trial.distributions[name] for trial in trials if name in trial.distributions)
    if isinstance(distribution, CategoricalDistribution):
        last = max(1, len(distribution.choices) - 1)
        heights = {choice: number / last for number, choice in enumerate(distribution.choices)}
        return heights.__getitem__, [(height, plain(choice, limit=16)) for choice, height in heights.items()], ""
    low, high = distribution.low, distribution.high
    height = LogNorm(low, high) if distribution.log else Normalize(low, high)
    powers = LogLocator().tick_values(low, high) if distribution.log else ()
    labelled = [low, *(power for power in powers if 0.05 < height(power) < 0.95), high]
    return height, [(height(value), f"{value:g}") for value in labelled], "\n(log)" if distribution.log else ""
