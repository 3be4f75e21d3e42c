"""A metric of the validation windows, in the table's units, as an objective: what a sweep ranks its trials by.

The default is the mean absolute error over the deviation of the training rows: it means the same for every series, and
does not depend on a trial's scaler, loss or lookback.
"""

import numpy as np
from jaxtyping import Float

from lstmjax.data.frames import truth
from lstmjax.data.prepare import Prepared
from lstmjax.errors import ConfigError
from lstmjax.evaluation.metrics import METRICS
from lstmjax.evaluation.scales import seasonal_scales
from lstmjax.training.objective import PROBABILISTIC, SCALED_MAE, Measure, Objective, Units

Weights = Float[np.ndarray, "N C"]


def make_objective(metric: str, data: Prepared) -> Objective:
    """Makes the objective for prepared data.

    Args:
        metric: one of `metric_names`.
        data: split, scaled and windowed; its validation windows are what counts.

    Raises:
        ConfigError: the metric is unknown, or cannot be computed for this data.
    """
    if metric not in metric_names():
        raise ConfigError(f"metric is {metric!r}: expected one of {', '.join(metric_names())}")
    shape = (len(data.panel.ids), data.spec.targets)
    scaling = data.scaling
    center, spread = (np.broadcast_to(a, shape).astype(np.float32) for a in (scaling.y_center, scaling.y_scale))
    counts = _observed_targets(data)
    if not counts.any():
        raise ConfigError("there is no validation window to rank trials by: set data.val_size to at least data.h rows")
    measure = Measure(metric, scaling.transform, scaling.clip_min)
    return Objective(measure, Units(center, spread, _weights(metric, data, counts).astype(np.float32)))


def metric_names() -> list[str]:
    """The metrics a sweep can rank by: those of evaluation, and the default."""
    return [SCALED_MAE, *METRICS, *PROBABILISTIC]


def _weights(metric: str, data: Prepared, counts: Weights) -> Weights:
    """The weight of an error by series and target, given how often each is an observed target."""
    if metric == SCALED_MAE:
        return 1.0 / data.scaling.y_deviation
    if metric == "wql":
        return np.broadcast_to(counts.sum() / _total_sizes(data) / counts.shape[1], counts.shape)
    seasonal = metric == "sql" or (metric in METRICS and METRICS[metric].seasonal)
    return _by_season(metric, data, counts) if seasonal else np.ones(counts.shape)


def _total_sizes(data: Prepared) -> Float[np.ndarray, " C"]:
    """The absolute values of each target of the validation windows; WQL divides by them, and is a mean over targets."""
    sizes = np.nansum(abs(truth(data.panel, data.validation, data.spec.h)), axis=(0, 1))
    if not (sizes > 0).all():
        target = data.panel.schema.channels[int(np.argmin(sizes))]
        raise ConfigError(
            f"metric is 'wql', which divides by the size of each target, and those of {target!r} are all 0: choose crps"
        )
    return sizes


def _by_season(metric: str, data: Prepared, counts: Weights) -> Weights:
    """For MASE, a mean over series: each counts once, however many windows it has.

    It is scaled by the training rows, which are those before the first validation target.
    """
    season = data.config.season_length or 1
    scale = seasonal_scales(data.panel, data.split.train_end, season, forecast=np.asarray(data.validation.series))
    usable = (counts > 0) & (scale > 0)
    if not usable.any():
        raise ConfigError(
            f"metric is {metric!r}, but in no series do training rows one season ({season} rows) apart differ: "
            "choose another metric, or a smaller data.season_length"
        )
    return np.where(usable, counts.sum() / usable.sum() / np.where(usable, counts * scale, 1.0), 0.0)


def _observed_targets(data: Prepared) -> Weights:
    """(N, C) how often an observed value is a target of the validation windows."""
    observed = ~np.isnan(truth(data.panel, data.validation, data.spec.h))  # (W, H, C)
    counts = np.zeros((len(data.panel.ids), data.spec.targets))
    np.add.at(counts, np.asarray(data.validation.series), observed.sum(axis=1))
    return counts
