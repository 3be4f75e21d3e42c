"""What one call of `train` amounts to: which programs run, on which devices, on which arrays."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from lstmjax import parallel
from lstmjax.config import OptimizerConfig, TrainConfig
from lstmjax.data.windows import PanelArrays, Windows
from lstmjax.errors import DataError
from lstmjax.training.functional import Functional
from lstmjax.training.hyperparameters import Hyperparameters, stack
from lstmjax.training.objective import Objective
from lstmjax.training.population import Programs, programs
from lstmjax.training.step import Setting, Span
from lstmjax.training.validation import Held, fill_blocks
from lstmjax.window import WindowSpec

VALIDATION_BLOCK = 512
"""Windows that validation looks at together."""


class TrainingData(NamedTuple):
    """What a network is trained on."""

    arrays: PanelArrays
    """The scaled panel."""
    train: Windows
    """Windows to learn from."""
    validation: Windows
    """Windows that decide when to stop and which weights to keep; may be empty."""
    spec: WindowSpec
    """Sizes of a window."""
    objective: Objective | None = None
    """What a sweep ranks by."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """One training run, resolved.

    Attributes:
        setting: what is compiled in.
        mesh: the devices.
        mapping: how members are mapped within a device.
        programs: the compiled programs.
        members: number of members, without those that only fill the mesh.
        hyper: their numbers, on the devices.
        span: a run of steps from a first step up to another, as the programs want it.
        held: what validation looks at.
    """

    setting: Setting
    mesh: Mesh
    mapping: parallel.MappingName
    programs: Programs
    members: int
    hyper: Hyperparameters
    span: Callable[[int, int], Span]
    held: Held


def make_plan(
    network: Functional,
    data: TrainingData,
    optimizer: OptimizerConfig,
    config: TrainConfig,
    hyperparameters: Sequence[Hyperparameters],
    mapping: parallel.MappingName | None,
    *,
    widest: int = 0,
) -> Plan:
    """Resolves a training run and puts its data on the devices.

    Args:
        network: the network without its arrays.
        data: what to train on.
        optimizer: of it, what is compiled in: the names, and whether gradients are clipped.
        config: of it, what is compiled in: the loss, the batch size and its shards.
        hyperparameters: one for each member.
        mapping: see `parallel.over_members`. Default: by platform.
        widest: size of the network's largest array, in bytes.

    Raises:
        DataError: there is no window to train on.
        ConfigError: the shards asked for do not divide the batch.
    """
    count = len(data.train.series)
    if count == 0:
        raise DataError("there is no window to train on: give more rows, or a smaller data.input_size or data.h")
    members = len(hyperparameters)
    batch_size, shards = resolve_batch(config, count, members, widest=widest)
    mesh = parallel.make_mesh(members, shards)
    mapping = parallel.default_mapping(members, mesh) if mapping is None else mapping
    setting = Setting(
        network=network,
        spec=data.spec,
        optimizer=optimizer.name,
        schedule=optimizer.schedule,
        clip_value=optimizer.clip_value is not None,
        clip_norm=optimizer.clip_norm is not None,
        loss=config.loss,
        batch_size=batch_size,
        batch_shards=shards,
        steps_per_epoch=count // batch_size,
        block_size=-(-min(VALIDATION_BLOCK, max(1, len(data.validation.series))) // shards) * shards,
        objective=None if data.objective is None else data.objective.measure,
    )
    validation, counts = fill_blocks(data.validation, setting.block_size)
    units = None if data.objective is None else data.objective.units
    arrays, windows, *held = parallel.place_shared((data.arrays, data.train, validation, counts, units), mesh)

    def span(start: int, stop: int) -> Span:
        return Span(arrays, windows, *parallel.place_shared((np.int32(start), np.int32(stop)), mesh))

    return Plan(
        setting=setting,
        mesh=mesh,
        mapping=mapping,
        programs=programs(setting, mesh, mapping),
        members=members,
        hyper=fill_members(stack(hyperparameters), members, mesh),
        span=span,
        held=Held(arrays, *held),
    )


def resolve_batch(config: TrainConfig, windows: int, members: int = 1, *, widest: int = 0) -> tuple[int, int]:
    """The windows in a batch and the devices it is split over.

    Args:
        config: what was asked for.
        windows: windows to train on; a batch never holds more.
        members: members trained together; where there are several, devices are for them, and batches stay whole.
        widest: size of the network's largest array, in bytes, from `functional.widest`.

    Returns:
        Batch size, a multiple of the second; and the number of shards.

    Raises:
        ConfigError: the shards asked for do not divide the batch size asked for.
    """
    asked = 1 if members > 1 and config.batch_shards is None else config.batch_shards
    shards = min(windows, parallel.resolve_batch_shards(config.batch_size, asked, widest=widest))
    return min(windows, config.batch_size) // shards * shards, shards


def fill_members(tree: Any, members: int, mesh: Mesh) -> Any:
    """Repeats the last member until the mesh is full, and puts all in place.

    Args:
        tree: arrays with a leading axis of members.
        members: how long that axis must be.
        mesh: from `parallel.make_mesh`.

    Raises:
        ValueError: an array has another number of members.
    """
    rows = np.minimum(np.arange(parallel.padded_members(members, mesh)), members - 1)

    def fill(leaf: Any) -> Any:
        if len(leaf) != members:
            raise ValueError(f"every array must hold {members} members, got one with {len(leaf)}")
        # Left where it is if nothing has to be filled: a large state is not copied for nothing.
        return leaf if len(rows) == members else np.asarray(jax.device_get(leaf))[rows]

    return parallel.place_members(jax.tree.map(fill, tree), mesh)
