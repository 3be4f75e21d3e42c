"""Evaluates a model and the baselines on every window of unseen rows: a table and metrics."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Int64

from lstmjax.data.columns import columns_of_series
from lstmjax.data.frames import forecast_frame, truth
from lstmjax.data.panel import Panel
from lstmjax.data.scaling import Scaling
from lstmjax.data.table import DataWarning, first_few
from lstmjax.data.windows import Windows
from lstmjax.errors import ConfigError
from lstmjax.evaluation.baselines import BASELINES, OwnBaseline, baseline_quantiles, own_baseline
from lstmjax.evaluation.intervals import NOTHING, Asked
from lstmjax.evaluation.metrics import METRICS, OwnMetric, seasonal_scale
from lstmjax.evaluation.probabilistic import frequencies
from lstmjax.evaluation.table import has_bounds, metric_names, metrics_by_group, table_metrics

MIXED = 10.0
"""Factor between the deviations of two targets above which their units differ."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Forecasts of every window; their metrics are computed when they are asked for.

    Attributes:
        table: the id column, ``target`` if there are several, the time, ``cutoff``, ``y``, the model, the baselines,
            each followed by its intervals and quantiles.
        models: the names of the columns of forecasts, the model's first.
        y: (W, H, C) the truth.
        forecasts: (W, H, C) by name.
        series: (W,) the series of each window.
        panel: the data.
        first_row: (N,) the first row of each series that is forecast.
        scaling: the statistics.
        season_length: rows in one season.
        asked: the intervals and quantiles.
    """

    table: pd.DataFrame
    models: list[str]
    y: Float[np.ndarray, "W H C"]
    forecasts: Mapping[str, Float[np.ndarray, "W H C"]]
    series: Int[np.ndarray, " W"]
    panel: Panel
    first_row: Int64[np.ndarray, " N"]
    scaling: Scaling
    season_length: int
    asked: Asked = NOTHING

    @functools.cached_property
    def metrics(self) -> dict[str, Any]:
        """What metrics.json holds of them.

        ``{"test": {...}, "test_scaled": {"mse", "mae"}, "baselines": {name: {...}}, "baselines_scaled": {...}}``. The
        scaled ones are in units of each series' deviation in its training rows, whatever the scaler and the transform.
        Several targets add ``"by_target": {target: {...}}``, the metrics of the model for each; and ``"mixed_units":
        True`` where the median deviation (over series, of the training rows) of one target is more than ten times that
        of another, so that MSE, RMSE and MAE over all are those of the largest. With intervals or quantiles, those of
        `lstmjax.evaluation.table.metric_names`.

        Warns:
            DataWarning: a series has no MASE; it is named.
        """
        model, *others = self.models
        id_col = self.panel.schema.id_col
        original = table_metrics(self.table, self.models, self._scales, id_col=id_col, asked=self.asked)
        scaled = {name: self._scaled(values) for name, values in self.forecasts.items()}
        found: dict[str, Any] = {"test": original[model], "test_scaled": scaled[model]}
        found |= {"baselines": {name: original[name] for name in others}}
        found |= {"baselines_scaled": {name: scaled[name] for name in others}}
        if len(self.panel.schema.channels) > 1:
            by_target = self.by("target").query("model == @model").set_index("key")[metric_names(self.asked)]
            found |= {"by_target": by_target.to_dict("index")} | ({"mixed_units": True} if self._mixed_units else {})
        return found

    def by(self, what: str | None = None, own: Mapping[str, OwnMetric] | None = None) -> pd.DataFrame:
        """The metrics of the model and the baselines, as `lstmjax.evaluation.table.metrics_by_group` has them.

        Args:
            what: ``series``, ``target``, ``horizon`` (the step, from 1 on) or ``cutoff`` (a time), one row for each and
                every model: several targets are pooled but by target. Default: one row per model.
            own: metrics of your own besides.

        Raises:
            ConfigError: another word, or an own metric that is none.
        """
        id_col, (count, h, channels) = self.panel.schema.id_col, self.y.shape
        groups: dict[str, Callable[[], pd.Series]] = {
            "series": lambda: self.table[id_col],
            "target": lambda: pd.Series(np.tile(np.repeat(np.array(self.panel.schema.channels, object), h), count)),
            "horizon": lambda: pd.Series(np.tile(np.arange(1, h + 1), count * channels)),
            "cutoff": lambda: self.table["cutoff"],
        }
        if what is not None and what not in groups:
            raise ConfigError(f"metrics by {what!r} are not known: expected one of {', '.join(groups)}")
        given: dict[str, Any] = {"by": groups[what]() if what is not None else None, "id_col": id_col, "own": own}
        return metrics_by_group(self.table, self.models, self._scales, asked=self.asked, **given)

    def frequencies(self) -> dict[str, Float[np.ndarray, " K"]]:
        """The fraction of truths at or below each quantile of ``asked.probabilities``, by the name of each model."""
        found = {}
        for model in (name for name in self.models if has_bounds(self.table, name, self.asked)):
            column = {probability: name for name, probability in self.asked.columns(model).items()}
            bounds = self.table[[column[probability] for probability in self.asked.probabilities]]
            found[model] = frequencies(self.table["y"].to_numpy(float), bounds.to_numpy(float))
        return found

    def _scaled(self, forecast: np.ndarray) -> dict[str, float]:
        unit = self.scaling.y_deviation[self.series][:, None]  # (W, 1, C)
        return {name: METRICS[name](self.y / unit, forecast / unit) for name in ("mse", "mae")}

    @property
    def _mixed_units(self) -> bool:
        deviation = np.median(self.scaling.y_deviation, axis=0)
        return bool(deviation.max() > MIXED * deviation.min())

    @functools.cached_property
    def _scales(self) -> pd.DataFrame:
        """The scales of MASE, one row per series and target."""
        schema, count = self.panel.schema, len(self.panel.schema.channels)
        scales = seasonal_scales(self.panel, self.first_row, self.season_length, forecast=self.series)
        ids = self.panel.id_column(np.repeat(np.arange(len(scales)), count))
        target = np.tile(np.array(schema.channels, object), len(scales))
        return pd.DataFrame({schema.id_col: ids, "target": target, "scale": scales.reshape(-1)})


def evaluate(
    panel: Panel,
    windows: Windows,
    forecast: Float[np.ndarray, "W H C"],
    *,
    model: str,
    first_row: Int64[np.ndarray, " N"],
    scaling: Scaling,
    season_length: int,
    asked: Asked = NOTHING,
    quantiles: Float[np.ndarray, "W H C K"] | None = None,
    baselines: Mapping[str, OwnBaseline] | None = None,
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
        asked: the intervals and quantiles; the baselines have them from their residuals before each cut-off.
        quantiles: the model's quantiles at ``asked.probabilities``, in the table's units.
        baselines: those of the user's own besides, by the name of their column; they have no intervals.

    Raises:
        ValueError: intervals are asked for, and the model's quantiles are missing.
        ConfigError: an own baseline does not return the horizon's forecasts.
    """
    if asked and quantiles is None:
        raise ValueError("quantiles is None: expected the model's quantiles at asked.probabilities")
    h, y = forecast.shape[1], truth(panel, windows, forecast.shape[1])
    series, origin = np.asarray(windows.series), np.asarray(windows.origin)
    where = (panel.y, panel.offsets, series, origin)
    forecasts = {model: forecast} | {
        name: baseline(*where, h=h, season_length=season_length) for name, baseline in BASELINES.items()
    }
    columns = {"y": y}
    for name, values in forecasts.items():
        columns[name] = values
        if quantiles is not None and asked:
            given: dict[str, Any] = {"season_length": season_length, "probabilities": asked.probabilities}
            own = quantiles if name == model else baseline_quantiles(name, values, *where, **given)
            columns |= asked.values(name, own)
    for name, own_one in (baselines or {}).items():
        forecasts[name] = columns[name] = own_baseline(name, own_one, *where, h=h)
    table = forecast_frame(panel, windows, columns, cutoff=True)
    return Evaluation(table, list(forecasts), y, forecasts, series, panel, first_row, scaling, season_length, asked)


