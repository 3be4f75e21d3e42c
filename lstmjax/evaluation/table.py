"""Tables of metrics: computed from a table of forecasts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from lstmjax.errors import ConfigError
from lstmjax.evaluation.intervals import NOTHING, Asked, level_name
from lstmjax.evaluation.metrics import METRICS, Groups, OwnMetric
from lstmjax.evaluation.probabilistic import INTERVAL_METRICS, QUANTILE_METRICS, crps


def metrics_by_group(
    forecasts: pd.DataFrame,
    models: Sequence[str],
    scales: pd.DataFrame,
    *,
    by: pd.Series | None = None,
    id_col: str = "unique_id",
    own: Mapping[str, OwnMetric] | None = None,
    asked: Asked = NOTHING,
) -> pd.DataFrame:
    """The metrics of every model in a table of forecasts, in original units.

    MSE, RMSE, MAE and sMAPE pool all rows of a group: a series counts as often as it has test windows. MASE is scaled
    per series (and target), then averaged, so that every series counts once. utilsforecast has the same metrics, so
    that anybody can repeat them; its results are per series, and its `smape` runs from 0 to 1.

    With intervals or quantiles also the mean pinball loss of the quantiles (of ``asked.scored``): ``crps``, and divided
    by a mean absolute truth (``wql``: of each target, averaged over targets) or by the scale of MASE (``sql``: per
    series, then averaged). And of the intervals of each level, e.g. 80, ``coverage-80``, ``width-80`` and
    ``interval_score-80``: means over all rows of a group.

    Args:
        forecasts: one row per window and step, as ``test_forecasts.csv.gz`` holds them: the id column, ``target`` if
            there are several targets, ``y`` (NaN where missing) and one column per model.
        models: names of the models' columns.
        scales: the id column, ``target`` if there are several, and ``scale``:
            `lstmjax.evaluation.metrics.seasonal_scale` of each series.
        by: the group of each row. Default: all rows are one.
        id_col: name of the id column.
        own: metrics besides those of `METRICS`, by name.
        asked: intervals and quantiles; of a model of which the table has none of their columns, the metrics are NaN.

    Returns:
        One row per group and model: ``key`` (the group, where ``by`` is given), ``model``, ``mse``, ``rmse``,
        ``mae``, ``smape``, ``mase``, those of intervals and quantiles, the own ones, ``n`` (observed truths). NaN where
        a model has no forecast of an observed row of the group.

    Raises:
        ValueError: a column is missing.
        ConfigError: an own metric has the name of another column, or returns no number.
    """
    keys = [id_col, "target"] if "target" in forecasts.columns else [id_col]
    bounds = [name for model in models if has_bounds(forecasts, model, asked) for name in asked.columns(model)]
    _check_columns("forecasts", forecasts, [*keys, "y", *models, *bounds])
    _check_columns("scales", scales, [*keys, "scale"])
    own = _checked(own or {}, metric_names(asked))
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
        values |= _of_bounds(counted, model, y, groups, asked)
        for name, metric in own.items():
            values[name] = np.array([_own_value(name, metric, y[at], forecast[at]) for at in rows])
        tables.append(pd.DataFrame({"key": names, "model": model, **values, "n": groups.size}))
    table = by_group_then_model(tables)
    return table if by is not None else table.drop(columns="key")


def by_group_then_model(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One table of the tables of each model, which have one row per group."""
    order = np.arange(sum(map(len, tables))).reshape(len(tables), -1).T.reshape(-1)
    return pd.concat(tables, ignore_index=True).iloc[order].reset_index(drop=True)


def table_metrics(
    forecasts: pd.DataFrame,
    models: Sequence[str],
    scales: pd.DataFrame,
    *,
    id_col: str = "unique_id",
    asked: Asked = NOTHING,
) -> dict[str, dict[str, float]]:
    """The metrics of `metrics_by_group` over all rows, as ``{model: {"mse", "rmse", "mae", "smape", "mase", ...}}``."""
    table = metrics_by_group(forecasts, models, scales, id_col=id_col, asked=asked)
    rows: list[Any] = table[metric_names(asked)].to_dict("records")
    return dict(zip(models, rows, strict=True))


def metric_names(asked: Asked) -> list[str]:
    """The names of the metrics of `metrics_by_group`, without the own ones.

    >>> metric_names(Asked(level=(80,)))[5:]
    ['crps', 'wql', 'sql', 'coverage-80', 'width-80', 'interval_score-80']
    """
    of_levels = [level_name(name, level) for level in asked.intervals for name in INTERVAL_METRICS]
    return [*METRICS, *(QUANTILE_METRICS if asked else ()), *of_levels]


def has_bounds(forecasts: pd.DataFrame, model: str, asked: Asked) -> bool:
    """Whether a table of forecasts has columns of a model's quantiles and intervals.

    Args:
        forecasts: the table.
        model: name of the model's column.
        asked: the intervals and quantiles.
    """
    return any(name in forecasts.columns for name in asked.columns(model))


def _of_bounds(
    counted: pd.DataFrame, model: str, y: np.ndarray, groups: Groups, asked: Asked
) -> dict[str, Float[np.ndarray, " G"]]:
    """The metrics of a model's quantiles and intervals by group; NaN where it has none."""
    if not asked:
        return {}
    if not has_bounds(counted, model, asked):
        return {name: np.full(len(groups.size), np.nan) for name in metric_names(asked)[len(METRICS) :]}
    found = {
        probability: counted[name].to_numpy(float)  # two columns of one probability are alike
        for name, probability in asked.columns(model).items()
    }
    score = crps(y, np.stack([found[one] for one in asked.scored], axis=-1), asked.scored)
    target = pd.factorize(counted["target"])[0] if "target" in counted.columns else np.zeros(len(y), int)
    cells = {"series": groups, "target": groups.by_size(y, target)}
    values = {
        name: groups.mean(score) if metric.scale is None else cells[metric.scale].scaled_mean(score)
        for name, metric in QUANTILE_METRICS.items()
    }
    for level, (lower, upper) in asked.intervals.items():
        for name, metric in INTERVAL_METRICS.items():
            of_rows = metric.value(y, found[lower], found[upper], level)
            values[level_name(name, level)] = groups.mean(of_rows)
    return values


def _checked(own: Mapping[str, OwnMetric], names: Sequence[str]) -> Mapping[str, OwnMetric]:
    for name in own:
        if name in ("key", "model", "n", *names):
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


def _check_columns(name: str, table: pd.DataFrame, columns: list[str]) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{name} has no column {missing[0]!r}; its columns are {', '.join(map(str, table.columns))}")
