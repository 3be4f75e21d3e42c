"""One call of `train`, resolved: which programs run, on which devices, on which arrays."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from lstmjax import parallel
from lstmjax.config import OptimizerConfig, TrainConfig
from lstmjax.data.host_panel import HostPanel
from lstmjax.errors import DataError
from lstmjax.training.data import Layout, MembersData, assigned, lay_out, rounded_up
from lstmjax.training.feed import Fed, HostFeed, cut_all
from lstmjax.training.functional import Functional
from lstmjax.training.hyperparameters import Hyperparameters, stack
from lstmjax.training.population import Members, Programs, programs
from lstmjax.training.state import TrainState
from lstmjax.training.step import MemberData, Setting, Span
from lstmjax.training.validation import Held, Scores

VALIDATION_BLOCK = 512
"""Windows that validation looks at together."""


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
        data: their data, on the devices; None where they are those of all.
        span: a run of steps up to a last one, as the programs want it.
        held: what validation looks at.
        feed: what gives the windows of the next steps, where the host cuts them out; None: the device does.
    """

    setting: Setting
    mesh: Mesh
    mapping: parallel.MappingName
    programs: Programs
    members: int
    hyper: Hyperparameters
    data: MemberData | None
    span: Callable[[int], Span]
    held: Held
    feed: HostFeed | None = None

    def with_state(self, state: TrainState, fed: Fed | None = None) -> Members:
        """The members in a state, as the programs want them; with windows where the host cuts them out."""
        return state, self.hyper, self.data, fed

    def run(self, state: TrainState, step: int, stop: int) -> TrainState:
        """Trains all members from one step up to another."""
        while step < stop:
            members, span, step = self.next_run(state, step, stop)
            state = self.programs.run(members, span)
        return state

    def next_run(self, state: TrainState, step: int, stop: int) -> tuple[Members, Span, int]:
        """What the program trains next, and the step at which it stops: the last one, or that of a chunk."""
        if self.feed is None:
            return self.with_state(state), self.span(stop), stop
        chunk = self.feed.at(step)
        stop = min(stop, chunk.stop)
        first = parallel.place_shared(np.int32(chunk.first), self.mesh)
        return self.with_state(state, chunk.fed), self.span(stop)._replace(first=first), stop

    def check(self, state: TrainState) -> tuple[TrainState, Scores]:
        """Validates all members."""
        return self.programs.check(self.with_state(state), self.held)


def make_plan(
    network: Functional,
    data: MembersData,
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
        DataError: no window to train on.
        ConfigError: the shards asked for do not divide the batch.
        ValueError: the members' data cannot be trained on together.
    """
    members = len(hyperparameters)
    data = assigned(data, members)
    each, first = data.each, data.each[0]
    sizes = {resolve_batch(config, len(one.train.series), members, widest=widest) for one in each}
    if len(sizes) > 1:
        raise ValueError(f"the members' data must call for batches of one size, got {sorted(sizes)}")
    batch_size, shards = sizes.pop()
    held = max(1, *(len(one.validation.series) for one in each))
    mesh = parallel.make_mesh(members, shards)
    mapping = parallel.default_mapping(members, mesh) if mapping is None else mapping
    setting = Setting(
        network=network,
        spec=first.spec,
        optimizer=optimizer.name,
        schedule=optimizer.schedule,
        clip_value=optimizer.clip_value is not None,
        clip_norm=optimizer.clip_norm is not None,
        random_lookback=config.random_lookback,
        loss=config.loss if first.loss is None else first.loss,
        batch_size=batch_size,
        batch_shards=shards,
        block_size=-(-min(VALIDATION_BLOCK, held) // shards) * shards,
        objective=None if first.objective is None else first.objective.measure,
    )
    layout, panel = lay_out(data, setting.block_size), first.arrays
    host = panel if isinstance(panel, HostPanel) else None
    seen: Any = (panel, layout.validation, None)
    if host is not None:
        seen = cut_all(host, layout.validation, first.spec)
    train = None if host is not None else rounded_up(layout.train)
    placed = parallel.place_shared((seen, train, layout.counts, layout.shared), mesh)
    (arrays, validation, held_series), train, counts, shared = placed
    numbers = stack(hyperparameters)
    feed = None if host is None else _host_feed(host, layout, setting, numbers, mesh, config)

    def span(stop: int) -> Span:
        return Span(arrays if host is None else None, train, shared, parallel.place_shared(np.int32(stop), mesh))

    return Plan(
        setting=setting,
        mesh=mesh,
        mapping=mapping,
        programs=programs(setting, mesh, mapping),
        members=members,
        hyper=fill_members(numbers, members, mesh),
        data=fill_members(layout.by_member, members, mesh),
        span=span,
        held=Held(arrays, validation, counts, shared, held_series),
        feed=feed,
    )


def _host_feed(
    panel: HostPanel, layout: Layout, setting: Setting, hyper: Hyperparameters, mesh: Mesh, config: TrainConfig
) -> HostFeed:
    """What gives the windows of steps where the host cuts them out; of members that only fill the mesh too."""
    rows = np.minimum(np.arange(parallel.padded_members(len(hyper.seed), mesh)), len(hyper.seed) - 1)
    own = layout.shared if layout.by_member is None else layout.by_member
    assert own is not None
    numbers = (own.first_window, own.window_count)
    first, count = (np.broadcast_to(column, hyper.seed.shape[:1])[rows] for column in numbers)
    seeds = np.asarray(hyper.seed)[rows]
    return HostFeed(panel, layout.train, seeds, first, count, setting.batch_size, setting.spec, mesh, config.max_steps)


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
        DataError: there are fewer windows than processes.
    """
    asked = 1 if members > 1 and config.batch_shards is None else config.batch_shards
    resolved = parallel.resolve_batch_shards(config.batch_size, asked, widest=widest, members=members)
    shards = min(windows, resolved)
    if members == 1 and shards % parallel.process_count():
        raise DataError(
            f"{parallel.process_count()} processes cannot share a batch of {windows} windows, all there are to train "
            "on: use fewer processes"
        )
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
        # Not copied if nothing has to be filled: the state may be large.
        return leaf if len(rows) == members else np.asarray(parallel.fetch(leaf))[rows]

    return parallel.place_members(jax.tree.map(fill, tree), mesh)
