"""Scaling: statistics fitted on training rows, carried as values, and applied in float64 both ways."""

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Float64, Int, Int64, Shaped

from lstmjax.config import DataConfig, ScalerName, TransformName
from lstmjax.data.calendar import calendar_features
from lstmjax.data.panel import Panel
from lstmjax.data.scalers import SCALERS, Statistics, by_series, covariate, each_column
from lstmjax.data.split import Split
from lstmjax.data.table import DataWarning, first_few
from lstmjax.data.transform import TRANSFORMS, transformed
from lstmjax.data.windows import PanelArrays, Rescaling
from lstmjax.errors import DataError


@dataclass(frozen=True)
class Scaling:
    """Statistics with which ``scaled = (value - center) / scale``. N rows for the targets, or 1 for all series alike.

    Targets are transformed before.

    Attributes:
        transform: what targets are transformed by.
        scaler: how the statistics of targets are made.
        per_series: True where the targets have a row of statistics for each series.
        y_center: (N or 1, C)
        y_scale: (N or 1, C), never 0.
        hist_center: (Fh,)
        hist_scale: (Fh,)
        futr_center: (Ff,)
        futr_scale: (Ff,)
        stat_center: (Fs,)
        stat_scale: (Fs,)
        series: (N,) the network's number of each series; -1 for those that it was not trained on.
    """

    transform: TransformName
    scaler: ScalerName
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

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The statistics as named arrays and JSON-able metadata, from which `from_arrays` makes them again."""
        arrays = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        metadata = {name: arrays.pop(name) for name in ("transform", "scaler", "per_series")}
        return arrays, metadata

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> Self:
        """The statistics that `to_arrays` took apart."""
        stored: dict[str, Any] = {**metadata, **arrays}
        return cls(**stored)


def fit_scaling(panel: Panel, split: Split, config: DataConfig) -> Scaling:
    """Statistics of the training rows, and of no others.

    Targets are scaled as ``config.scaler`` and ``config.scaler_scope`` say. Covariates are always standardised, with
    one mean and population deviation over the training rows of all series; those that are only 0 and 1 there stay as
    they are. A series without training rows (see `Split`) has statistics of all its observed rows, since none of them
    is forecast for evaluation; one without any observed training row has the mean statistics of the others. All series
    have their numbers; which of them are trained on, `lstmjax.data.prepare` knows.

    Args:
        panel: the data.
        split: which rows are for training.
        config: ``scaler`` and ``scaler_scope``.

    Returns:
        The statistics.

    Raises:
        DataError: a target that is not positive, and ``config.transform`` is log; values so large or so alike that
            float64 does not hold their statistics.

    Warns:
        DataWarning: a series whose training rows are all equal; its scale is 1.
    """
    panel = transformed(panel, config.transform)
    train_rows = _first_rows(panel, split.train_end)
    statistic = SCALERS[config.scaler]
    if config.scaler_scope == "series":
        fitted = np.where(split.train_end > 0, split.train_end, panel.observed)
        y_center, y_scale = by_series(panel.y, panel.offsets, fitted, statistic)
    else:
        y_center, y_scale = (array[None] for array in each_column(panel.y[train_rows], statistic))
    hist_center, hist_scale = each_column(panel.hist[train_rows], covariate)
    futr_center, futr_scale = each_column(panel.futr[train_rows], covariate)
    stat_center, stat_scale = each_column(panel.stat, covariate)
    _warn_constant(panel, split)
    scaling = Scaling(
        transform=config.transform,
        scaler=config.scaler,
        per_series=config.scaler_scope == "series",
        y_center=y_center,
        y_scale=y_scale,
        hist_center=hist_center,
        hist_scale=hist_scale,
        futr_center=futr_center,
        futr_scale=futr_scale,
        stat_center=stat_center,
        stat_scale=stat_scale,
        series=np.arange(len(panel.ids)),
    )
    _check_statistics(scaling, panel)
    return scaling


def scale(panel: Panel, scaling: Scaling) -> PanelArrays:
    """The panel in scaled units, ready for the device: float32, 0 where missing.

    The covariates of the calendar come behind the known-future ones.

    Args:
        panel: the data. Its series are those of the statistics: see `align`.
        scaling: the statistics.

    Returns:
        NumPy arrays.

    Raises:
        DataError: a target that is not positive is to be transformed by log.
    """
    panel = transformed(panel, scaling.transform)
    series = np.repeat(np.arange(len(panel.ids)), panel.lengths)
    center, spread = _target_statistics(scaling, series)
    y, y_mask = _masked((panel.y - center) / spread)
    hist, hist_mask = _masked((panel.hist - scaling.hist_center) / scaling.hist_scale)
    futr, futr_mask = _masked(_with_calendar(panel, series, (panel.futr - scaling.futr_center) / scaling.futr_scale))
    stat = ((panel.stat - scaling.stat_center) / scaling.stat_scale).astype(np.float32)
    weight = np.nan_to_num(panel.weight[:, 0]).astype(np.float32) if panel.weight.shape[1] else None
    offsets, numbers = panel.offsets.astype(np.int32), scaling.series.astype(np.int32)
    return PanelArrays(y, y_mask, hist, hist_mask, futr, futr_mask, stat, offsets, numbers, weight)


def rescaling(base: Scaling, own: Scaling, arrays: PanelArrays) -> Rescaling:
    """What turns a panel scaled by one set of statistics into the same panel scaled by another.

    Args:
        base: the statistics that the panel is scaled by.
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
    then, now = _target_statistics(base, numbers), _target_statistics(own, numbers)
    columns: dict[str, np.ndarray] = {}
    for name, width, (center, spread), (own_center, own_spread) in (
        ("y", arrays.y.shape[1], then, now),
        ("hist", arrays.hist.shape[1], (base.hist_center, base.hist_scale), (own.hist_center, own.hist_scale)),
        ("futr", arrays.futr.shape[1], (base.futr_center, base.futr_scale), (own.futr_center, own.futr_scale)),
        ("stat", arrays.stat.shape[1], (base.stat_center, base.stat_scale), (own.stat_center, own.stat_scale)),
    ):
        factor, shift = spread / own_spread, (center - own_center) / own_spread
        unscaled = width - factor.shape[-1]  # the calendar's columns, behind those of the table
        columns[f"{name}_factor"] = np.append(factor, np.ones(unscaled)) if unscaled else factor
        columns[f"{name}_shift"] = np.append(shift, np.zeros(unscaled)) if unscaled else shift
    arrays32 = {name: column.astype(np.float32) for name, column in columns.items()}
    return Rescaling(**arrays32, series=own.series.astype(np.int32))


