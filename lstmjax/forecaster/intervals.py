"""Intervals of a trained forecaster: from its head, or set by held-out errors."""

from collections.abc import Sequence
from numbers import Integral

import numpy as np
from jaxtyping import Array, Float, Int

from lstmjax.config import OutputsConfig
from lstmjax.data.frames import truth
from lstmjax.data.host_panel import ScaledPanel
from lstmjax.data.prepare import Prepared
from lstmjax.data.unscaling import scale_targets, unscale
from lstmjax.data.windows import Windows
from lstmjax.errors import ConfigError, DataError
from lstmjax.evaluation.calibration import (
    Bounds,
    Errors,
    interval_of,
    offsets,
    require_windows,
    widest_interval,
    windows_needed,
)
from lstmjax.evaluation.intervals import Asked
from lstmjax.forecaster.fitted import Fitted, Trained
from lstmjax.forecaster.network import UserNetwork, head_of, network_for
from lstmjax.training import functional, predict
from lstmjax.window import NO_DISTRIBUTION, Forecast, Head, Point

MOST_BYTES = 1 << 26
"""Bytes of the held-out errors that are kept: more windows than fit are drawn from at random, with a fixed seed."""

_FEWEST = 200  # windows that are kept in any case


def parameters_of(forecast: Forecast, of_series: None) -> Float[Array, "B H C P"]:
    """Reads the head's parameters from a forecast."""
    return forecast.parameters


def require_intervals(head: Head, outputs: OutputsConfig) -> None:
    """Refuses intervals that a head cannot give.

    Raises:
        ConfigError: says how to get them.
    """
    if not isinstance(head, Point):
        return
    if outputs.calibration == "cqr":
        raise ConfigError(
            "outputs.calibration is 'cqr', which moves the quantiles of a head, and a point forecast has none: choose "
            "conformal, or another model.head such as quantile"
        )
    asked = "outputs.level" if outputs.level else "outputs.quantiles" if outputs.quantiles else None
    if asked and outputs.calibration == "none":
        raise ConfigError(f"{asked} cannot be given: {NO_DISTRIBUTION}")


def require_errors(prepared: Prepared, outputs: OutputsConfig) -> None:
    """Refuses calibrated levels for which too few windows are held out: before training, not after it.

    Raises:
        DataError: names the level, what it needs, and what there is.
    """
    probabilities = Asked(outputs.level, outputs.quantiles).probabilities
    if outputs.calibration == "none" or not probabilities:
        return
    held, names = _held(prepared), prepared.panel.ids.tolist()
    y = truth(prepared.panel, held, prepared.spec.h)
    require_windows(y, np.asarray(held.series), probabilities, outputs.calibration_scope, names)


def _held(prepared: Prepared) -> Windows:
    """The windows whose errors calibrate: of the calibration rows, or where there are none of the validation rows."""
    return prepared.calibration if len(prepared.calibration.series) else prepared.validation


