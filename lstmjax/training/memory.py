"""How much memory it takes to train a population, as the compiled programs report it."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from lstmjax import parallel
from lstmjax.config import OptimizerConfig, TrainConfig
from lstmjax.training.data import MembersData
from lstmjax.training.functional import Network, functional, widest
from lstmjax.training.hyperparameters import Hyperparameters
from lstmjax.training.loop import first_weights
from lstmjax.training.plan import make_plan
from lstmjax.training.population import initializer


def training_bytes(
    network: Network,
    data: MembersData,
    optimizer: OptimizerConfig,
    config: TrainConfig,
    hyperparameters: Sequence[Hyperparameters],
    *,
    mapping: parallel.MappingName | None = None,
) -> int:
    """Bytes that one device needs to train these members together.

    Compiles the programs that `train` then runs, so that nothing is compiled for the measurement alone.

    Args:
        network: as for `train`.
        data: as for `train`.
        optimizer: as for `train`.
        config: as for `train`.
        hyperparameters: one for each member.
        mapping: as for `train`.

    Returns:
        The arguments, results and temporary arrays of the program that needs most of them: the panel, the members'
        states before and after, and what a step of those trained at one time holds on to.
    """
    structure, first = functional(network)
    plan = make_plan(structure, data, optimizer, config, hyperparameters, mapping, widest=widest(first))
    draw, given = first_weights(first)
    begin = initializer(structure, draw, plan.setting.optimizer, plan.setting.schedule, plan.mesh, plan.mapping)
    by_member = NamedSharding(plan.mesh, PartitionSpec("member"))
    state = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=by_member),
        jax.eval_shape(begin, plan.hyper, parallel.place_shared(given, plan.mesh)),
    )
    members, span, _ = plan.next_run(state, 0, 1)
    checked = plan.with_state(state)
    return max(_bytes(plan.programs.run, members, span), _bytes(plan.programs.check, checked, plan.held))


def _bytes(program: Any, members: Any, shared: Any) -> int:
    leaves, tree = jax.tree.flatten(jax.tree.map(_described, (members, shared)))
    return _bytes_of(program, tree, tuple(leaves))


def _described(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


@functools.lru_cache(maxsize=64)  # a sweep asks again for every block, and computing the answer takes megabytes
def _bytes_of(program: Any, tree: Any, leaves: tuple[jax.ShapeDtypeStruct, ...]) -> int:
    needed = program.lower(*jax.tree.unflatten(tree, leaves)).compile().memory_analysis()
    if needed is None:  # a backend that does not report it
        return sum(int(np.prod(leaf.shape)) * np.dtype(leaf.dtype).itemsize for leaf in leaves)
    whole = needed.argument_size_in_bytes + needed.output_size_in_bytes + needed.temp_size_in_bytes
    return whole - needed.alias_size_in_bytes
