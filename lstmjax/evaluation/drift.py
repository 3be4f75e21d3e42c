"""A drift alarm: the CUSUM of standardised forecast errors.

``S_t = max(0, S_{t-1} + z_t - slack)`` sums what errors exceed their usual size by more than ``slack`` deviations; the
alarm rings while S is above a threshold.

References:
    Page, `Continuous Inspection Schemes <https://doi.org/10.1093/biomet/41.1-2.100>`_, Biometrika 1954.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

SLACK = 1.0
"""Deviations above the mean that are not yet drift: half of a shift by two deviations, which is found fastest."""

LEAST_THRESHOLD = 5.0
"""In deviations, for held-out rows that say little."""

MARGIN = 3.0
"""How much higher the threshold is than what the held-out rows reached. The errors of neighbouring rows are alike: a
hot week raises the sum for days, and a few weeks of held-out rows seldom hold the hottest."""


class Alarm(NamedTuple):
    """The alarm of some series: all arrays (N,)."""

    mean: Float[np.ndarray, " N"]
    """Mean error on held-out rows; NaN where there were none: such an alarm never rings."""
    deviation: Float[np.ndarray, " N"]
    threshold: Float[np.ndarray, " N"]
    total: Float[np.ndarray, " N"]
    """S."""

    @property
    def rings(self) -> Bool[np.ndarray, " N"]:
        """Whether the errors have drifted."""
        return self.total > self.threshold


def calibrated(each: Sequence[Float[np.ndarray, " T"]]) -> tuple[float, float, float]:
    """Mean, deviation and threshold from errors of the held-out rows of one series or more, in the order of time.

    The threshold is `MARGIN` times what the sum reached on these rows, so that it would not have rung there, and at
    least `LEAST_THRESHOLD`.

    Args:
        each: the errors of each series; NaN where a truth was missing.

    Returns:
        Three of NaN where fewer than ten errors are known, or all are equal.
    """
    known = [errors[np.isfinite(errors)] for errors in each]
    count = sum(map(len, known))
    deviation = float(np.concatenate(known).std()) if count else 0.0
    if count < 10 or deviation <= 0.0:
        return np.nan, np.nan, np.nan
    mean, total, most = float(np.concatenate(known).mean()), 0.0, 0.0
    for errors in known:
        total = 0.0
        for error in errors.tolist():
            total = max(0.0, total + (error - mean) / deviation - SLACK)
            most = max(most, total)
    return mean, deviation, max(LEAST_THRESHOLD, MARGIN * most)


def cusum(total: np.ndarray, z: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """S after one more standardised error; where that is unknown (NaN) S stays.

    It is kept below twice the threshold, so that the alarm stops soon after the errors are usual again.

    >>> cusum(np.array([1.0, 0.0]), np.array([2.0, np.nan]), np.array([5.0, 5.0])).tolist()
    [2.0, 0.0]
    """
    after = np.clip(total + z - SLACK, 0.0, 2.0 * threshold)
    return np.where(np.isnan(after), total, after)
