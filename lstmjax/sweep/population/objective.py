"""The objective that a sweep ranks its trials by: a metric of the validation windows, in the table's units.

The default is the mean absolute error over the deviation of the training rows: it means the same for every series, and
does not depend on a trial's scaler, loss or lookback.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from lstmjax.data.prepare import Prepared
from lstmjax.errors import ConfigError
from lstmjax.evaluation.metrics import seasonal_scale
from lstmjax.training import Measure, Objective, Units

DEFAULT_METRIC = "scaled_mae"

Weights = Float[np.ndarray, "N C"]


def make_objective(metric: str, data: Prepared) -> Objective:
    """Makes the objective for prepared data.

    Args:
        metric: key of `WEIGHTS`.
        data: split, scaled and windowed; its validation windows are what counts.

    Raises:
        ConfigError: the metric is unknown, or cannot be computed for this data.
    """
    check_metric(metric)
    shape = (len(data.panel.ids), data.spec.targets)
    scaling = data.scaling
    center, spread = (np.broadcast_to(a, shape).astype(np.float32) for a in (scaling.y_center, scaling.y_scale))
    counts = _observed_targets(data)
    if not counts.any():
        raise ConfigError("there is no validation window to rank trials by: set data.val_size to at least data.h rows")
    weights = WEIGHTS[metric](data, counts).astype(np.float32)
    return Objective(Measure(metric, scaling.transform), Units(center, spread, weights))


def check_metric(metric: str) -> None:
    """Raises `ConfigError` for a metric that does not exist."""
    if metric not in WEIGHTS:
        raise ConfigError(f"metric is {metric!r}: expected one of {', '.join(WEIGHTS)}")


def _one(data: Prepared, counts: Weights) -> Weights:
    return np.ones(counts.shape)


def _by_deviation(data: Prepared, counts: Weights) -> Weights:
    """1 / deviation of the training rows; 1 for a series that is constant there, or has no training rows."""
    panel = data.panel
    weights = np.ones(counts.shape)
    for series, (begin, rows) in enumerate(zip(panel.offsets[:-1], data.split.train_end, strict=True)):
        for channel, values in enumerate(panel.y[begin : begin + rows].T):
            observed = values[~np.isnan(values)]
            if len(observed) and observed.min() < observed.max():
                weights[series, channel] = 1.0 / observed.std()
    return weights


def _by_season(data: Prepared, counts: Weights) -> Weights:
    """For MASE, a mean over series: each counts once, however many windows it has."""
    panel, season = data.panel, data.config.season_length or 1
    begins = zip(panel.offsets[:-1], data.split.train_end, strict=True)
    scale = np.stack([seasonal_scale(panel.y[begin : begin + rows], season) for begin, rows in begins])
    usable = (counts > 0) & (scale > 0)
    if not usable.any():
        raise ConfigError(
            f"metric is 'mase', but in no series do training rows one season ({season} rows) apart differ: "
            "choose another metric, or a smaller data.season_length"
        )
    return np.where(usable, counts.sum() / usable.sum() / np.where(usable, counts * scale, 1.0), 0.0)


WEIGHTS: dict[str, Callable[[Prepared, Weights], Weights]] = {
    "scaled_mae": _by_deviation,
    "mae": _one,
    "mse": _one,
    "rmse": _one,
    "smape": _one,
    "mase": _by_season,
}
"""The weight of an error by series and target, given how often each is an observed target; by the metric's name.
`lstmjax.training.METRICS` has the errors. All but scaled_mae are those of `lstmjax.evaluation.metrics`; MASE is
scaled by the training rows, which are those before the first validation target."""


def _observed_targets(data: Prepared) -> Weights:
    """(N, C) how often an observed value is a target of the validation windows."""
    panel, windows = data.panel, data.validation
    before = np.concatenate([np.zeros((1, panel.y.shape[1])), np.cumsum(~np.isnan(panel.y), axis=0)])
    begin = panel.offsets[windows.series] + windows.origin
    counts = np.zeros((len(panel.ids), panel.y.shape[1]))
    np.add.at(counts, windows.series, before[begin + data.spec.h] - before[begin])
    return counts
