"""When to give up on whom: synchronous successive halving, and Hyperband's brackets of it."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from lstmjax.errors import ConfigError


class Bracket(NamedTuple):
    """One successive halving."""

    trials: int
    """How many trials begin."""
    steps: tuple[int, ...]
    """Updates at each rung; the last is the end of training. At every rung but the last the best 1/eta go on."""


@dataclasses.dataclass(frozen=True)
class Halving:
    """Synchronous successive halving: at each rung the best 1/eta of the trials go on, and the others are pruned.

    Rungs lie at 1, 1/eta, 1/eta², ... of ``train.max_steps``, on validation checks.

    Attributes:
        eta: one in so many goes on, at least 2.
        rungs: how often trials are pruned, at most. Default: as often as there are trials, and checks, for it.
        hyperband: divide the trials among Hyperband's brackets, which prune ever later, in case early values mislead.
    """

    eta: int = 3
    rungs: int | None = None
    hyperband: bool = False

    def __post_init__(self) -> None:
        if self.eta < 2:
            raise ConfigError(f"halving is {self.eta}: expected at least 2, for the best 1/2 to go on")
        if self.rungs is not None and self.rungs < 1:
            raise ConfigError(f"halving's rungs is {self.rungs}: expected at least 1")

    def brackets(self, trials: int, max_steps: int, every: int) -> Sequence[Bracket]:
        """How a number of trials is pruned.

        Args:
            trials: how many begin.
            max_steps: updates of those that go on to the end.
            every: updates between validation checks.
        """
        raise NotImplementedError
