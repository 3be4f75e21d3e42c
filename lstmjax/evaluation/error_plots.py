"""Plots of errors by what they are grouped by: the step ahead, or the cutoff."""

import pandas as pd
from matplotlib.figure import Figure

from lstmjax.evaluation.figure import ACCENT, GREY, OTHERS, blank_figure, legend, plain, time_axis

_FEW = 16  # up to this many points, each is marked


def error_by(metrics: pd.DataFrame, label: str, *, metric: str = "mae", unit: str | None = None) -> Figure:
    """Draws a metric of every model by the key of its groups, steps or times in ascending order.

    Args:
        metrics: `lstmjax.evaluation.table.metrics_by_group`: ``key``, ``model`` and the metric's column. The first
            model is the one that is judged.
        label: what the keys are.
        metric: column of the metric.
        unit: of the series, if known.

    Returns:
        The figure, for `lstmjax.evaluation.figure.save` or a notebook.

    Raises:
        ValueError: no metrics.
    """
    if not len(metrics):
        raise ValueError("metrics is empty: expected at least one group")
    figure, (axis,) = blank_figure(1, height=2.8)
    times = pd.Index(metrics["key"].unique()).sort_values()
    place = dict(zip(times, time_axis(axis, times), strict=True))
    for number, (model, rows) in enumerate(metrics.groupby("model", sort=False)):
        rows = rows.sort_values("key")
        axis.plot(
            [place[key] for key in rows["key"]],
            rows[metric].to_numpy(float),
            color=OTHERS[(number - 1) % len(OTHERS)] if number else ACCENT,
            linewidth=1.5,
            marker="o" if len(rows) <= _FEW else "",
            markersize=3.5,
            label=plain(str(model).replace("_", " ")),
        )
    axis.set_ylim(bottom=0)
    axis.margins(x=0.01)
    if isinstance(times, pd.DatetimeIndex):
        first, last = times[0].year, times[-1].year
        label += f" ({first})" if first == last else f" ({first}–{last})"
    axis.set_xlabel(label, color=GREY)
    axis.set_ylabel(metric.upper() + (f" ({plain(unit, limit=24)})" if unit else ""), color=GREY)
    legend(figure, [axis])
    return figure
