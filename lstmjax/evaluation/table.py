"""The metrics of a model and its baselines as a table of text, for terminals and pipes alike."""

import io
import math
from collections.abc import Mapping, Sequence

import rich.box
import rich.console
import rich.table

HEADINGS = {"mse": "MSE", "rmse": "RMSE", "mae": "MAE", "smape": "sMAPE", "mase": "MASE"}
"""What the metrics are called in print, in the order of the columns."""

# Names, a rule of hyphens, numbers: no line drawing that a pipe or a log could garble.
_BOX = rich.box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def render_metrics(
    metrics: Mapping[str, Mapping[str, float]],
    scaled: Mapping[str, Mapping[str, float]] | None = None,
    *,
    unit: str | None = None,
) -> str:
    """Models down, metrics across, numbers aligned at the decimal point.

    Args:
        metrics: ``{model: {"mse": ..., "mae": ...}}`` in original units; metrics that no model has get no column.
        scaled: the same in scaled units, for columns of their own behind the others.
        unit: unit of the series, for the headings of the metrics that have one.

    Returns:
        The table, one line a model below the headings and a rule, ending in a newline.

    >>> print(render_metrics({"lstm": {"mae": 0.25, "mase": 0.7}, "naive": {"mae": 11.5, "mase": 3.0}}, unit="GW"))
            MAE (GW)     MASE
    -------------------------
    lstm      0.2500   0.7000
    naive    11.5000   3.0000
    <BLANKLINE>
    """
    units = {"mse": f" ({unit}²)", "rmse": f" ({unit})", "mae": f" ({unit})"} if unit else {}
    columns = [(HEADINGS[name] + units.get(name, ""), metrics, name) for name in HEADINGS]
    columns += [(f"{HEADINGS[name]} (scaled)", scaled or {}, name) for name in HEADINGS]
    columns = [column for column in columns if any(column[2] in values for values in column[1].values())]

    table = rich.table.Table("", box=_BOX, show_edge=False, pad_edge=False, header_style="")
    cells = []
    for heading, rows, name in columns:
        table.add_column(heading, justify="right")
        cells.append(_format([rows.get(model, {}).get(name, math.nan) for model in metrics]))
    for model, *row in zip(metrics, *cells, strict=True):
        table.add_row(model, *row)

    text = io.StringIO()
    rich.console.Console(file=text, width=1000, color_system=None, markup=False, emoji=False).print(table)
    return "".join(line.rstrip() + "\n" for line in text.getvalue().splitlines())


def _format(values: Sequence[float]) -> list[str]:
    """Numbers with as many decimals, equal for all, as give the smallest four digits; a dash for what is not known."""
    sizes = [abs(value) for value in values if math.isfinite(value) and value]
    decimals = min(6, max(0, 3 - math.floor(math.log10(min(sizes))))) if sizes else 4
    return ["-" if math.isnan(value) else f"{value:.{decimals}f}" for value in values]
