"""Scaling: statistics fitted on training rows, kept as values, and applied in float64 in both directions."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from jaxtyping import Float64, Int, Int64, Shaped

from lstmjax.config import DataConfig
from lstmjax.data.calendar import time_features
from lstmjax.data.categories import Categories, encoded, encoded_names, trained_categories
from lstmjax.data.columns import first_rows
from lstmjax.data.identity import as_labels, places
from lstmjax.data.panel import Panel
from lstmjax.data.scalers import SCALERS, Statistics, by_series, covariate, each_column
from lstmjax.data.scaling_checks import check_statistics, warn_clipped, warn_constant, warn_rounded
from lstmjax.data.split import Split
from lstmjax.data.transform import transformed
from lstmjax.data.windows import PanelArrays, Rescaling


@dataclass(frozen=True)
class Scaling:
    """The statistics of ``scaled = (value - center) / scale``. N rows for the targets, or 1 for all series.

    Targets are transformed before they are scaled.

    Attributes:
        transform: the transform of the targets.
        scaler: the kind of statistics of the targets.
        per_series: True where the targets have one row of statistics per series.
        y_center: (N or 1, C)
        y_scale: (N or 1, C), never 0.
        y_deviation: (N, C) the deviation of each series' training rows in the table's units, whatever the scaler and
            the transform: the unit of scaled metrics. 1 where they are constant.
        hist_center: (Fh,)
        hist_scale: (Fh,)
        futr_center: (Ff,)
        futr_scale: (Ff,)
        stat_center: (Fs,)
        stat_scale: (Fs,)
        series: (N,) the network's number of each series; -1 for a series that it was not trained on.
        clip_min: the least value that a forecast may have, in the table's units; None: any.
        categories: of each covariate of text, those of the training rows: see `lstmjax.data.categories`. Fh, Ff and Fs
            count a column for each.
    """

    transform: str
    scaler: str
    per_series: bool
    y_center: Float64[np.ndarray, "M C"]
    y_scale: Float64[np.ndarray, "M C"]
    hist_center: Float64[np.ndarray, " Fh"]
    hist_scale: Float64[np.ndarray, " Fh"]
    futr_center: Float64[np.ndarray, " Ff"]
    futr_scale: Float64[np.ndarray, " Ff"]
    stat_center: Float64[np.ndarray, " Fs"]
    stat_scale: Float64[np.ndarray, " Fs"]
    series: Int64[np.ndarray, " N"]
    y_deviation: Float64[np.ndarray, "N C"]
    clip_min: float | None = None
    categories: Categories = field(default_factory=dict)

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Returns the statistics as named arrays and JSON-able metadata: the arguments of `from_arrays`."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        names = ("transform", "scaler", "per_series", "clip_min", "categories")
        metadata = {name: arrays.pop(name) for name in names}
        return arrays, metadata

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> Self:
        """Restores the statistics from the result of `to_arrays`."""
        stored: dict[str, Any] = {**metadata, **arrays}
        if "y_deviation" not in stored:  # of an earlier version, for which the scale was the unit of scaled metrics
            shape = (len(stored["series"]), stored["y_scale"].shape[1])
            stored["y_deviation"] = np.broadcast_to(stored["y_scale"], shape).copy()
        return cls(**stored)

    def of_targets(self, series: Int[np.ndarray, " W"]) -> Statistics:
        """Returns the centers and scales of the targets of some series, two of (W, C)."""
        row = series if self.per_series else np.zeros_like(series)
        return self.y_center[row], self.y_scale[row]

    def of_covariates(self, group: str) -> Statistics:
        """Returns the centers and scales of the group "hist", "futr" or "stat", two of (F,)."""
        return getattr(self, f"{group}_center"), getattr(self, f"{group}_scale")


_COVARIATES = ("hist", "futr", "stat")
"""The groups of covariates."""


def fit_scaling(panel: Panel, split: Split, config: DataConfig, categories: Categories | None = None) -> Scaling:
    """Computes the statistics of the training rows, and of no others.

    Targets are scaled as ``config.scaler`` and ``config.scaler_scope`` say. Covariates are always standardised, with
    one mean and population deviation over the training rows of all series; those that are only 0 and 1 there stay as
    they are. A series without training rows (see `Split`) has statistics of all its observed rows, since none of them
    is forecast for evaluation; one without any observed training row has the mean statistics of the others. All series
    are numbered here; `lstmjax.data.prepare` sets the number of those that are not trained on to -1.

    Args:
        panel: the data.
        split: which rows are for training.
        config: ``scaler`` and ``scaler_scope``.
        categories: of the covariates of text. Default: those of the training rows.

    Returns:
        The statistics.

    Raises:
        DataError: a target is not positive and ``config.transform`` is log; or values are so large, or differ so
            little, that float64 does not hold their statistics.

    Warns:
        DataWarning: the training rows of a series are all equal, so that its scale is 1; float32 does not hold the
            scaled values well enough; or values lie below ``config.clip_min``.
    """
    original, panel = panel, transformed(panel, config.transform)
    train_rows = first_rows(panel.lengths, split.train_end)
    categories = trained_categories(panel, train_rows) if categories is None else categories
    panel = encoded(panel, categories)
    scaler = "standard" if config.scaler == "auto" else config.scaler  # as without a head that needs another
    statistic = SCALERS[scaler]
    fitted = np.where(split.train_end > 0, split.train_end, panel.observed)
    if config.scaler_scope == "series":
        y_center, y_scale = by_series(panel.y, panel.offsets, fitted, statistic)
    else:
        y_center, y_scale = (array[None] for array in each_column(panel.y[train_rows], statistic))
    statistics = {"y_center": y_center, "y_scale": y_scale}
    for group, values in zip(_COVARIATES, (panel.hist[train_rows], panel.futr[train_rows], panel.stat), strict=True):
        statistics[f"{group}_center"], statistics[f"{group}_scale"] = each_column(values, covariate)
    warn_constant(original, split.train_end)
    warn_clipped(original, config.clip_min)
    scaling = Scaling(
        transform=config.transform,
        scaler=scaler,
        per_series=config.scaler_scope == "series",
        series=np.arange(len(panel.ids)),
        y_deviation=_deviations(original, fitted),
        clip_min=config.clip_min,
        categories=categories,
        **statistics,
    )
    _check_statistics(scaling, panel)
    warn_rounded(panel, fitted, *scaling.of_targets(np.arange(len(panel.ids))), scaler)
    return scaling


def scale(panel: Panel, scaling: Scaling) -> PanelArrays:
    """Scales a panel for the device: float32, 0 where missing.

    The covariates of the calendar follow the known-future ones.

    Args:
        panel: the data, with the same series as the statistics: see `align`.
        scaling: the statistics.

    Returns:
        NumPy arrays.

    Raises:
        DataError: a target is not positive and the transform is log.
    """
    panel = encoded(transformed(panel, scaling.transform), scaling.categories)
    series, row = panel.rows
    center, spread = scaling.of_targets(series)
    y, y_mask = _masked((panel.y - center) / spread)
    hist, hist_mask = _masked((panel.hist - scaling.hist_center) / scaling.hist_scale)
    scaled = (panel.futr - scaling.futr_center) / scaling.futr_scale
    if panel.schema.calendar or panel.schema.holidays:
        scaled = np.hstack([scaled, time_features(panel.timestamps(series, row), panel.schema)])
    futr, futr_mask = _masked(scaled)
    stat = ((panel.stat - scaling.stat_center) / scaling.stat_scale).astype(np.float32)
    weight = np.nan_to_num(panel.weight[:, 0]).astype(np.float32) if panel.weight.shape[1] else None
    offsets, numbers = panel.offsets.astype(np.int32), scaling.series.astype(np.int32)
    return PanelArrays(y, y_mask, hist, hist_mask, futr, futr_mask, stat, offsets, numbers, weight)


def rescaling(base: Scaling, own: Scaling, arrays: PanelArrays) -> Rescaling:
    """Computes how to turn a panel that is scaled by one set of statistics into the same panel scaled by another.

    Args:
        base: the statistics by which the panel is scaled.
        own: the other statistics, of the same transform, in the same order of series.
        arrays: the panel scaled by ``base``.

    Returns:
        NumPy arrays, float32; computed in float64.

    Raises:
        ValueError: the transforms differ.
    """
    if base.transform != own.transform:
        raise ValueError(f"both must have one transform, got {base.transform!r} and {own.transform!r}")
    numbers = np.arange(len(own.series))
    columns: dict[str, np.ndarray] = {}
    for group in ("y", *_COVARIATES):
        (center, spread), (own_center, own_spread) = (
            scaling.of_targets(numbers) if group == "y" else scaling.of_covariates(group) for scaling in (base, own)
        )
        factor, shift = spread / own_spread, (center - own_center) / own_spread
        unscaled = getattr(arrays, group).shape[1] - factor.shape[-1]  # the calendar's columns, after the table's
        columns[f"{group}_factor"] = np.append(factor, np.ones(unscaled)) if unscaled else factor
        columns[f"{group}_shift"] = np.append(shift, np.zeros(unscaled)) if unscaled else shift
    arrays32 = {name: column.astype(np.float32) for name, column in columns.items()}
    return Rescaling(**arrays32, series=own.series.astype(np.int32))


def align(scaling: Scaling, old_ids: Sequence[Any] | Shaped[np.ndarray, " M"], panel: Panel) -> Scaling:
    """Returns the statistics for a new panel: known series keep theirs, new ones get those of their observed rows.

    Args:
        scaling: the statistics of training.
        old_ids: (M,) identifiers of its series.
        panel: the new data.

    Returns:
        Statistics in the order of the new panel's series.

    Raises:
        DataError: as `fit_scaling`, for the new series.
    """
    rows = places(panel.ids, as_labels(old_ids))
    kept = (rows >= 0)[:, None]
    unseen = np.where(rows < 0, panel.observed, 0)
    own_deviation = _deviations(panel, unseen)
    scaling = dataclasses.replace(
        scaling,
        series=np.where(rows >= 0, scaling.series[rows], -1),
        y_deviation=np.where(kept, scaling.y_deviation[rows], own_deviation),
    )
    if not scaling.per_series:
        return scaling
    panel = transformed(panel, scaling.transform)
    others = scaling.y_center, scaling.y_scale
    own_center, own_scale = by_series(panel.y, panel.offsets, unseen, SCALERS[scaling.scaler], others)
    aligned = dataclasses.replace(
        scaling,
        y_center=np.where(kept, scaling.y_center[rows], own_center),
        y_scale=np.where(kept, scaling.y_scale[rows], own_scale),
    )
    _check_statistics(aligned, panel)
    return aligned


def _masked(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mask = ~np.isnan(values)
    return np.where(mask, values, 0.0).astype(np.float32), mask


def _check_statistics(scaling: Scaling, panel: Panel) -> None:
    """Requires finite centers and positive scales of targets and covariates."""
    schema = panel.schema
    check_statistics(panel.ids if scaling.per_series else None, schema.channels, scaling.y_center, scaling.y_scale)
    for group, names in zip(_COVARIATES, (schema.hist_exog, schema.futr_exog, schema.stat_exog), strict=True):
        center, spread = scaling.of_covariates(group)
        check_statistics(None, tuple(encoded_names(names, scaling.categories)), center[None], spread[None])


def _deviations(panel: Panel, rows: Int[np.ndarray, " N"]) -> Float64[np.ndarray, "N C"]:
    """Returns the deviations of the first rows of each series, in the table's units; 1 where they are constant."""
    _, deviation = by_series(panel.y, panel.offsets, rows, SCALERS["standard"])
    return np.where(np.isfinite(deviation) & (deviation > 0), deviation, 1.0)
