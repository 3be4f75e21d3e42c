"""Figures: their size, colours, legend and names, and how they are written.

Figures are made without pyplot: no window opens and no global state changes. `save` writes a file whole or not at all,
and the same bytes for the same figure.
"""

import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator

from lstmjax.errors import one_line
from lstmjax.storage.files import replace_file

INK, GREY, FAINT = "#22303c", "#6b7785", "#e6e9ec"
ACCENT = "#d1495b"
OTHERS = ("#7f9bb3", "#c2a14d", "#8fae8b", "#a78bb0")
"""Colours of baselines, and of others beside the first."""
_WIDTH = 9.0  # inches
_TIMES = ["%Y", "%b %Y", "%d %b", "%H:%M", "%H:%M", "%H:%M:%S"]  # labels of ticks at years, months, days, ...


def blank_figure(panels: int, *, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Makes a figure of panels one below the other, with room for a title and a legend above them.

    Args:
        panels: number of panels.
        height: of each panel, in inches.
        columns: panels beside each other.
    """
    rows = -(-panels // columns)
    figure = Figure(figsize=(_WIDTH, height * rows + 0.9), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, columns, squeeze=False).reshape(-1))
    for axis in axes:
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.spines["bottom"].set_color(FAINT)
        axis.grid(axis="y", color=FAINT, linewidth=0.8)
        axis.set_axisbelow(True)
        axis.tick_params(colors=GREY, length=0, labelsize=9)
        axis.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    return figure, axes


def ticks_at(axis: Axes, steps: Sequence[int]) -> None:
    """Sets the ticks of a learning curve to validation checks, the last among them; to about ten of many.

    Args:
        axis: with steps from left to right.
        steps: of the checks, in order.
    """
    every = -(-len(steps) // 10)
    axis.xaxis.set_major_locator(FixedLocator(steps[::-1][::every]))


def shades(count: int) -> list[str]:
    """Tints of the accent colour, from light to dark, for areas that lie on each other.

    Args:
        count: how many.
    """
    light = np.linspace(0.78, 0.48, count)[:, None]
    return [to_hex(color) for color in np.array(to_rgb(ACCENT)) * (1 - light) + light]


def time_axis(axis: Axes, times: pd.Index) -> np.ndarray:
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


def legend(figure: Figure, axes: Sequence[Axes], title: str = "", more: Sequence[Patch] = ()) -> None:
    """Adds the title and, below it, one legend for all panels; labels that several panels share occur once.

    Args:
        figure: from `blank_figure`.
        axes: its panels.
        title: heading of the figure.
        more: entries that are no lines of a panel.
    """
    lines = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    entries = lines | {str(patch.get_label()): patch for patch in more}
    room = max(1, min(len(entries), int(_WIDTH * 14 / max(map(len, entries), default=1))))
    while room > 1 and _row_of_legend(list(entries), room) > _WIDTH * 13:  # as many beside each other as fit
        room -= 1
    drawn = figure.legend(
        list(entries.values()),
        list(entries),
        title=plain(title, limit=80) or None,
        title_fontproperties={"size": 13, "weight": "bold"},
        alignment="left",
        loc="outside upper left",
        ncols=room,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=1.6,
    )
    drawn.get_title().set_color(INK)


def _row_of_legend(labels: Sequence[str], columns: int) -> int:
    """About how many letters wide a legend is, which is filled column by column; a line takes as much as eight."""
    rows, longer = divmod(len(labels), columns)
    sizes = [rows + (column < longer) for column in range(columns)]
    ends = itertools.accumulate(sizes)
    return sum(8 + max(map(len, labels[end - size : end]), default=0) for end, size in zip(ends, sizes, strict=True))


def plain(text: object, limit: int = 40) -> str:
    r"""A name of the user's as a picture shows it: in one line, as long as there is room, and never as a formula.

    Args:
        text: the name.
        limit: characters at most; of a longer name the middle is left out.

    >>> plain("cost in $ and €")
    'cost in \\$ and €'
    """
    line = one_line(text, limit).replace("$", r"\$")  # which matplotlib draws as a dollar sign
    return f" {line}" if line.startswith("_") else line  # matplotlib leaves _names out of a legend


def save(figure: Figure, path: str | Path) -> None:
    """Writes a figure as PNG, whole or not at all.

    Args:
        figure: equal figures give equal bytes.
        path: of the file; an existing file is replaced.
    """

    def write(file: IO[bytes]) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a box stands in its place
            figure.savefig(file, format="png", dpi=150, metadata={"Software": None})

    replace_file(Path(path), write)
