"""Tables of metrics: computed from a table of forecasts, and written as text for terminals and pipes."""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import rich.box
import rich.console
import rich.table

from lstmjax.errors import ConfigError
from lstmjax.evaluation.metrics import METRICS, Groups, OwnMetric

# Names, a rule of hyphens, numbers: no line drawing that a pipe or a log could garble.
_BOX = rich.box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def metrics_by_group(
    forecasts: pd.DataFrame,
    models: Sequence[str],
    scales: pd.DataFrame,
    *,
    by: pd.Series | None = None,
    id_col: str = "unique_id",
    own: Mapping[str, OwnMetric] | None = None,
) -> pd.DataFrame:
    """The metrics of every model in a table of forecasts, in original units.

    MSE, RMSE, MAE and sMAPE pool all rows of a group: a series counts as often as it has test windows. MASE is scaled
    per series (and target), then averaged, so that every series counts once. utilsforecast has the same metrics, so
    that anybody can repeat them; its results are per series, and its `smape` runs from 0 to 1.

    Args:
        forecasts: one row per window and step, as ``test_forecasts.csv.gz`` holds them: the id column, ``target`` if
            there are several targets, ``y`` (NaN where missing) and one column per model.
        models: names of the models' columns.
        scales: the id column, ``target`` if there are several, and ``scale``:
            `lstmjax.evaluation.metrics.seasonal_scale` of each series.
        by: the group of each row. Default: all rows are one.
        id_col: name of the id column.
        own: metrics besides those of `METRICS`, by name.

    Returns:
        One row per group and model: ``key`` (the group, where ``by`` is given), ``model``, ``mse``, ``rmse``,
        ``mae``, ``smape``, ``mase``, the own ones, ``n`` (observed truths). NaN where a model has no forecast of an
        observed row of the group.

    Raises:
        ValueError: a column is missing.
        ConfigError: an own metric has the name of another column, or returns no number.
    """
    keys = [id_col, "target"] if "target" in forecasts.columns else [id_col]
    _check_columns("forecasts", forecasts, [*keys, "y", *models])
    _check_columns("scales", scales, [*keys, "scale"])
    own = _checked(own or {})
    observed = forecasts["y"].notna().to_numpy()
    counted = forecasts[observed]
    numbers, names = pd.factorize(np.zeros(len(forecasts), int) if by is None else by)
    group = numbers[observed]
    columns = counted.groupby(keys, sort=False, observed=True)
    scale = columns.size().reset_index().merge(scales, on=keys, how="left")["scale"].to_numpy(float)
    groups = Groups.of(group, len(names), columns.ngroup().to_numpy(int), scale)
    rows = np.split(np.argsort(group, kind="stable"), np.cumsum(groups.size)[:-1]) if own else []
    y = counted["y"].to_numpy(float)
    tables = []
    for model in models:
        forecast = counted[model].to_numpy(float)
        values = {name: metric.by_group(y, forecast, groups) for name, metric in METRICS.items()}
        for name, metric in own.items():
            values[name] = np.array([_own_value(name, metric, y[at], forecast[at]) for at in rows])
        tables.append(pd.DataFrame({"key": names, "model": model, **values, "n": groups.size}))
    order = np.arange(len(models) * len(names)).reshape(len(models), -1).T.reshape(-1)  # by group, then by model
    table = pd.concat(tables, ignore_index=True).iloc[order].reset_index(drop=True)
    return table if by is not None else table.drop(columns="key")


def table_metrics(
    forecasts: pd.DataFrame, models: Sequence[str], scales: pd.DataFrame, *, id_col: str = "unique_id"
) -> dict[str, dict[str, float]]:
    """The metrics of `metrics_by_group` over all rows, as ``{model: {"mse", "rmse", "mae", "smape", "mase"}}``."""
    table = metrics_by_group(forecasts, models, scales, id_col=id_col)
    rows: list[Any] = table[list(METRICS)].to_dict("records")
    return dict(zip(models, rows, strict=True))


def _checked(own: Mapping[str, OwnMetric]) -> Mapping[str, OwnMetric]:
    for name in own:
        if name in ("key", "model", "n", *METRICS):
            raise ConfigError(f"a metric of your own is named {name!r}, as another column is: give it another name")
    return own


def _own_value(name: str, metric: OwnMetric, y: np.ndarray, forecast: np.ndarray) -> float:
    """A metric of the user's own; NaN where nothing was observed, or a forecast is missing."""
    if not len(y) or np.isnan(forecast).any():
        return math.nan
    value = metric(y, forecast)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(
            f"the metric {name!r} returned {type(value).__name__}: expected one number for the truths and forecasts "
            f"of {len(y)} rows"
        ) from None


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
    columns = []
    for name, metric in METRICS.items():
        unit_of = f" ({metric.unit.format(unit=unit)})" if unit and metric.unit else ""
        columns.append((metric.heading + unit_of, metrics, name))
    columns += [(f"{metric.heading} (scaled)", scaled or {}, name) for name, metric in METRICS.items()]
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


def _check_columns(name: str, table: pd.DataFrame, columns: list[str]) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{name} has no column {missing[0]!r}; its columns are {', '.join(map(str, table.columns))}")