def unscale(
    values: Float[np.ndarray, "W H C"], series: Int[np.ndarray, " W"], scaling: Scaling
) -> Float64[np.ndarray, "W H C"]:
    """Scaled targets in the table's units.

    Args:
        values: (W, H, C) scaled values of W windows.
        series: (W,) the series of each.
        scaling: the statistics.

    Returns:
        (W, H, C) float64.
    """
    center, spread = _target_statistics(scaling, np.asarray(series))
    return TRANSFORMS[scaling.transform].inverse(np.asarray(values, np.float64) * spread[:, None] + center[:, None])


def scale_targets(
    values: Float[np.ndarray, "W H C"], series: Int[np.ndarray, " W"], scaling: Scaling
) -> Float64[np.ndarray, "W H C"]:
    """Targets in scaled units, in float64: the inverse of `unscale`.

    Args:
        values: (W, H, C) targets of W windows in the table's units.
        series: (W,) the series of each.
        scaling: the statistics.

    Returns:
        (W, H, C) float64.
    """
    center, spread = _target_statistics(scaling, np.asarray(series))
    values = TRANSFORMS[scaling.transform].forward(np.asarray(values, np.float64))
    return (values - center[:, None]) / spread[:, None]


def align(scaling: Scaling, old_ids: Sequence[Any] | Shaped[np.ndarray, " M"], panel: Panel) -> Scaling:
    """The statistics for a new panel: known series keep theirs, unseen ones get those of their own observed rows.

    Args:
        scaling: the statistics of training.
        old_ids: (M,) identifiers of its series.
        panel: the new data.

    Returns:
        Statistics in the order of the new panel's series.

    Raises:
        DataError: as `fit_scaling`, of unseen series.
    """
    known = {name: row for row, name in enumerate(old_ids)}
    rows = np.array([known.get(name, -1) for name in panel.ids], np.int64)
    numbers = np.where(rows >= 0, scaling.series[rows], -1)
    if not scaling.per_series:
        return dataclasses.replace(scaling, series=numbers)
    panel = transformed(panel, scaling.transform)
    unseen = np.where(rows < 0, panel.observed, 0)
    others = scaling.y_center, scaling.y_scale
    own_center, own_scale = by_series(panel.y, panel.offsets, unseen, SCALERS[scaling.scaler], others)
    kept = (rows >= 0)[:, None]
    aligned = dataclasses.replace(
        scaling,
        y_center=np.where(kept, scaling.y_center[rows], own_center),
        y_scale=np.where(kept, scaling.y_scale[rows], own_scale),
        series=numbers,
    )
    _check_statistics(aligned, panel)
    return aligned


