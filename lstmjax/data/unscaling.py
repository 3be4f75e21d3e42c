"""From scaled values to the units of the table, and back."""

from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int

from lstmjax.data.scaling import Scaling
from lstmjax.data.transform import TRANSFORMS

_WINDOWS = 1 << 14
"""Windows whose forecasts are turned into units at a time: temporary arrays stay small."""


def unscale(
    values: Float[np.ndarray, "W H C"], series: Int[np.ndarray, " W"], scaling: Scaling
) -> Float64[np.ndarray, "W H C"]:
    """Turns scaled forecasts of targets into the table's units, no lower than `Scaling.clip_min`.

    Args:
        values: (W, H, C) scaled values of W windows.
        series: (W,) the series of each.
        scaling: the statistics.

    Returns:
        (W, H, C) float64.
    """
    found = np.empty(np.shape(values))
    for first in range(0, len(found), _WINDOWS):
        some = slice(first, first + _WINDOWS)
        center, spread = scaling.of_targets(np.asarray(series)[some])
        scaled = np.asarray(values[some], np.float64)
        found[some] = in_units(scaled, center[:, None], spread[:, None], scaling.transform, scaling.clip_min)
    return found


def in_units(values: Any, center: Any, spread: Any, transform: str, clip_min: float | None = None) -> Any:
    """Turns scaled values into the table's units: the one place that does so, with NumPy and with JAX.

    Args:
        values: a NumPy or JAX array.
        center: of the targets, of a shape that fits.
        spread: of the targets.
        transform: which is undone.
        clip_min: the least value, see `Scaling`; missing values stay missing.
    """
    values = TRANSFORMS[transform].inverse(values * spread + center)
    return values if clip_min is None else values.__array_namespace__().maximum(values, clip_min)


def scale_targets(
    values: Float[np.ndarray, "W H C"], series: Int[np.ndarray, " W"], scaling: Scaling
) -> Float64[np.ndarray, "W H C"]:
    """Scales targets, in float64: the inverse of `unscale`, where nothing is clipped.

    Args:
        values: (W, H, C) targets of W windows in the table's units.
        series: (W,) the series of each.
        scaling: the statistics.

    Returns:
        (W, H, C) float64.
    """
    center, spread = scaling.of_targets(np.asarray(series))
    values = TRANSFORMS[scaling.transform].forward(np.asarray(values, np.float64))
    return (values - center[:, None]) / spread[:, None]
