"""The statistics of scaling: of the training rows, and of series that come later."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int, Shaped

from lstmjax.config import DataConfig
from lstmjax.data.categories import Categories, encoded, encoded_names, trained_categories
from lstmjax.data.panel import Panel
from lstmjax.data.scalers import SCALERS, Statistic, Statistics, by_series, covariate, each_column
from lstmjax.data.scaling import COVARIATES, Scaling
from lstmjax.data.scaling_checks import check_statistics, warn_clipped, warn_constant, warn_rounded
from lstmjax.data.series_ids import as_labels, places
from lstmjax.data.split import Split
from lstmjax.data.transform import transformed


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
    categories = trained_categories(panel, split.train_end) if categories is None else categories
    panel = encoded(panel, categories)
    scaler = "standard" if config.scaler == "auto" else config.scaler  # as without a head that needs another
    statistic = SCALERS[scaler]
    fitted = np.where(split.train_end > 0, split.train_end, panel.observed)
    if config.scaler_scope == "series":
        y_center, y_scale = by_series(panel.y, panel.offsets, fitted, statistic)
    else:
        y_center, y_scale = (array[None] for array in _of_first_rows(panel, "y", split.train_end, statistic))
    statistics = {"y_center": y_center, "y_scale": y_scale}
    for group in COVARIATES:
        found = each_column(panel.stat, covariate) if group == "stat" else None
        found = _of_first_rows(panel, group, split.train_end, covariate) if found is None else found
        statistics[f"{group}_center"], statistics[f"{group}_scale"] = found
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


def _of_first_rows(panel: Panel, group: str, rows: np.ndarray, statistic: Statistic) -> Statistics:
    """Statistics of each column over the first rows of all series, two of (F,); a column is in memory at a time."""
    found = []
    for column in range(getattr(panel, group).shape[1]):
        values = []
        for some, part in panel.parts():
            series, row = part.rows
            values.append(getattr(part, group)[row < rows[some][series], column])
        found.append(each_column(np.concatenate(values)[:, None], statistic))
    center, spread = (np.concatenate([one[place] for one in found] or [np.empty(0)]) for place in range(2))
    return center, spread


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


def _check_statistics(scaling: Scaling, panel: Panel) -> None:
    """Requires finite centers and positive scales of targets and covariates."""
    schema = panel.schema
    check_statistics(panel.ids if scaling.per_series else None, schema.channels, scaling.y_center, scaling.y_scale)
    for group, names in zip(COVARIATES, (schema.hist_exog, schema.futr_exog, schema.stat_exog), strict=True):
        center, spread = scaling.of_covariates(group)
        check_statistics(None, tuple(encoded_names(names, scaling.categories)), center[None], spread[None])


def _deviations(panel: Panel, rows: Int[np.ndarray, " N"]) -> Float64[np.ndarray, "N C"]:
    """Returns the deviations of the first rows of each series, in the table's units; 1 where they are constant."""
    _, deviation = by_series(panel.y, panel.offsets, rows, SCALERS["standard"])
    return np.where(np.isfinite(deviation) & (deviation > 0), deviation, 1.0)
