"""Points of a space, each a function of (seed, trial number) alone: a sweep that is restarted draws them again."""

from typing import Any, Literal

from lstmjax.sweep.space import Space

SamplerName = Literal["random", "grid", "sobol"]


def draw(space: Space, sampler: SamplerName, seed: int, number: int, *, block: int = 1) -> dict[str, Any]:
    """The setting of one trial.

    Args:
        space: what is searched.
        sampler: random: independent draws. sobol: evenly spread ones. grid: `Space.grid`, in its order.
        seed: of the sweep.
        number: of the trial, from 0.
        block: trials that are trained together: numbers 0 to block - 1, and so on. The options that change what is
            compiled are drawn once for all of them. Does not matter for a grid, whose order does the same.

    Returns:
        Values by dotted name, fixed ones included, without those whose condition is not met.

    Raises:
        IndexError: a grid has no such point.
    """
    raise NotImplementedError
