"""Which trials are pruned and when: synchronous successive halving, and Hyperband's brackets of it.

References:
    Jamieson and Talwalkar, `Non-stochastic Best Arm Identification and Hyperparameter Optimization
    <https://arxiv.org/abs/1502.07943>`_, 2016; Li et al., `Hyperband <https://jmlr.org/papers/v18/16-558.html>`_, 2018
"""

import dataclasses

import numpy as np

from lstmjax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Halving:
    """Synchronous successive halving: at each rung the best 1/eta of the trials continue, and the others are pruned.

    Rungs lie at ..., 1/eta², 1/eta and all of ``train.max_steps``, rounded to validation checks.

    Attributes:
        eta: at each rung the best of every ``eta`` trials continues; at least 2.
        rungs: how often trials are pruned, at most. Default: as often as the numbers of trials and checks allow.
        hyperband: divide the trials among Hyperband's brackets, each of which prunes later than the one before, as
            early values may mislead.

    >>> Halving(3).brackets(64, max_steps=810, every=30)
    [(64, (30, 90, 270, 810))]
    """

    eta: int = 3
    rungs: int | None = None
    hyperband: bool = False

    def __post_init__(self) -> None:
        if self.eta < 2:
            raise ConfigError(f"halving is {self.eta}: expected at least 2, so that at most the best half continues")
        if self.rungs is not None and self.rungs < 1:
            raise ConfigError(f"the number of rungs is {self.rungs}: expected at least 1")

    def survivors(self, trials: int) -> int:
        """How many of the trials at a rung continue."""
        return max(1, trials // self.eta)

    def brackets(self, trials: int, max_steps: int, every: int) -> list[tuple[int, tuple[int, ...]]]:
        """The brackets for a number of trials; each is one successive halving.

        Args:
            trials: how many begin.
            max_steps: updates of those that continue to the end.
            every: updates between validation checks.

        Returns:
            For each bracket how many trials begin, which add up to ``trials``, and the updates at each of its rungs:
            the last is the end of training, at every other the best 1/eta continue. One bracket, unless ``hyperband``.
        """
        deepest = self._depth(max_steps // every)
        if not self.hyperband:
            return [(trials, self._steps(min(deepest, self._depth(trials)), max_steps, every))]
        shares = [-(-(deepest + 1) * self.eta**depth // (depth + 1)) for depth in range(deepest, -1, -1)]
        ends = np.rint(np.cumsum([0, *shares]) * trials / sum(shares)).astype(int)
        return [
            (count, self._steps(depth, max_steps, every))
            for count, depth in zip(np.diff(ends).tolist(), range(deepest, -1, -1), strict=True)
            if count
        ]

    def _depth(self, size: int) -> int:
        """How often ``size`` can be divided by eta without falling below 1."""
        depth = 0
        while self.eta ** (depth + 1) <= size and depth != self.rungs:
            depth += 1
        return depth

    def _steps(self, depth: int, max_steps: int, every: int) -> tuple[int, ...]:
        exact = (max_steps / self.eta**k for k in range(depth, 0, -1))
        on_checks = {max(1, round(step / every)) * every for step in exact}
        return (*sorted(step for step in on_checks if step < max_steps), max_steps)
