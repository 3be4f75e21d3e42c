"""Evaluates a model and the baselines on every window of unseen rows: a table and metrics."""

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Int64

from lstmjax.data.frames import forecast_frame, truth
from lstmjax.data.panel import Panel
from lstmjax.data.scaling import Scaling
from lstmjax.data.windows import Windows
from lstmjax.errors import ConfigError
from lstmjax.evaluation.baselines import BASELINES, OwnBaseline, baseline_quantiles, own_baseline, past_deviations
from lstmjax.evaluation.intervals import NOTHING, Asked
from lstmjax.evaluation.metrics import OwnMetric
from lstmjax.evaluation.scales import seasonal_scales
from lstmjax.evaluation.sums import Part, Totals
from lstmjax.evaluation.table import by_group_then_model, metric_names, metrics_by_group

_GROUPS = ("series", "target", "horizon", "cutoff")
"""By what there are tables of metrics."""

MIXED = 10.0
"""Factor between the deviations of two targets above which their units differ."""


_VALUES = 1 << 18
"""Values (windows * steps * targets) that are evaluated at a time."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Forecasts of every window; tables and metrics are made when they are asked for, some windows at a time.

    Attributes:
        panel: the data.
        windows: W windows, by series.
        model: the name of the model.
        forecast: (W, H, C) of the model.
        first_row: (N,) the first row of each series that is forecast.
        scaling: the statistics.
        season_length: rows in one season.
        asked: the intervals and quantiles.
        quantiles: (W, H, C, K) of the model, where some are asked for.
        own: (W, H, C) of baselines of the user's own, by name.
    """

    panel: Panel
    windows: Windows
    model: str
    forecast: Float[np.ndarray, "W H C"]
    first_row: Int64[np.ndarray, " N"]
    scaling: Scaling
    season_length: int
    asked: Asked = NOTHING
    quantiles: Float[np.ndarray, "W H C K"] | None = None
    own: Mapping[str, Float[np.ndarray, "W H C"]] = dataclasses.field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        """The names of the columns of forecasts, the model's first."""
        return [self.model, *BASELINES, *self.own]

    @property
    def series(self) -> Int[np.ndarray, " W"]:
        """(W,) the series of each window."""
        return np.asarray(self.windows.series)

    @property
    def y(self) -> Float[np.ndarray, "W H C"]:
        """The truth; NaN where missing."""
        return truth(self.panel, self.windows, self.forecast.shape[1])

    @functools.cached_property
    def table(self) -> pd.DataFrame:
        """The id column, ``target`` if there are several, the time, ``cutoff``, ``y``, the model, the baselines.

        Each is followed by its intervals and quantiles.
        """
        return self._table(self._part(slice(None)), slice(None))

    def tables(self) -> Iterator[pd.DataFrame]:
        """`table`, some windows at a time."""
        return (self._table(self._part(at), at) for at in self._slices())

    @property
    def texts(self) -> list[Any]:
        """All that the columns of text of `table` may hold, and the names of its columns."""
        return [*self.panel.labels.tolist(), *self.panel.schema.channels, *self._table(self._part(slice(0)), slice(0))]

    def _slices(self) -> Iterator[slice]:
        size = max(1, _VALUES // math.prod(self.forecast.shape[1:]))
        return (slice(first, first + size) for first in range(0, max(1, len(self.forecast)), size))

    def _part(self, at: slice) -> Part:
        """Some windows, with the forecasts of the model and the baselines."""
        series, origin = (np.asarray(column)[at] for column in self.windows)
        forecast = self.forecast[at]
        forecasts, quantiles = {self.model: forecast}, {}
        for name, baseline in BASELINES.items():
            given: dict[str, Any] = {"h": forecast.shape[1], "season_length": self.season_length}
            forecasts[name] = baseline(self.panel.y, self.panel.offsets, series, origin, **given)
        if self.quantiles is not None and self.asked:
            quantiles[self.model] = self.quantiles[at]
            for name, deviations in self._deviations.items():
                given = {"season_length": self.season_length, "probabilities": self.asked.probabilities}
                quantiles[name] = baseline_quantiles(forecasts[name], deviations[:, at], **given)
        forecasts |= {name: values[at] for name, values in self.own.items()}
        return Part(series, truth(self.panel, Windows(series, origin), forecast.shape[1]), forecasts, quantiles)

    def _table(self, part: Part, at: slice) -> pd.DataFrame:
        columns = {"y": part.y}
        for name, values in part.forecasts.items():
            columns[name] = values
            columns |= self.asked.values(name, part.quantiles[name]) if name in part.quantiles else {}
        return forecast_frame(self.panel, Windows(*(column[at] for column in self.windows)), columns, cutoff=True)

    @functools.cached_property
    def _deviations(self) -> dict[str, np.ndarray]:
        where = self.panel.y, self.panel.offsets, self.series, np.asarray(self.windows.origin)
        return past_deviations(*where, season_length=self.season_length)

    def _sums(self, cutoffs: np.ndarray | None = None) -> Totals:
        parts, h = (self._part(at) for at in self._slices()), self.forecast.shape[1]
        return Totals(parts, self._scale_of_mase, self.asked, horizon=h, cutoffs=cutoffs)

    @functools.cached_property
    def _totals(self) -> Totals:
        return self._sums()

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
        total, others = self._totals.of(None), self.models[1:]
        original = {
            name: {metric: float(value[0]) for metric, value in total.metrics(name, self.asked).items()}
            for name in self.models
        }
        unit = self.scaling.y_deviation
        scaled = {
            name: {
                "mse": self._totals.mean_in((name, "mse"), unit**2),
                "mae": self._totals.mean_in((name, "mae"), unit),
            }
            for name in self.models
        }
        found: dict[str, Any] = {"test": original[self.model], "test_scaled": scaled[self.model]}
        found |= {"baselines": {name: original[name] for name in others}}
        found |= {"baselines_scaled": {name: scaled[name] for name in others}}
        if len(self.panel.schema.channels) > 1:
            by_target = self.by("target").query("model == @self.model").set_index("key")[metric_names(self.asked)]
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
        if what not in (None, *_GROUPS):
            raise ConfigError(f"metrics by {what!r} are not known: expected one of {', '.join(_GROUPS)}")
        if own is not None:
            given: dict[str, Any] = {"by": self._group_of_rows(what), "id_col": self.panel.schema.id_col, "own": own}
            return metrics_by_group(self.table, self.models, self._scales, asked=self.asked, **given)
        chosen: Any = slice(None)
        if what == "series":
            chosen = np.unique(self.series).astype(np.int64)
            names: Any = self.panel.id_column(chosen)
        elif what == "cutoff":
            cutoffs, names = pd.factorize(self._cutoffs)
        else:
            names = {"target": list(self.panel.schema.channels), "horizon": np.arange(1, self.forecast.shape[1] + 1)}
            names = names.get(what or "", [None])
        sums = (self._sums(cutoffs) if what == "cutoff" else self._totals).of(what)
        tables = []
        for model in self.models:
            values = {name: value[chosen] for name, value in sums.metrics(model, self.asked).items()}
            tables.append(pd.DataFrame({"key": names, "model": model, **values, "n": sums.count[chosen]}))
        table = by_group_then_model(tables)
        return table if what is not None else table.drop(columns="key")

    def frequencies(self) -> dict[str, Float[np.ndarray, " K"]]:
        """The fraction of truths at or below each quantile of ``asked.probabilities``, by the name of each model."""
        count = self._totals.of(None).count
        return {
            name: np.where(count > 0, below / np.maximum(count, 1), np.nan)
            for name, below in self._totals.below.items()
        }

    @property
    def _cutoffs(self) -> pd.Index:
        """(W,) the cutoff of each window."""
        return self.panel.timestamps(self.series.astype(np.int64), np.asarray(self.windows.origin, np.int64) - 1)

    def _group_of_rows(self, what: str | None) -> pd.Series | None:
        """The group of each row of `table`."""
        count, h, channels = self.forecast.shape
        if what == "target":
            return pd.Series(np.tile(np.repeat(np.array(self.panel.schema.channels, object), h), count))
        if what == "horizon":
            return pd.Series(np.tile(np.arange(1, h + 1), count * channels))
        return None if what is None else self.table[self.panel.schema.id_col if what == "series" else "cutoff"]

    @property
    def _mixed_units(self) -> bool:
        deviation = np.median(self.scaling.y_deviation, axis=0)
        return bool(deviation.max() > MIXED * deviation.min())

    @functools.cached_property
    def _scale_of_mase(self) -> Float[np.ndarray, "N C"]:
        return seasonal_scales(self.panel, self.first_row, self.season_length, forecast=self.series)

    @property
    def _scales(self) -> pd.DataFrame:
        """The scales of MASE, one row per series and target."""
        schema, scales = self.panel.schema, self._scale_of_mase
        ids = self.panel.id_column(np.repeat(np.arange(len(scales)), scales.shape[1]))
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
    where = (panel.y, panel.offsets, np.asarray(windows.series), np.asarray(windows.origin))
    own = {
        name: own_baseline(name, baseline, *where, h=forecast.shape[1]) for name, baseline in (baselines or {}).items()
    }
    return Evaluation(panel, windows, model, forecast, first_row, scaling, season_length, asked, quantiles, own)
