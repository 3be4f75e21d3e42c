"""Adaptive conformal intervals: the level follows the errors, so that coverage holds when the data shift.

A conformal interval at level 1 - a holds that fraction only while new errors are like the old ones. Adaptive conformal
inference corrects the level after every truth: ``a_{t+1} = a_t + g (a - err_t)``, where ``err_t`` is 1 for a truth
outside. Which step size g is right depends on how fast the data shift, so several run side by side, and are weighted
by how well each would have done of late (DtACI).

References:
    Gibbs, Candes, `Adaptive Conformal Inference Under Distribution Shift <https://arxiv.org/abs/2106.00170>`_, 2021.
    Gibbs, Candes, `Conformal Inference for Online Prediction with Arbitrary Distribution Shifts
    <https://arxiv.org/abs/2208.08401>`_, 2022: algorithm 1, with the constants of its section 4.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

STEP_SIZES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128)
"""The step sizes g of the experts, those of the paper's experiments."""

INTERVAL = 500
"""Steps over which the weights are to do well: it sets how fast they forget."""


class Adaptive(NamedTuple):
    """The experts of some intervals; the leading axes are the intervals'."""

    alphas: Float[np.ndarray, "*S E"]
    """What each expert takes for the fraction to leave outside; below 0 and above 1 are possible."""
    weights: Float[np.ndarray, "*S E"]
    """How much each counts; their sum is 1."""

    @classmethod
    def begin(cls, alpha: float, shape: tuple[int, ...]) -> "Adaptive":
        """All experts at the nominal fraction, with equal weights.

        Args:
            alpha: the fraction that is to lie outside.
            shape: the leading axes.
        """
        experts = len(STEP_SIZES)
        return cls(np.full((*shape, experts), alpha), np.full((*shape, experts), 1.0 / experts))

    @property
    def alpha(self) -> Float[np.ndarray, "*S"]:
        """The fraction to leave outside now: the weighted mean of the experts'."""
        return (self.alphas * self.weights).sum(axis=-1)


def learning_rate(alpha: float, experts: int = len(STEP_SIZES), interval: int = INTERVAL) -> float:
    """The paper's eta: how sharply the weights follow the losses.

    >>> round(learning_rate(0.1), 2)
    2.76
    """
    spread = (1 - alpha) ** 2 * alpha**3 + alpha**2 * (1 - alpha) ** 3
    return math.sqrt(3 / interval) * math.sqrt((math.log(experts * interval) + 2) / spread)


def pinball(beta: np.ndarray, theta: np.ndarray, alpha: float) -> np.ndarray:
    """The loss of an expert at ``theta`` where ``beta`` would have been just right."""
    return alpha * (beta - theta) - np.minimum(0.0, beta - theta)


def follow(
    experts: Adaptive,
    issued: Float[np.ndarray, "*S E"],
    beta: Float[np.ndarray, "*S"],
    alpha: float,
    delay: Int[np.ndarray, "..."] | int = 1,
) -> Adaptive:
    """The experts after truths.

    The truth of a forecast h rows ahead comes h rows after its interval was issued. So an expert is judged by what it
    took then, not by what it has learned since, which the neighbours of this very truth taught it; and its step is h
    times smaller, since h truths come before it sees what the first of its corrections did.

    Args:
        experts: those now.
        issued: their ``alphas`` when the intervals were issued.
        beta: the largest fraction outside with which each interval would have held the truth, see `coverable`; NaN
            where there is none: nothing changes there.
        alpha: the nominal fraction outside.
        delay: rows between the interval and its truth, at least 1, of a shape that fits ``beta``. With 1 and
            ``issued = experts.alphas`` this is the paper's algorithm.
    """
    known, beta = ~np.isnan(beta)[..., None], np.nan_to_num(beta)[..., None]
    grown = experts.weights * np.exp(-learning_rate(alpha) * pinball(beta, issued, alpha))
    total, share = grown.sum(axis=-1, keepdims=True), 1 / (2 * INTERVAL)
    weights = (1 - share) * grown / total + share / len(STEP_SIZES)
    steps = np.asarray(STEP_SIZES) / np.asarray(delay)[..., None]
    alphas = experts.alphas + steps * (alpha - (issued > beta))
    return Adaptive(np.where(known, alphas, experts.alphas), np.where(known, weights, experts.weights))


def coverable(scores: Float[np.ndarray, "*S M"], new: Float[np.ndarray, "*S"]) -> Float[np.ndarray, "*S"]:
    """The largest fraction outside with which a conformal interval still holds a new score; 0 where none does.

    Args:
        scores: the absolute errors that set the interval, in any order; NaN where there is none.
        new: that of the truth; the result is NaN where it is.

    >>> coverable(np.array([1.0, 2.0, 3.0, 4.0]), np.array(2.5)).item()
    0.6
    """
    count, below = (~np.isnan(scores)).sum(axis=-1), (scores < new[..., None]).sum(axis=-1)
    return np.where(np.isnan(new), np.nan, np.where(below < count, 1.0 - below / (count + 1.0), 0.0))


def radius(ordered: Float[np.ndarray, "*S M"], alpha: Float[np.ndarray, "*S"]) -> Float[np.ndarray, "*S"]:
    """The conformal quantile of scores: the k-th smallest of n, k = ceil((n + 1) (1 - alpha)), at most the largest.

    Where the exact interval would be infinite, it is that of the largest score: new, larger ones join soon.

    Args:
        ordered: the scores, at least one, ascending; NaN at the end.
        alpha: the fraction outside, of any size.

    >>> radius(np.array([1.0, 2.0, 3.0, 4.0]), np.array(0.4)).item()
    3.0
    """
    count = (~np.isnan(ordered)).sum(axis=-1)
    place = np.ceil(np.round((count + 1) * (1.0 - alpha), 9)).astype(int)
    at = np.clip(place, 1, np.maximum(count, 1)) - 1
    found = np.take_along_axis(ordered, at[..., None], axis=-1)[..., 0]
    return np.where(place < 1, 0.0, found)
