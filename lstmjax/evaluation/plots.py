"""Plots of a run: its learning curve, its forecasts next to the truth, and its forecasts of the future.

Figures are made without pyplot: no window opens and no global state changes. `save` writes a file whole or not at all,
and the same bytes for the same figure.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lstmjax.storage.files import replace_file

INK, GREY, FAINT = "#22303c", "#6b7785", "#e6e9ec"
ACCENT, _HORIZON = "#d1495b", "#f6f2ea"
_BASELINES = ("#7f9bb3", "#c2a14d", "#8fae8b", "#a78bb0")
_TIMES = ["%Y", "%b %Y", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S"]  # labels of ticks at years, months, days, ...
_WIDTH = 9.0  # inches
_FEW = 16  # up to this many steps, points are marked: a line through one point is invisible


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
    """

    history_time: pd.Index
    history: Float[np.ndarray, " L"]
    time: pd.Index
    forecast: Float[np.ndarray, " H"]
    truth: Float[np.ndarray, " H"] | None = None
    baselines: Mapping[str, Float[np.ndarray, " H"]] = field(default_factory=dict)
    title: str = ""


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
        windows: the forecasts; at least one.
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
    figure, axes = blank_figure(len(windows), height=2.1)
    for axis, window in zip(axes, windows, strict=True):
        _draw_window(axis, window, model)
        axis.set_ylabel(f"{value} ({unit})" if unit else value, color=GREY)
    figure.align_ylabels(axes)
    _legend(figure, axes, title)
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
    steps = np.array([check["step"] for check in checks])
    for name, label, color in (("train_loss", "training", GREY), ("val_loss", "validation", ACCENT)):
        losses = np.array([check.get(name, np.nan) for check in checks], dtype=float)  # None becomes NaN
        losses[~np.isfinite(losses)] = np.nan
        if np.isnan(losses).all():
            continue
        axis.plot(steps, losses, color=color, linewidth=1.6, label=label, **_markers(len(steps)))
        if name == "val_loss" and best_step is not None and best_step in steps:
            _mark_best(axis, best_step, losses[steps == best_step][0], last_step=int(steps[-1]))
    axis.set_xlabel("step", color=GREY)
    axis.set_ylabel(f"{loss} (scaled units)", color=GREY)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure, [axis], title)
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Writes a figure as PNG, whole or not at all.

    Args:
        figure: equal figures give equal bytes.
        path: of the file; an existing file is replaced.
    """
    replace_file(Path(path), lambda file: figure.savefig(file, format="png", dpi=150, metadata={"Software": None}))


def blank_figure(panels: int, *, height: float) -> tuple[Figure, list[Axes]]:
    """Makes a figure of panels one below the other, with room for a title and a legend above them.

    Args:
        panels: number of panels.
        height: of each panel, in inches.
    """
    figure = Figure(figsize=(_WIDTH, height * panels + 0.9), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(panels, 1, squeeze=False)[:, 0])
    for axis in axes:
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.spines["bottom"].set_color(FAINT)
        axis.grid(axis="y", color=FAINT, linewidth=0.8)
        axis.set_axisbelow(True)
        axis.tick_params(colors=GREY, length=0, labelsize=9)
        axis.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    return figure, axes


def _draw_window(axis: Axes, window: ForecastWindow, model: str) -> None:
    history_time, time = _numbers(axis, window.history_time), _numbers(axis, window.time)
    horizon = len(time)
    known_time, known = history_time, window.history
    if window.truth is not None:
        known_time, known = np.concatenate([history_time, time]), np.concatenate([known, window.truth])
    axis.axvspan(history_time[-1], time[-1], color=_HORIZON, linewidth=0, zorder=0)
    axis.plot(known_time, known, color=INK, linewidth=1.3, label="observed", **_markers(len(known)))
    for (name, values), color in zip(window.baselines.items(), itertools.cycle(_BASELINES), strict=False):
        axis.plot(time, values, color=color, linewidth=1.2, label=name.replace("_", " "), **_markers(horizon))
    axis.plot(time, window.forecast, color=ACCENT, linewidth=1.8, label=f"{model} forecast", **_markers(horizon))
    axis.margins(x=0.005)
    axis.set_title(window.title, loc="left", fontsize=10, color=INK)
    axis.set_title(_years(window), loc="right", fontsize=9, color=GREY)


def _numbers(axis: Axes, times: pd.Index) -> np.ndarray:
    """Turns times into matplotlib's numbers, and sets the labels of the axis: on the wall clock of a time zone."""
    if not isinstance(times, pd.DatetimeIndex):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        return times.to_numpy()
    locator = AutoDateLocator(tz=times.tz, minticks=4, maxticks=12)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(
        ConciseDateFormatter(
            locator, tz=times.tz, formats=_TIMES, zero_formats=["", *_TIMES[1:3], *_TIMES[2:5]], show_offset=False
        )
    )
    plain = times.tz_convert("UTC").tz_localize(None) if times.tz is not None else times
    return date2num(plain.to_numpy())


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
        (step, loss),
        (8 if early else -8, 12),
        textcoords="offset points",
        ha="left" if early else "right",
        fontsize=9,
        color=INK,
    )


def _legend(figure: Figure, axes: Sequence[Axes], title: str) -> None:
    """Adds the title and, below it, one legend for all panels; labels that several panels share occur once."""
    entries = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    legend = figure.legend(
        list(entries.values()),
        list(entries),
        title=title or None,
        title_fontproperties={"size": 13, "weight": "bold"},
        alignment="left",
        loc="outside upper left",
        ncols=max(1, len(entries)),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=1.6,
    )
    legend.get_title().set_color(INK)
