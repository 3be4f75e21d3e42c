"""Tables of metrics as text, for terminals and pipes."""

import io
import math
import re
from collections.abc import Mapping, Sequence

import rich.box
import rich.console
import rich.table

from lstmjax.evaluation.intervals import level_name
from lstmjax.evaluation.metrics import METRICS, Metric
from lstmjax.evaluation.probabilistic import INTERVAL_METRICS, QUANTILE_METRICS, QuantileMetric

# Names, a rule of hyphens, numbers: no line drawing that a pipe or a log could garble.
_BOX = rich.box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def render_metrics(
    metrics: Mapping[str, Mapping[str, float]],
    scaled: Mapping[str, Mapping[str, float]] | None = None,
    *,
    unit: str | None = None,
) -> str:
    """Writes metrics as text: one row per model, one column per metric, numbers aligned at the decimal point.

    Args:
        metrics: ``{model: {"mse": ..., "mae": ...}}`` in original units; metrics that no model has get no column.
        scaled: the same in scaled units, for columns of their own after the others.
        unit: unit of the series, for the headings of the metrics that have one.

    Returns:
        The table, one line per model below the headings and a rule, ending in a newline.

    >>> print(render_metrics({"lstm": {"mae": 0.25, "mase": 0.7}, "naive": {"mae": 11.5, "mase": 3.0}}, unit="GW"))
            MAE (GW)     MASE
    -------------------------
    lstm      0.2500   0.7000
    naive    11.5000   3.0000
    <BLANKLINE>
    """
    known: dict[str, Metric | QuantileMetric] = {**METRICS, **QUANTILE_METRICS}
    columns = [(metric.heading + _unit(metric.unit, unit), metrics, name) for name, metric in known.items()]
    columns += [(f"{metric.heading} (scaled)", scaled or {}, name) for name, metric in METRICS.items()]
    columns = [column for column in columns if any(column[2] in values for values in column[1].values())]

    found = {
        heading: _format([rows.get(model, {}).get(name, math.nan) for model in metrics])
        for heading, rows, name in columns
    }
    return _as_text(list(metrics), found)


def render_intervals(metrics: Mapping[str, Mapping[str, float]], *, unit: str | None = None) -> str:
    """Writes the metrics of intervals as text: one row per level and model, the nominal coverage beside the measured.

    Args:
        metrics: as in `render_metrics`, with ``coverage-80``, ``width-80`` and so on.
        unit: unit of the series, for the headings of the metrics that have one.

    Returns:
        The table; empty where there are no intervals.

    >>> found = {"coverage-80": 0.75, "width-80": 2.5, "interval_score-80": 4.0}
    >>> print(render_intervals({"lstm": found}, unit="GW"))
           nominal   coverage   mean width (GW)   interval score (GW)
    -----------------------------------------------------------------
    lstm    0.8000     0.7500             2.500                 4.000
    <BLANKLINE>
    """
    names = dict.fromkeys(name for found in metrics.values() for name in found)
    levels = [float(match[1]) for name in names if (match := re.fullmatch(r"coverage-([0-9.e-]+)", name))]
    if not levels:
        return ""
    rows = [(level, model) for level in levels for model in metrics]
    columns = {"nominal": _format([level / 100 for level, _ in rows])}
    for name, metric in INTERVAL_METRICS.items():
        values = [metrics[model].get(level_name(name, level), math.nan) for level, model in rows]
        columns[metric.heading + _unit(metric.unit, unit)] = _format(values)
    return _as_text([model for _, model in rows], columns)


def _unit(of_metric: str | None, unit: str | None) -> str:
    return f" ({of_metric.format(unit=unit)})" if unit and of_metric else ""


def _as_text(names: Sequence[str], columns: Mapping[str, Sequence[str]]) -> str:
    """A table of names and numbers as lines, the columns by their headings."""
    table = rich.table.Table("", box=_BOX, show_edge=False, pad_edge=False, header_style="")
    for heading in columns:
        table.add_column(heading, justify="right")
    for name, *row in zip(names, *columns.values(), strict=True):
        table.add_row(name, *row)
    text = io.StringIO()
    rich.console.Console(file=text, width=1000, color_system=None, markup=False, emoji=False).print(table)
    return "".join(line.rstrip() + "\n" for line in text.getvalue().splitlines())


def _format(values: Sequence[float]) -> list[str]:
    """Formats numbers with equally many decimals, so that the smallest has four digits; a dash for NaN.

    Where that would take more than six decimals, small numbers are written with a power of ten.
    """
    sizes = [abs(value) for value in values if math.isfinite(value) and value]
    decimals = min(6, max(0, 3 - math.floor(math.log10(min(sizes))))) if sizes else 4
    small = 10.0 ** (3 - decimals)
    return [
        "-" if math.isnan(value) else f"{value:.3e}" if 0 < abs(value) < small else f"{value:.{decimals}f}"
        for value in values
    ]
