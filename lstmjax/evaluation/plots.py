"""Plots of a run: its learning curve, its forecasts next to the truth, and its forecasts of the future."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lstmjax.evaluation.figure import (
    ACCENT,
    GREY,
    INK,
    OTHERS,
    blank_figure,
    legend,
    plain,
    shades,
    ticks_at,
    time_axis,
)
from lstmjax.evaluation.figure import save as save

_HORIZON = "#f6f2ea"
_FEW = 16  # up to this many steps, points are marked: a line through one point is invisible
_MOST = 48  # panels in a picture


@dataclass(frozen=True)
class ForecastWindow:
    """One forecast with its history and the truth, in original units. Times are timestamps or whole numbers.

    Attributes:
        history_time: times of the L rows before the cut-off, the last of them the cut-off itself.
        history: their values, shape (L,); NaN where missing.
        time: times of the H rows of the horizon.
        forecast: the model's forecast, shape (H,).
        truth: the true values, shape (H,), NaN where missing; None after the end of the data.
        baselines: other forecasts by name, each of shape (H,).
        title: e.g. the name of the series.
        value: name of the target; that of the picture if it is empty.
        members: the forecasts of the members whose mean ``forecast`` is, shape (K, H); None where it is of one.
        bands: lower and upper end, (H,) each, of intervals by level in percent, the widest first.
    """

    history_time: pd.Index
    history: Float[np.ndarray, " L"]
    time: pd.Index
    forecast: Float[np.ndarray, " H"]
    truth: Float[np.ndarray, " H"] | None = None
    baselines: Mapping[str, Float[np.ndarray, " H"]] = field(default_factory=dict)
    title: str = ""
    value: str = ""
    members: Float[np.ndarray, "K H"] | None = None
    bands: Mapping[float, tuple[Float[np.ndarray, " H"], Float[np.ndarray, " H"]]] = field(default_factory=dict)


def forecasts(
    windows: Sequence[ForecastWindow],
    *,
    model: str = "lstm",
    value: str = "y",
    unit: str | None = None,
    title: str = "",
) -> Figure:
    """Draws forecasts with the history before them, one panel per window, one below the other.

    Args:
        windows: the forecasts; at least one. Of very many the first are drawn, and the title says so.
        model: name of the model, for the legend.
        value: name of the target, for the axes.
        unit: its unit, if known.
        title: heading of the figure.

    Returns:
        The figure, for `save` or a notebook.

    Raises:
        ValueError: no windows.
    """
    if not windows:
        raise ValueError("windows is empty: expected at least one forecast to draw")
    shown = windows[:_MOST]
    if len(shown) < len(windows):
        title = f"{title} (the first {len(shown)} of {len(windows)} panels)".lstrip()
    figure, axes = blank_figure(len(shown), height=2.1)
    for axis, window in zip(axes, shown, strict=True):
        _draw_window(axis, window, plain(model))
        name = window.value or value
        axis.set_ylabel(plain(f"{name} ({unit})" if unit else name, limit=24), color=GREY)
    figure.align_ylabels(axes)
    legend(figure, axes, title, [Patch(facecolor=_HORIZON, label="horizon")])
    return figure


def learning_curve(
    checks: Sequence[Mapping[str, Any]], *, best_step: int | None = None, loss: str = "loss", title: str = ""
) -> Figure:
    """Draws the training and validation loss by step.

    Args:
        checks: one mapping per validation check, as in the lines of ``metrics.jsonl``: ``step``, ``train_loss`` and,
            where rows were held out, ``val_loss``. Losses that are missing or not finite leave a gap.
        best_step: the step whose weights were kept, which is marked.
        loss: name of the loss, for the axis.
        title: heading of the figure.

    Returns:
        The figure, for `save` or a notebook.

    Raises:
        ValueError: no checks.
    """
    if not checks:
        raise ValueError("checks is empty: expected at least one validation check to draw")
    figure, (axis,) = blank_figure(1, height=3.6)
    for name, label, color in (("train_loss", "training", GREY), ("val_loss", "validation", ACCENT)):
        steps, losses = _losses(checks, name)
        if np.isnan(losses).all():
            continue
        axis.plot(steps, losses, color=color, linewidth=1.6, label=label, **_markers(len(steps)))
        if name == "val_loss" and best_step is not None and best_step in steps:
            _mark_best(axis, best_step, losses[steps == best_step][0], last_step=int(steps[-1]))
    _label_losses(axis, [int(check["step"]) for check in checks], loss)
    legend(figure, [axis], title)
    return figure


def learning_curves(
    members: Mapping[str, Sequence[Mapping[str, Any]]], *, loss: str = "loss", title: str = ""
) -> Figure:
    """Draws the losses of several members in one picture: the validation loss, or the training loss where none is.

    Args:
        members: the checks of each, as for `learning_curve`, by the member's name.
        loss: name of the loss, for the axis.
        title: heading of the figure.

    Raises:
        ValueError: no checks.
    """
    known = {name: checks for name, checks in members.items() if checks}
    if not known:
        raise ValueError("members is empty: expected at least one validation check to draw")
    figure, (axis,) = blank_figure(1, height=3.6)
    validated = any(not np.isnan(_losses(checks, "val_loss")[1]).all() for checks in known.values())
    for number, (name, checks) in enumerate(known.items()):
        steps, losses = _losses(checks, "val_loss" if validated else "train_loss")
        color = (ACCENT, INK, *OTHERS)[number % 6]
        style: dict[str, Any] = {"linestyle": ("-", "--", ":")[number // 6 % 3], **_markers(len(steps))}
        axis.plot(steps, losses, color=color, linewidth=1.2, label=plain(name), **style)
    _label_losses(axis, sorted({int(check["step"]) for checks in known.values() for check in checks}), loss)
    kind = "validation" if validated else "training"
    axis.set_ylabel(f"{kind} {axis.get_ylabel()}", color=GREY)
    legend(figure, [axis], title)
    return figure


def _draw_window(axis: Axes, window: ForecastWindow, model: str) -> None:
    history_time, time = time_axis(axis, window.history_time), time_axis(axis, window.time)
    markers = _markers(len(time))
    known_time, known = history_time, window.history
    if window.truth is not None:
        known_time, known = np.concatenate([history_time, time]), np.concatenate([known, window.truth])
    axis.axvspan(history_time[-1], time[-1], color=_HORIZON, linewidth=0, zorder=0)
    axis.plot(known_time, known, color=INK, linewidth=1.3, label="observed", **_markers(len(known)))
    for (name, values), color in zip(window.baselines.items(), itertools.cycle(OTHERS), strict=False):
        label = plain(name.replace("_", " "))
        axis.plot(time, values, color=color, linewidth=1.2, label=label, zorder=1.9, **markers)  # below the truth
    for values in () if window.members is None else window.members:
        axis.plot(time, values, color=ACCENT, linewidth=0.7, alpha=0.4, label="each member")
    axis.plot(time, window.forecast, color=ACCENT, linewidth=1.8, label=f"{model} forecast", **markers)
    for (level, (lower, upper)), color in zip(window.bands.items(), shades(len(window.bands)), strict=True):
        if len(time) > 1:
            axis.fill_between(time, lower, upper, color=color, linewidth=0, label=f"{level:g}%", zorder=1.5)
        else:  # a single step has no area
            axis.vlines(time, lower, upper, color=color, linewidth=7, label=f"{level:g}%", zorder=1.5)
    axis.margins(x=0.005)
    axis.set_title(plain(window.title, limit=80), loc="left", fontsize=10, color=INK)
    axis.set_title(_years(window), loc="right", fontsize=9, color=GREY)


def _years(window: ForecastWindow) -> str:
    """Returns the year or years of the axis, which its labels leave out."""
    if not isinstance(window.time, pd.DatetimeIndex):
        return ""
    first, last = window.history_time[0].year, window.time[-1].year
    return f"{first}" if first == last else f"{first}–{last}"


def _markers(points: int) -> dict[str, Any]:
    return {"marker": "o", "markersize": 3.5} if points <= _FEW else {}


def _mark_best(axis: Axes, step: int, loss: float, *, last_step: int) -> None:
    """Draws a line and a dot at the step of the kept weights, with the loss written on the side that has room."""
    early = step < last_step / 2
    axis.axvline(step, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axis.plot([step], [loss], marker="o", markersize=7, color=ACCENT, markeredgecolor="white", linestyle="none")
    axis.annotate(
        f"best: {loss:.4g} at step {step}",
        (step, 1.0),
        (8 if early else -8, -4),
        xycoords=axis.get_xaxis_transform(),  # at the top, where the line has no curve beside it
        textcoords="offset points",
        ha="left" if early else "right",
        va="top",
        fontsize=9,
        color=INK,
    )


def _losses(checks: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps of checks and a loss at each; NaN where it is missing or not finite."""
    losses = np.array([check.get(name, np.nan) for check in checks], dtype=float)  # None becomes NaN
    losses[~np.isfinite(losses)] = np.nan
    return np.array([check["step"] for check in checks]), losses


def _label_losses(axis: Axes, steps: Sequence[int], loss: str) -> None:
    """Labels the axes of a learning curve, with ticks at checks."""
    axis.set_xlabel("step", color=GREY)
    axis.set_ylabel(f"{loss} (scaled units)", color=GREY)
    ticks_at(axis, steps)
