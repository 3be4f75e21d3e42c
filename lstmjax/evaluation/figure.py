"""Figures: their size, colours, legend and names, and how they are written.

Figures are made without pyplot: no window opens and no global state changes. `save` writes a file whole or not at all,
and the same bytes for the same figure.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, MaxNLocator

from lstmjax.errors import one_line
from lstmjax.storage.files import replace_file

INK, GREY, FAINT = "#22303c", "#6b7785", "#e6e9ec"
ACCENT = "#d1495b"
_WIDTH = 9.0  # inches


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


def ticks_at(axis: Axes, steps: Sequence[int]) -> None:
    """Sets the ticks of a learning curve to validation checks, the last among them; to about ten of many.

    Args:
        axis: with steps from left to right.
        steps: of the checks, in order.
    """
    every = -(-len(steps) // 10)
    axis.xaxis.set_major_locator(FixedLocator(steps[::-1][::every]))


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
    room = max(1, int(_WIDTH * 14 / max(map(len, entries), default=1)))  # as many beside each other as fit
    drawn = figure.legend(
        list(entries.values()),
        list(entries),
        title=plain(title, limit=80) or None,
        title_fontproperties={"size": 13, "weight": "bold"},
        alignment="left",
        loc="outside upper left",
        ncols=max(1, min(len(entries), room)),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=1.6,
    )
    drawn.get_title().set_color(INK)


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
