"""Intervals from held-out errors: split conformal prediction, and conformalised quantile regression (CQR).

A bound at the quantile level p is ``base + offset * spread``, in scaled units:

=========== ======================= ======================= =======================
calibration base                    spread                  score of a held-out y
=========== ======================= ======================= =======================
none        the head's quantile p   0                       -
conformal   the head's median       the head's own spread   |y - median| / spread
cqr         the head's quantile p   1                       max(q_lo - y, y - q_hi)
=========== ======================= ======================= =======================

For a central interval that is to hold a fraction 1 - a, the offset is the k-th smallest of n scores, k = ceil((n + 1)
(1 - a)), below the middle with a minus sign: so a new y lies inside with a probability of at least 1 - a, whatever the
network, as long as its error is exchangeable with those held out. A quantile p is a bound of the interval that holds
|1 - 2p|.

References:
    Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005.
    Lei et al., `Distribution-Free Predictive Inference for Regression <https://arxiv.org/abs/1604.04173>`_, 2018.
    Romano, Patterson, Candes, `Conformalized Quantile Regression <https://arxiv.org/abs/1905.03222>`_, 2019.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmjax.config import CalibrationName, CalibrationScope
from lstmjax.errors import DataError
from lstmjax.window import Forecast, Head


class Errors(NamedTuple):
    """Held-out windows: what was forecast, and what came. In scaled units, float32."""

    y: Float[np.ndarray, "W H C"]
    """The truth; NaN where missing."""
    parameters: Float[np.ndarray, "W H C P"]
    """The parameters of the forecasts."""
    series: Int[np.ndarray, " W"]
    """The series of each window."""

    def signed(self, head: Head) -> Float[np.ndarray, "W H C"]:
        """Error above the median, in units of the head's spread."""
        forecast = Forecast(jnp.asarray(self.parameters), head)
        return (self.y - np.asarray(forecast.median())) / np.asarray(forecast.spread())


def interval_of(probability: float) -> float:
    """The fraction that the central interval with a bound at this quantile level holds.

    >>> interval_of(0.1), interval_of(0.9), interval_of(0.5)
    (0.8, 0.8, 0.0)
    """
    return round(abs(1.0 - 2.0 * probability), 12)


def windows_needed(fraction: float) -> int:
    """The least number of scores from which an interval can hold a fraction: the least n with (n + 1) fraction <= n.

    >>> windows_needed(0.8), windows_needed(0.95)
    (4, 19)
    """
    return math.ceil(round(fraction / (1.0 - fraction), 9))


def conformal_quantile(scores: Float[np.ndarray, "W *S"], fraction: float) -> Float[np.ndarray, "*S"]:
    """The k-th smallest of n scores, k = ceil((n + 1) fraction); infinite where n is too small for it.

    Args:
        scores: along the first axis; NaN where the truth was missing, which counts nowhere.
        fraction: that is to lie below.

    >>> conformal_quantile(np.arange(1.0, 10.0), 0.8)
    array(8.)
    """
    ordered = np.sort(scores, axis=0)  # NaN last
    count = (~np.isnan(scores)).sum(axis=0)
    place = np.ceil(np.round((count + 1) * fraction, 9)).astype(int)
    found = np.take_along_axis(ordered, np.clip(place - 1, 0, len(scores) - 1)[None], axis=0)[0]
    return np.where((place <= count) & (count > 0), found, np.inf)


def _conformal(errors: Errors, head: Head, fraction: float) -> np.ndarray:
    return abs(errors.signed(head))


def _cqr(errors: Errors, head: Head, fraction: float) -> np.ndarray:
    forecast = Forecast(jnp.asarray(errors.parameters), head)
    low, high = (np.asarray(forecast.quantile((1.0 + sign * fraction) / 2.0)) for sign in (-1.0, 1.0))
    return np.maximum(low - errors.y, errors.y - high)


SCORES: dict[str, Callable[[Errors, Head, float], np.ndarray]] = {"conformal": _conformal, "cqr": _cqr}
"""Scores (W, H, C) of held-out windows for an interval that is to hold a fraction, by ``outputs.calibration``."""


