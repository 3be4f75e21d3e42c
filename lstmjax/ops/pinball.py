"""The pinball loss, of which a quantile is the best forecast."""

from typing import Any


def pinball(y: Any, quantile: Any, q: Any) -> Any:
    """The pinball loss of a forecast quantile, 2 max(q (y - f), (q - 1) (y - f)), of NumPy or JAX arrays.

    With the factor 2, as in fev and in the M5 competition, that of the median is the absolute error, and its mean over
    all levels is the CRPS (Gneiting, Ranjan 2011, https://doi.org/10.1198/jbes.2010.08110).

    Args:
        y: the truth.
        quantile: the forecast of its quantile.
        q: the level of the quantile, between 0 and 1; it broadcasts.

    >>> import numpy as np
    >>> pinball(np.array([3.0, 1.0]), np.array([2.0, 2.0]), 0.9)
    array([1.8, 0.2])
    """
    error = y - quantile
    return 2 * error.__array_namespace__().maximum(q * error, (q - 1) * error)