def _with_calendar(panel: Panel, series: np.ndarray, futr: np.ndarray) -> np.ndarray:
    """Known-future covariates with those that the timestamps tell."""
    if not panel.schema.calendar:
        return futr
    times = panel.timestamps(series, np.arange(len(series)) - panel.offsets[series])
    return np.concatenate([futr, calendar_features(times, panel.schema.calendar)], axis=1)


def _first_rows(panel: Panel, rows: np.ndarray) -> np.ndarray:
    """(R,) True in the first ``rows`` rows of each series."""
    row = np.arange(len(panel.y)) - np.repeat(panel.offsets[:-1], panel.lengths)
    return row < np.repeat(rows, panel.lengths)


def _target_statistics(scaling: Scaling, series: np.ndarray) -> Statistics:
    row = series if scaling.per_series else np.zeros_like(series)
    return scaling.y_center[row], scaling.y_scale[row]


def _masked(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mask = ~np.isnan(values)
    return np.where(mask, values, 0.0).astype(np.float32), mask


def _check_statistics(scaling: Scaling, panel: Panel) -> None:
    """Refuses what nothing can be scaled by: a square has twice the digits before the point, or after it."""
    of = [f"series {name!r}, " for name in panel.ids] if scaling.per_series else [""]
    groups = (
        (of, panel.schema.channels, scaling.y_center, scaling.y_scale),
        ([""], panel.schema.hist_exog, scaling.hist_center[None], scaling.hist_scale[None]),
        ([""], panel.schema.futr_exog, scaling.futr_center[None], scaling.futr_scale[None]),
        ([""], panel.schema.stat_exog, scaling.stat_center[None], scaling.stat_scale[None]),
    )
    for series, columns, center, spread in groups:
        useless = np.argwhere(~(np.isfinite(center) & np.isfinite(spread) & (spread > 0)))
        if len(useless):
            row, column = useless[0]
            raise DataError(
                f"{series[row]}column {columns[column]!r} is scaled by a center of {center[row, column]:g} and a scale "
                f"of {spread[row, column]:g}: give it in another unit, its values are too large or differ too little"
            )


def _warn_constant(panel: Panel, split: Split) -> None:
    names = []
    for name, begin, rows in zip(panel.ids, panel.offsets[:-1], split.train_end, strict=True):
        values = panel.y[begin : begin + rows]
        for column, channel in zip(values.T, panel.schema.channels, strict=True):
            observed = column[~np.isnan(column)]
            if len(observed) and observed.min() == observed.max():
                names.append(f"{name!r} ({channel!r} is always {observed[0]:g})")
    if names:
        warnings.warn(f"constant over the training rows: {first_few(names)}", DataWarning, stacklevel=3)
