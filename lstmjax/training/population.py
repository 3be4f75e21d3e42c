"""The compiled programs that train K members at once. A single run is a population of one."""

import functools
from collections.abc import Callable
from typing import NamedTuple

from jax.sharding import Mesh

from lstmjax.parallel import MappingName, over_members
from lstmjax.training.functional import Functional, Initializer, Weights
from lstmjax.training.hyperparameters import Hyperparameters
from lstmjax.training.state import TrainState, first_state, weights_key
from lstmjax.training.step import MEMBER_PARTS, Member, Setting, Span, run_steps
from lstmjax.training.validation import Held, Scores, check

Members = Member
"""K members side by side: every leaf has a leading axis of members."""


class Programs(NamedTuple):
    """Training, compiled for one setting and one mapping of members onto devices."""

    run: Callable[[Members, Span], TrainState]
    """Trains all members over a span of steps."""
    check: Callable[[Members, Held], tuple[TrainState, Scores]]
    """Validates all members."""


@functools.lru_cache(maxsize=64)
def programs(setting: Setting, mesh: Mesh, mapping: MappingName) -> Programs:
    """The programs of a setting; those compiled before serve again.

    Args:
        setting: what is compiled in.
        mesh: from `parallel.make_mesh`.
        mapping: see `parallel.over_members`.
    """
    return Programs(
        run=over_members(functools.partial(run_steps, setting), mesh, mapping, MEMBER_PARTS),
        check=over_members(functools.partial(check, setting), mesh, mapping, MEMBER_PARTS),
    )


@functools.lru_cache(maxsize=64)
def initializer(
    network: Functional, draw: Initializer | None, optimizer: str, schedule: str, mesh: Mesh, mapping: MappingName
) -> Callable[[Hyperparameters, Weights | None], TrainState]:
    """The program that makes the first state of all members.

    Args:
        network: the network without its arrays.
        draw: draws a member's first weights; None where all members begin with given ones.
        optimizer: key of `OPTIMIZERS`.
        schedule: key of `SCHEDULES`.
        mesh: from `parallel.make_mesh`.
        mapping: see `parallel.over_members`.

    Returns:
        A function of the members' numbers and the given weights.
    """

    def first(hyper: Hyperparameters, given: Weights | None) -> TrainState:
        if draw is not None:
            weights = network.begin(draw(weights_key(hyper.seed)), hyper.network)
        else:
            assert given is not None
            weights = Weights(given.params, network.set_hyperparameters(given.model_state, hyper.network))
        return first_state(weights, optimizer, schedule, hyper)

    return over_members(first, mesh, mapping)