def seasonal_scales(
    panel: Panel, rows: Int[np.ndarray, " N"], season_length: int, *, forecast: Int[np.ndarray, " W"]
) -> Float[np.ndarray, "N C"]:
    """The scales of MASE of all series, from their first rows.

    Args:
        panel: the data.
        rows: (N,) how many rows of each series count.
        season_length: rows in one season.
        forecast: the series that are forecast: only these are warned of.

    Warns:
        DataWarning: a series has no scale, so that a mean of MASE leaves it out; it is named.
    """
    scales = np.full(len(rows) * panel.y.shape[1], np.nan)
    for cells, columns in columns_of_series(panel.y, panel.offsets, rows, observed=False):
        scales[cells] = seasonal_scale(columns, season_length)
    scales = scales.reshape(len(rows), -1)
    unscaled = np.zeros(len(rows), bool)
    unscaled[forecast] = True
    left_out = []
    for series, channel in np.argwhere(unscaled[:, None] & ~(scales > 0)).tolist():
        why = "repeats itself" if scales[series, channel] == 0 else "has no two rows that far apart"
        left_out.append(f"{panel.ids[series]!r} ({panel.schema.channels[channel]!r} {why})")
    if left_out:
        warnings.warn(
            f"MASE leaves out the series that it cannot scale by the mean change over {season_length} rows: "
            f"{first_few(left_out)}",
            DataWarning,
            stacklevel=2,
        )
    return scales
