"""How many members are trained together, and in which place: their lanes.

A compiled program has a fixed number of lanes. Mapped one after the other, a lane that rests costs nothing: so a group
keeps its number of lanes when it shrinks, and compiles once. In one batched product a resting lane costs as much as
any other: so survivors move into fewer lanes, in powers of two, at least two a device (with one, XLA computes other
bytes).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from lstmjax import parallel
from lstmjax.sweep.population.group import Group
from lstmjax.training import TrainState, training_bytes

USABLE = 0.9
"""The part of a device's free memory that a population may take."""


def default_mapping() -> parallel.MappingName:
    """How members are run on the devices there are."""
    return "map" if jax.default_backend() == "cpu" else "vmap"


def widest(members: int, population: int | None, mapping: parallel.MappingName) -> int:
    """The number of lanes for a group, if memory were no matter.

    Args:
        members: of the group.
        population: members trained together, at most. Mapped one after the other, the number of lanes is this even
            for a smaller group, which then shares the program of the larger.
        mapping: how members are run.

    Returns:
        A multiple of the number of devices, at least `narrowest`.
    """
    devices = jax.device_count()
    if mapping == "map":
        return -(-(members if population is None else population) // devices) * devices
    lanes = devices * max(2, _power_above(-(-members // devices)))
    return lanes if population is None else max(narrowest(mapping), min(lanes, _lanes_below(population)))


def narrowest(mapping: parallel.MappingName) -> int:
    """The least number of lanes."""
    return jax.device_count() * (1 if mapping == "map" else 2)


def compacted(lanes: int, members: int, mapping: parallel.MappingName) -> int:
    """The number of lanes for as many members as are left.

    Args:
        lanes: how many there are at most.
        members: how many are to be trained.
        mapping: how members are run.
    """
    if mapping == "map":
        return lanes
    devices = jax.device_count()
    return min(lanes, devices * max(2, _power_above(-(-members // devices))))


def places(members: int, lanes: int) -> list[int]:
    """The lanes of some members: dealt out over the devices in turn, as each device has lanes side by side."""
    devices = jax.device_count()
    each = lanes // devices
    return [number % devices * each + number // devices for number in range(members)]


def seated(rows: Sequence[int], lanes: int) -> list[int]:
    """Which member sits in each lane; the first of them also in all that are left over."""
    seats = [rows[0]] * lanes
    for row, place in zip(rows, places(len(rows), lanes), strict=True):
        seats[place] = row
    return seats


def resting(state: TrainState, rows: Sequence[int], lanes: int) -> TrainState:
    """A state of all lanes in which those left over are at rest."""
    stopped: Any = np.ones(lanes, bool)
    taken = places(len(rows), lanes)
    stopped[taken] = np.asarray(state.stopped)[taken]
    return state._replace(stopped=stopped)


def measured(group: Group, lanes: int, mapping: parallel.MappingName, say: Callable[[str], None]) -> int:
    """As many lanes as fit the device's memory, at most ``lanes``, by what the compiled program needs.

    Args:
        group: what is trained.
        lanes: how many there would be.
        mapping: how members are run.
        say: where to tell that there are fewer.
    """
    least = narrowest(mapping)
    while True:
        free = parallel.available_bytes()
        if free is None or lanes <= least:
            return lanes
        needed = training_bytes(
            group.network,
            group.data,
            group.config.optimizer,
            group.config.train,
            [group.members[0].numbers] * lanes,
            mapping=mapping,
        )
        if needed <= USABLE * free:
            return lanes
        shared = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(group.data.arrays))
        share = max(0.0, USABLE * free - shared) / max(1, needed - shared)
        fewer = max(least, _lanes_below(int(share * lanes)))
        say(
            f"{lanes} members together need {needed / 1e6:.0f} MB a device, which has {free / 1e6:.0f} MB left: "
            f"they are trained {fewer} at a time"
        )
        lanes = min(fewer, lanes // 2)


def halved(lanes: int, mapping: parallel.MappingName) -> int | None:
    """Half as many lanes; None if there cannot be fewer."""
    least = narrowest(mapping)
    return None if lanes <= least else max(least, _lanes_below(lanes // 2))


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device or the host had too little memory."""
    text = str(error)
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower()


def _lanes_below(lanes: int) -> int:
    """A power of two a device, at most ``lanes`` in all."""
    devices = jax.device_count()
    return devices * (1 << (max(1, lanes // devices).bit_length() - 1))


def _power_above(number: int) -> int:
    """The least power of two that is not below a number."""
    return 1 << max(0, number - 1).bit_length()


def take_lanes(group: Group, rows: Sequence[int], lanes: int, *, begun: bool = True) -> dict[str, Any]:
    """What `train` is given for some members: their numbers, and what makes their state if they were begun."""
    seats = seated(rows, lanes)
    state = (lambda: resting(group.take(seats), rows, lanes)) if begun else None
    return {"hyperparameters": [group.members[row].numbers for row in seats], "state": state}
