"""Points of a space, each a function of (seed, trial number) alone, so that a restart draws them again."""

import functools
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from lstmjax.sweep.space.space import Space

SamplerName = Literal["random", "grid", "sobol"]

_TRACED, _SHAPE = 0, 1  # streams of random numbers


def draw(space: Space, sampler: SamplerName, seed: int, number: int, *, block: int = 1) -> dict[str, Any]:
    """Draws the parameters of one trial.

    Args:
        space: what is searched.
        sampler: random: independent draws. sobol: evenly spread draws. grid: `Space.grid`, in its order.
        seed: the sweep's seed.
        number: the trial's number, from 0.
        block: trials that are trained together: numbers 0 to block - 1, and so on. Options that are compiled in are
            drawn once for all of them. No effect on a grid, whose order does the same.

    Returns:
        Values by dotted name, fixed ones included, without those whose condition is not met.

    Raises:
        IndexError: the grid has no point of this number.

    References:
        Bergstra and Bengio, `Random Search for Hyper-Parameter Optimization
        <https://jmlr.org/papers/v13/bergstra12a.html>`_, 2012; Owen, `Scrambling Sobol' and Niederreiter-Xing Points
        <https://doi.org/10.1006/jcom.1998.0487>`_, 1998

    >>> space = Space.from_dict({
    ...     "optimizer.learning_rate": {"type": "loguniform", "low": 1e-4, "high": 1e-2},
    ...     "model.hidden_size": {"type": "choice", "values": [32, 64]},
    ... })
    >>> draw(space, "random", 0, 5) == draw(space, "random", 0, 5)
    True
    >>> {draw(space, "sobol", 0, number, block=8)["model.hidden_size"] for number in range(8)}
    {32}
    """
    if sampler == "grid":
        return dict(_grid(space)[number])
    quantiles = _sobol if sampler == "sobol" else _random
    values: dict[str, Any] = {}
    for names, stream, index in ((space.shape_names, _SHAPE, number // block), (space.traced_names, _TRACED, number)):
        for name, quantile in zip(names, quantiles(seed, stream, index, len(names)), strict=True):
            values[name] = space.distribution(name).at(float(quantile))
    return space.point(values.__getitem__)


@functools.lru_cache(maxsize=4)
def _grid(space: Space) -> list[dict[str, Any]]:
    return space.grid()


def _random(seed: int, stream: int, index: int, dimensions: int) -> Float[np.ndarray, " D"]:
    return np.random.default_rng([seed, stream, index]).random(dimensions)


def _sobol(seed: int, stream: int, index: int, dimensions: int) -> Float[np.ndarray, " D"]:
    """Point ``index`` of a scrambled Sobol sequence."""
    if dimensions == 0:
        return np.zeros(0)
    from scipy.stats import qmc  # half a second

    sequence = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng([seed, stream]))
    if index:  # fast_forward(0) is an OverflowError in SciPy 1.17
        sequence.fast_forward(index)
    return sequence.random(1)[0]
