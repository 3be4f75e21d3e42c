"""Rounding: how far apart equal values come out of a calculation. What differs by no more counts as constant.

The functions take NumPy and JAX arrays alike: `lstmjax.forecaster.export` puts them into a compiled program.
"""

from typing import Any

import numpy as np

_STEPS = 4
"""Units in the last place that rounding may take from a value, or add to it, before it counts as changed."""

_SINGLE = 2.0**-23
"""Relative precision of float32."""


def precision(values: Any) -> Any:
    """The relative precision of numbers, of each column.

    Args:
        values: (T, ...) a NumPy or JAX array; NaN where missing.

    Returns:
        (...): 0 for whole numbers that float32 holds, which are exact; that of float32 for other numbers that float32
        holds, as a float64 column does that was float32 before; else that of the array's type.
    """
    xp = values.__array_namespace__()
    missing = xp.isnan(values)
    with np.errstate(over="ignore"):  # beyond float32 is not float32
        single = xp.all(missing | (values == values.astype(xp.float32)), axis=0)
    whole = xp.all(missing | (values == xp.round(values)), axis=0) & (_largest(values) < 2**24)
    return xp.where(whole, 0.0, xp.where(single, _SINGLE, float(xp.finfo(values.dtype).eps)))


def rounding(values: Any) -> Any:
    """The largest difference between the values of a column that may be rounding alone.

    Args:
        values: as for `precision`.

    Returns:
        (...), in the unit of the values.

    >>> bool(rounding(np.array([1e9, 1e9 + 0.5])) < 0.5)
    True
    """
    return _STEPS * precision(values) * _largest(values)


def constant(values: Any) -> Any:
    """Whether the values of a column differ by rounding alone.

    Args:
        values: as for `precision`.

    Returns:
        (...) booleans; True where nothing was observed.

    >>> bool(constant(np.array([0.3, 0.1 + 0.2]))), bool(constant(np.array([1e-12, 2e-12])))
    (True, False)
    """
    xp = values.__array_namespace__()
    missing = xp.isnan(values)
    highest = xp.max(xp.where(missing, -xp.inf, values), axis=0, initial=-xp.inf)
    lowest = xp.min(xp.where(missing, xp.inf, values), axis=0, initial=xp.inf)
    return highest - lowest <= rounding(values)


def repeats(values: np.ndarray, period: int) -> np.ndarray:
    """Whether a series repeats itself period for period, but for rounding.

    Each place in the period is compared over all periods, so that a slow trend is not taken for rounding. A sine loses
    more digits than a sum: a third of them may differ, relative to the range of the series.

    Args:
        values: (T, C) NumPy; NaN where missing.
        period: rows in one period.

    Returns:
        (C,) booleans.

    >>> wave = np.sin(np.arange(1000.0) * np.pi / 12)[:, None]
    >>> repeats(wave, 24), repeats(wave + 1e-6 * np.arange(1000.0)[:, None], 24)
    (array([ True]), array([False]))
    """
    rows = -(-len(values) // period) * period
    padded = np.full((rows, values.shape[1]), np.nan)
    padded[: len(values)] = values
    places = padded.reshape(-1, period, values.shape[1])
    allowed = rounding(values) + precision(values) ** (2 / 3) * _range(values)
    return (_range(places) <= allowed).all(axis=0)  # (period, C)


def _range(values: np.ndarray) -> np.ndarray:
    """Highest less lowest value over the first axis; 0 where nothing was observed."""
    highest, lowest = np.fmax.reduce(values, initial=-np.inf), np.fmin.reduce(values, initial=np.inf)
    return np.maximum(highest - lowest, 0.0)


def _largest(values: Any) -> Any:
    xp = values.__array_namespace__()
    return xp.max(xp.where(xp.isnan(values), 0.0, xp.abs(values)), axis=0, initial=0.0)
