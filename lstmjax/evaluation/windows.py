"""Evaluates a model and the baselines on every window of unseen rows: a table and metrics."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int64

from lstmjax.data.frames import forecast_frame, truth
from lstmjax.data.panel import Panel
from lstmjax.data.scaling import Scaling, scale_targets
from lstmjax.data.windows import Windows
from lstmjax.evaluation import metrics
from lstmjax.evaluation.baselines import BASELINES
from lstmjax.evaluation.table import table_metrics


@dataclass(frozen=True)
class Evaluation:
    """Forecasts of every window, and their metrics.

    Attributes:
        table: the id column, ``target`` if there are several, the time, ``cutoff``, ``y``, the model, the baselines.
        metrics: ``{"test": {...}, "test_scaled": {"mse", "mae"}, "baselines": {name: {...}}, "baselines_scaled":
            {...}}``
    """

    table: pd.DataFrame
    metrics: dict[str, Any]


def evaluate(
    panel: Panel,
    windows: Windows,
    forecast: Float[np.ndarray, "W H C"],
    *,
    model: str,
    first_row: Int64[np.ndarray, " N"],
    scaling: Scaling,
    season_length: int,
) -> Evaluation:
    """Compares the forecasts of a model with the truth, next to the baselines.

    Args:
        panel: the data.
        windows: W windows.
        forecast: the model's forecasts, shape (W, H, C), in the table's units.
        model: name of the model's column.
        first_row: (N,) the first row of each series that is forecast: MASE is scaled by the rows before it.
        scaling: the statistics of the scaled metrics.
        season_length: rows in one season, for seasonal naive and MASE.
    """
    h = forecast.shape[1]
    y = truth(panel, windows, h)
    series, origin = np.asarray(windows.series), np.asarray(windows.origin)
    columns = {model: forecast} | {
        name: baseline(panel.y, panel.offsets, series, origin, h=h, season_length=season_length)
        for name, baseline in BASELINES.items()
    }
    table = forecast_frame(panel, windows, {"y": y, **columns}, cutoff=True)
    original = table_metrics(
        table, list(columns), _seasonal_scales(panel, first_row, season_length), id_col=panel.schema.id_col
    )
    scaled_y = scale_targets(y, series, scaling)
    scaled = {}
    for name, values in columns.items():
        scaled_values = scale_targets(values, series, scaling)
        scaled[name] = {"mse": metrics.mse(scaled_y, scaled_values), "mae": metrics.mae(scaled_y, scaled_values)}
    found = {"test": original.pop(model), "test_scaled": scaled.pop(model)}
    return Evaluation(table, found | {"baselines": original, "baselines_scaled": scaled})


def _seasonal_scales(panel: Panel, first_row: np.ndarray, season_length: int) -> pd.DataFrame:
    """Returns the scales of MASE, one row per series and target."""
    schema = panel.schema
    rows = []
    for series, (begin, end) in enumerate(zip(panel.offsets[:-1], panel.offsets[:-1] + first_row, strict=True)):
        values = metrics.seasonal_scale(panel.y[begin:end], season_length)
        keys = {schema.id_col: series}
        rows += [
            keys | ({"target": channel} if len(schema.channels) > 1 else {}) | {"scale": value}
            for channel, value in zip(schema.channels, values, strict=True)
        ]
    scales = pd.DataFrame(rows)
    return scales.assign(**{schema.id_col: panel.id_column(scales[schema.id_col].to_numpy())})
