"""How a study's trials are divided into blocks, and what the trials' attributes say of them."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from lstmjax.sweep.population.trial import Trial

# System attributes of trials; of a block only its first trial, the leader, has those other than the parameters.
SIZE = "lstmjax:size"
"""Trials of the block, where fewer than planned."""
PARAMS = "lstmjax:params"
"""The trial's parameters, as JSON; a trial without them is not drawn yet."""
OWNER = "lstmjax:owner"
"""Name of the worker that claimed the block last."""
BEATS = "lstmjax:pulse"
"""A count that the owner raises with every heartbeat."""

Suggest = Callable[[optuna.Study, int, Sequence[Trial]], dict[str, Any]]
"""The parameters of a new trial, given the study, the trial's number and the trials of its block before it."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How many trials a study gets, and how their parameters are drawn."""

    total: int
    size: int
    """Trials per block, at most."""
    suggest: Suggest


@dataclasses.dataclass(frozen=True)
class Block:
    """Trials that one worker trains together."""

    number: int
    """Number of the block, from 0."""
    first: int
    """Number of its first trial."""
    size: int
    """How many trials it has."""
    trials: tuple[Trial, ...] = ()
    """The trials, in the order of their numbers."""

    @property
    def end(self) -> int:
        """Number of the first trial after it."""
        return self.first + self.size

    def following(self, plan: Plan) -> "Block":
        """The block after it, without its trials."""
        return Block(self.number + 1, self.end, min(plan.size, plan.total - self.end))


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """A trial's parameters by dotted name, as training takes them: fixed ones included, lists as lists."""
    return json.loads(trial.system_attrs[PARAMS])


def heartbeat_of(leader: FrozenTrial) -> tuple[int, int]:
    """The owner's count of heartbeats, after the leader's number, as it begins again in each block."""
    return leader.number, leader.system_attrs.get(BEATS, 0)


def blocks(trials: Sequence[FrozenTrial], plan: Plan) -> Iterator[Block]:
    """The blocks that have a leader; the last may not be drawn yet, and gets as many trials as the plan has for it."""
    block = Block(-1, 0, 0)
    while block.end < len(trials):
        attributes = trials[block.end].system_attrs
        if PARAMS not in attributes and block.end >= plan.total:
            return
        block = block.following(plan)
        planned = plan.size if PARAMS in attributes else block.size
        block = dataclasses.replace(block, size=attributes.get(SIZE, planned))
        yield block