def with_errors(fitted: Fitted, network: UserNetwork | None, prepared: Prepared) -> Fitted:
    """A trained forecaster with the errors of held-out windows, where intervals or sample paths may need them.

    They are those of the calibration rows, or, where there are none, of the validation rows. A point forecast that is
    not calibrated needs none.

    Args:
        fitted: what was trained.
        network: a network of the user's own; None for that of its config.
        prepared: what it was trained on.
    """
    held = _held(prepared)
    head = head_of(network, fitted.config, prepared.spec)
    if not len(held.series) or (isinstance(head, Point) and fitted.config.outputs.calibration == "none"):
        return fitted.replace(errors=None)
    size = 4 * prepared.spec.h * prepared.spec.targets * (head.size + 1)
    chosen = _kept(held, max(MOST_BYTES // size, _FEWEST), fitted.config.outputs, prepared)
    windows = Windows(*(np.asarray(column)[chosen] for column in held))
    structure, _ = functional(network_for(network, fitted.config, prepared.spec))
    weights, series = fitted.selected.weights, np.asarray(windows.series)
    parameters = predict(structure, weights, prepared.arrays, windows, prepared.spec, read=parameters_of)
    y = scale_targets(truth(prepared.panel, windows, prepared.spec.h), series, prepared.scaling)
    return fitted.replace(errors=Errors(y.astype(np.float32), parameters, series))


def _kept(held: Windows, most: int, outputs: OutputsConfig, prepared: Prepared) -> Int[np.ndarray, " W"]:
    """The windows whose errors are kept; of series that are calibrated alone as many each as there are of others.

    They are drawn at random: windows evenly spaced could all begin at the same hour.
    """
    series, random = np.asarray(held.series), np.random.default_rng(0)
    if len(series) <= most:
        return np.arange(len(series))
    if outputs.calibration_scope == "pooled":
        return np.sort(random.choice(np.arange(len(series)), most, replace=False))
    missing = np.isnan(truth(prepared.panel, held, prepared.spec.h)).any(axis=(1, 2))
    order = np.lexsort([random.permutation(len(series)), missing, series])  # whole windows first
    begins = np.searchsorted(series[order], series[order])
    rank = np.arange(len(series)) - begins  # among those of the same series
    fractions = map(interval_of, Asked(outputs.level, outputs.quantiles).probabilities)
    each = max(most // len(np.unique(series)), windows_needed(max(fractions, default=0.0)))
    return np.sort(order[rank < each])


def forecast_bounds(
    fitted: Fitted,
    network: UserNetwork | None,
    windows: Windows,
    trained: Trained,
    arrays: ScaledPanel,
    probabilities: Sequence[float],
) -> tuple[Float[np.ndarray, "W H C"], Float[np.ndarray, "W H C K"]]:
    """Forecasts of windows and their bounds at quantile levels, in the table's units.

    Args:
        fitted: a trained forecaster.
        network: a network of the user's own; None for that of its config.
        windows: W windows.
        trained: which of its weights, with statistics of the panel's series.
        arrays: the panel scaled by them.
        probabilities: K ascending quantile levels; there may be none.

    Raises:
        ConfigError: a point forecast is not calibrated, or no errors were kept.
        DataError: there are too few held-out windows for a level.
    """
    levels = tuple(probabilities)
    kind = fitted.config.outputs.calibration
    structure, _ = functional(network_for(network, fitted.config, fitted.spec))
    series = np.asarray(windows.series)
    if not levels:
        point = predict(structure, trained.weights, arrays, windows, fitted.spec)
        return unscale(point, series, trained.scaling), np.empty((*point.shape, 0))
    head = head_of(network, fitted.config, fitted.spec)
    if kind == "none" and isinstance(head, Point):
        raise ConfigError(f"intervals cannot be given: {NO_DISTRIBUTION}")
    offset = None if kind == "none" else calibration_offsets(fitted, head, levels, trained)
    read = Bounds(levels, kind)
    found = predict(structure, trained.weights, arrays, windows, fitted.spec, read=read, by_series=offset)
    values = np.empty(found.shape)
    for place in range(found.shape[-1]):
        values[..., place] = unscale(found[..., place], series, trained.scaling)
    return values[..., 0], values[..., 1:]


def sample_paths(
    fitted: Fitted,
    network: UserNetwork | None,
    windows: Windows,
    trained: Trained,
    arrays: ScaledPanel,
    count: int,
) -> Float[np.ndarray, "W S H C"]:
    """Draws paths over the horizon: values of the forecast's own distributions, joined as held-out errors were.

    For each path one held-out window is drawn; where its error at a step ranked high among those of that step, the
    path takes a high quantile of the forecast's distribution there (the empirical copula, as in the Schaake shuffle).
    So errors that last over the horizon do so in the paths, and a sum over the horizon has an honest spread. Targets of
    one series are joined too; different series are independent.

    Args:
        fitted: a trained forecaster with errors.
        network: as in `forecast_bounds`.
        windows: as in `forecast_bounds`.
        trained: as in `forecast_bounds`.
        arrays: as in `forecast_bounds`.
        count: S, paths per window.

    Returns:
        Values in the table's units, the same for the same seed (``train.seed``).

    Raises:
        ConfigError: no errors were kept.
        DataError: fewer than two held-out windows have a truth at every step.

    References:
        Clark et al., `The Schaake Shuffle <https://doi.org/10.1175/1525-7541(2004)005%3C0243:TSSAMF%3E2.0.CO;2>`_, 2004
    """
    if isinstance(count, bool) or not isinstance(count, Integral) or count < 1:
        raise ConfigError(f"num_samples is {count!r}: expected at least 1, a whole number")
    errors, head = _errors(fitted), head_of(network, fitted.config, fitted.spec)
    signed = errors.signed(head)
    signed = signed[np.isfinite(signed).all(axis=(1, 2))]
    held = len(signed)
    if held < 2:
        raise DataError(
            f"sample paths need two held-out windows with a truth at every step, and there are {held}: give more rows "
            "to data.calibration_size or data.val_size"
        )
    outputs = fitted.config.outputs
    widest = 1.0 if outputs.calibration == "none" else widest_interval(errors, outputs.calibration_scope)
    levels = _GRID[abs(1.0 - 2.0 * _GRID) <= widest]
    if len(levels) < 2:
        raise DataError(
            "sample paths need a held-out window with a truth at every step of each series, and one series has none: "
            "give more rows to data.calibration_size or data.val_size, or choose outputs.calibration_scope pooled"
        )
    _, quantiles = forecast_bounds(fitted, network, windows, trained, arrays, levels.tolist())
    random = np.random.default_rng(fitted.config.train.seed)
    ranks = signed.argsort(axis=0).argsort(axis=0)  # (held, H, C)
    shape = (len(windows.series), count)
    drawn = ranks[random.integers(held, size=shape)]  # (W, S, H, C)
    uniform = (drawn + random.random(drawn.shape)) / held
    place = np.clip((uniform - levels[0]) / (levels[1] - levels[0]), 0, len(levels) - 1)
    below = np.floor(place).astype(int)
    low, high = (_picked(quantiles, index) for index in (below, np.minimum(below + 1, len(levels) - 1)))
    return np.rint(low) if head.counts else low + (place - below) * (high - low)  # calibrated bounds are no counts


_GRID = np.arange(1, 200) / 200.0
"""Quantile levels between which paths interpolate."""


def _picked(quantiles: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Quantiles (W, H, C, K) at indices (W, S, H, C)."""
    return np.take_along_axis(quantiles[:, None], index[..., None], axis=-1)[..., 0]


def calibration_offsets(
    fitted: Fitted, head: Head, levels: Sequence[float], trained: Trained, *, pooled: bool = False
) -> Float[np.ndarray, "M H C K"]:
    """The offsets of bounds by the panel's N series, in the scaled units of the weights at hand.

    Args:
        fitted: a trained forecaster.
        head: of its forecasts.
        levels: K quantile levels.
        trained: which of its weights, with statistics of the panel's N series.
        pooled: whether one more row follows, for a series that is not in the panel.

    Raises:
        ConfigError: no errors were kept.
        DataError: there are too few held-out windows for a level.
    """
    outputs, number = fitted.config.outputs, trained.scaling.series  # -1, the last row, of series not trained on
    found = offsets(
        _errors(fitted),
        head,
        levels,
        calibration=outputs.calibration,
        scope=outputs.calibration_scope,
        series=len(fitted.tail.ids),
    )
    last, found = found[-1:], found[number]
    if trained.weights is not fitted.selected.weights and (outputs.calibration == "cqr" or isinstance(head, Point)):
        # Errors are in units of the selected weights' statistics; those of a refit differ a little.
        then, now = (
            scaling.of_targets(rows)[1]
            for scaling, rows in (
                (fitted.selected.scaling, np.maximum(number, 0)),
                (trained.scaling, np.arange(len(number))),
            )
        )
        found = found * np.where(number[:, None] < 0, 1.0, then / now)[:, None, :, None]
    return (np.concatenate([found, last]) if pooled else found).astype(np.float32)


def _errors(fitted: Fitted) -> Errors:
    if fitted.errors is None:
        raise ConfigError(
            "this forecaster has kept no held-out errors to calibrate with: train it with outputs.calibration "
            "conformal, and with rows in data.calibration_size or data.val_size"
        )
    return fitted.errors