def offsets(
    errors: Errors,
    head: Head,
    probabilities: Sequence[float],
    *,
    calibration: CalibrationName,
    scope: CalibrationScope,
    series: int,
) -> Float[np.ndarray, "M H C K"]:
    """The offsets of bounds, per series, horizon step and target.

    Args:
        errors: of held-out windows.
        head: of the forecasts.
        probabilities: K quantile levels.
        calibration: conformal or cqr.
        scope: pooled or series.
        series: number of series N.

    Returns:
        M is N + 1: the last row is pooled. Series without a held-out truth have it too, as new ones have.

    Raises:
        DataError: there are too few windows for a level, or no truth of a step was observed.
    """
    require_windows(errors.y, errors.series, probabilities, scope)
    columns = []
    for probability in probabilities:
        fraction = interval_of(probability)
        if fraction == 0.0:
            columns.append(np.zeros((series + 1, *errors.y.shape[1:])))
            continue
        scores = SCORES[calibration](errors, head, fraction)
        rows = np.repeat(conformal_quantile(scores, fraction)[None], series + 1, axis=0)
        for number in groups_of(errors.y, errors.series, scope):
            if number is not None:
                rows[number] = conformal_quantile(scores[errors.series == number], fraction)
        columns.append(rows if probability > 0.5 else -rows)
    return np.stack(columns, axis=-1)


def widest_interval(errors: Errors, scope: CalibrationScope) -> float:
    """The largest fraction that a calibrated interval can hold at every step: n / (n + 1) for n held-out windows."""
    groups = groups_of(errors.y, errors.series, scope)
    fewest = min(int(_counts(errors.y, errors.series, number).min()) for number in groups)
    return fewest / (fewest + 1)


def groups_of(
    y: Float[np.ndarray, "W H C"], series: Int[np.ndarray, " W"], scope: CalibrationScope
) -> list[int] | list[None]:
    """The series that have offsets of their own: those with a held-out truth. ``[None]`` where all windows are pooled.

    Args:
        y: the truth of held-out windows; NaN where missing.
        series: the series of each.
        scope: pooled or series.
    """
    own = np.unique(series[~np.isnan(y).all(axis=(1, 2))]).tolist() if scope == "series" else []
    return own or [None]


def _counts(y: Float[np.ndarray, "W H C"], series: Int[np.ndarray, " W"], number: int | None) -> np.ndarray:
    """(H, C) the observed truths of a series, or of all."""
    return (~np.isnan(y if number is None else y[series == number])).sum(axis=0)


def require_windows(
    y: Float[np.ndarray, "W H C"],
    series: Int[np.ndarray, " W"],
    probabilities: Sequence[float],
    scope: CalibrationScope,
    names: Sequence[str] | None = None,
) -> None:
    """Refuses levels for which there are too few held-out windows.

    Args:
        y: the truth of held-out windows; NaN where missing.
        series: the series of each.
        probabilities: quantile levels.
        scope: pooled or series.
        names: of the series, for the message.

    Raises:
        DataError: names the level, what it needs, and what there is.
    """
    fraction = max(map(interval_of, probabilities), default=0.0)
    needed = windows_needed(fraction)
    for number in groups_of(y, series, scope):
        counts = _counts(y, series, number)
        if counts.min() >= needed:
            continue
        step, _ = np.unravel_index(np.argmin(counts), counts.shape)
        named = "" if number is None else f" of series {number if names is None else names[number]!r}"
        others = "" if number is None else ", or outputs.calibration_scope pooled"
        raise DataError(
            f"a calibrated interval of {100 * fraction:g}% needs {needed} held-out windows{named} with an observed "
            f"truth at every horizon step, and step {step + 1} has {counts.min()}: give more rows to "
            f"data.calibration_size (or to data.val_size, where that is 0), or ask for a lower level{others}"
        )


@dataclasses.dataclass(frozen=True)
class Bounds:
    """Reads a forecast's one number and its bounds at quantile levels; see this module. Hashable: it is compiled in.

    Attributes:
        levels: K ascending quantile levels.
        calibration: none, conformal or cqr.
    """

    levels: tuple[float, ...]
    calibration: CalibrationName

    def __call__(self, forecast: Forecast, offset: Float[Array, "#B H C K"] | None = None) -> Float[Array, "B H C J"]:
        """The forecast, and its bounds, which cross neither each other nor the forecast itself.

        Where offsets would make them cross, they are sorted, which never makes an interval hold less (Chernozhukov et
        al. 2010, https://doi.org/10.3982/ECTA7880).

        Args:
            forecast: of a batch of windows, in scaled units.
            offset: that of each bound; None where they are not calibrated.
        """
        point, offset = forecast.point()[..., None], jnp.float32(0.0) if offset is None else offset
        if self.calibration == "conformal":
            bounds = forecast.median()[..., None] + offset * forecast.spread()[..., None]
        else:
            bounds = forecast.quantile(self.levels) + offset
        bounds = jnp.maximum(jnp.sort(bounds, axis=-1), forecast.head.lower)
        below, above = (jnp.array([sign * (0.5 - level) >= 0.0 for level in self.levels]) for sign in (1.0, -1.0))
        bounds = jnp.where(below, jnp.minimum(bounds, point), bounds)
        return jnp.concatenate([point, jnp.where(above, jnp.maximum(bounds, point), bounds)], axis=-1)
