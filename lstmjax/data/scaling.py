"""Scaling: the statistics as values, applied in float64. They are fitted in `lstmjax.data.scaling_fit`."""

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Float64, Int, Int64

from lstmjax.data.calendar import time_features
from lstmjax.data.categories import Categories, encoded
from lstmjax.data.panel import Panel
from lstmjax.data.scalers import Statistics
from lstmjax.data.transform import transformed
from lstmjax.data.windows import PanelArrays, Rescaling

if TYPE_CHECKING:
    from lstmjax.data.host_panel import HostPanel


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


COVARIATES = ("hist", "futr", "stat")
"""The groups of covariates."""


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
    parts, statics = [], []
    for some, part in panel.parts():
        series, row = part.rows
        own = encoded(transformed(part, scaling.transform), scaling.categories)
        parts.append(scaled_rows(own, scaling, series, row, some.start))
        statics.append(((own.stat - scaling.stat_center) / scaling.stat_scale).astype(np.float32))
    columns: list[Any] = [None if each[0] is None else np.concatenate(each) for each in zip(*parts, strict=True)]
    y, y_mask, hist, hist_mask, futr, futr_mask, weight = columns
    stat = np.concatenate(statics)
    offsets, numbers = panel.offsets.astype(np.int32), scaling.series.astype(np.int32)
    return PanelArrays(y, y_mask, hist, hist_mask, futr, futr_mask, stat, offsets, numbers, weight)


def scaled_rows(panel: Panel, scaling: Scaling, series: np.ndarray, row: np.ndarray, first: int = 0) -> tuple[Any, ...]:
    """Scales rows.

    Args:
        panel: holds the rows, with targets transformed and covariates encoded.
        scaling: the statistics.
        series: (R,) the series of each row.
        row: (R,) its row number within the series.
        first: the number of the panel's first series among those of the statistics.

    Returns:
        Values and masks of targets, historic and known-future covariates; and the weights, None where all count alike.
    """
    center, spread = scaling.of_targets(series + first)
    y, y_mask = _masked((panel.y - center) / spread)
    hist, hist_mask = _masked((panel.hist - scaling.hist_center) / scaling.hist_scale)
    scaled = (panel.futr - scaling.futr_center) / scaling.futr_scale
    if panel.schema.calendar or panel.schema.holidays:
        scaled = np.hstack([scaled, time_features(panel.timestamps(series, row), panel.schema)])
    futr, futr_mask = _masked(scaled)
    weight = np.nan_to_num(panel.weight[:, 0]).astype(np.float32) if panel.weight.shape[1] else None
    return y, y_mask, hist, hist_mask, futr, futr_mask, weight


def rescaling(base: Scaling, own: Scaling, arrays: "PanelArrays | HostPanel") -> Rescaling:
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
    for group in ("y", *COVARIATES):
        (center, spread), (own_center, own_spread) = (
            scaling.of_targets(numbers) if group == "y" else scaling.of_covariates(group) for scaling in (base, own)
        )
        factor, shift = spread / own_spread, (center - own_center) / own_spread
        unscaled = arrays.width(group) - factor.shape[-1]  # the calendar's columns, after the table's
        columns[f"{group}_factor"] = np.append(factor, np.ones(unscaled)) if unscaled else factor
        columns[f"{group}_shift"] = np.append(shift, np.zeros(unscaled)) if unscaled else shift
    arrays32 = {name: column.astype(np.float32) for name, column in columns.items()}
    return Rescaling(**arrays32, series=own.series.astype(np.int32))


def _masked(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mask = ~np.isnan(values)
    return np.where(mask, values, 0.0).astype(np.float32), mask
