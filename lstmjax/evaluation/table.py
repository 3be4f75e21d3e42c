"""Tables of metrics: computed from a table of forecasts, and written as text for terminals and pipes."""

import io
import math
from collections.abc import Mapping, Sequence

import pandas as pd
import rich.box
import rich.console
import rich.table
import utilsforecast.losses

from lstmjax.evaluation.metrics import METRICS

HEADINGS = {"mse": "MSE", "rmse": "RMSE", "mae": "MAE", "smape": "sMAPE", "mase": "MASE"}
"""Headings of the metrics in print, in the order of the columns."""

# Names, a rule of hyphens, numbers: no line drawing that a pipe or a log could garble.
_BOX = rich.box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def table_metrics(
    forecasts: pd.DataFrame, models: Sequence[str], scales: pd.DataFrame, *, id_col: str = "unique_id"
) -> dict[str, dict[str, float]]:
    """The metrics of every model in a table of forecasts, in original units.

    MSE, RMSE, MAE and sMAPE pool all rows: a series counts as often as it has test windows. MASE is scaled per series
    (and target), then averaged, so that every series counts once.

    Computed with utilsforecast, so that anybody can repeat it. To do so: with a ``cutoff`` column its losses come per
    window, so drop that column (or group) first; its `smape` runs from 0 to 1, so multiply by 200; its results are per
    series, and their plain average equals ours only where all series have equally many test rows (RMSE: one series
    only). A table with one constant id, as here, needs no such condition.

    Args:
        forecasts: one row per window and step, as ``test_forecasts.csv.gz`` holds them: the id column, ``target`` if
            there are several targets, ``y`` (NaN where missing) and one column per model.
        models: names of the models' columns.
        scales: the id column, ``target`` if there are several, and ``scale``:
            `lstmjax.evaluation.metrics.seasonal_scale` of each series.
        id_col: name of the id column.

    Returns:
        ``{model: {"mse", "rmse", "mae", "smape", "mase"}}``; NaN where a model has no forecast of an observed row.

    Raises:
        ValueError: a column is missing.
    """
    keys = [id_col, "target"] if "target" in forecasts.columns else [id_col]
    _check_columns("forecasts", forecasts, [*keys, "y", *models])
    _check_columns("scales", scales, [*keys, "scale"])
    counted = forecasts[forecasts["y"].notna()]
    if counted.empty:
        return {model: dict.fromkeys(METRICS, math.nan) for model in models}
    losses, columns = utilsforecast.losses, list(models)

    pooled = counted[["y", *columns]].assign(unique_id=0)
    results = {name: getattr(losses, name)(pooled, columns)[columns].iloc[0] for name in METRICS[:-1]}
    results["smape"] = 200 * results["smape"]

    groups = counted.groupby(keys, sort=False, observed=True)
    by_series = losses.mae(pooled.assign(unique_id=groups.ngroup()), columns)[columns]
    scale = groups.size().reset_index().merge(scales, on=keys, how="left")["scale"]
    results["mase"] = by_series.div(scale.where(scale > 0), axis="index").mean()

    unanswered = counted[columns].isna().any()
    return {
        model: {name: math.nan if unanswered[model] else float(results[name][model]) for name in METRICS}
        for model in columns
    }


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
    """Formats numbers with equally many decimals, so that the smallest has four digits; a dash for NaN."""
    sizes = [abs(value) for value in values if math.isfinite(value) and value]
    decimals = min(6, max(0, 3 - math.floor(math.log10(min(sizes))))) if sizes else 4
    return ["-" if math.isnan(value) else f"{value:.{decimals}f}" for value in values]


def _check_columns(name: str, table: pd.DataFrame, columns: list[str]) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{name} has no column {missing[0]!r}; its columns are {', '.join(map(str, table.columns))}")
