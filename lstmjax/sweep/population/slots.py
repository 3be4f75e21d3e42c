"""How many members are trained at once, and in which slot of the compiled program.

A compiled program has a fixed number of slots. Mapped one after the other, an idle slot costs nothing: so a population
keeps its number of slots when it shrinks, and compiles once. In one batched product an idle slot costs as much as any
other: so survivors move into fewer slots, in powers of two, at least two per device (with one, XLA computes other
bytes).
"""

from collections.abc import Callable, Sequence

import jax
import numpy as np

from lstmjax import parallel
from lstmjax.sweep.population.population import Population
from lstmjax.training import training_bytes

USABLE = 0.9
"""The part of a device's free memory that the members trained at once may take."""


def default_mapping() -> parallel.MappingName:
    """How members are run on this platform."""
    return "map" if jax.default_backend() == "cpu" else "vmap"


def most_slots(members: int, at_once: int | None, mapping: parallel.MappingName) -> int:
    """The number of slots for a population, if memory were unlimited.

    Args:
        members: its members.
        at_once: members trained at once, at most. Mapped one after the other, a smaller population has as many slots
            too, and so shares the program of a larger one.
        mapping: how members are run.

    Returns:
        A multiple of the number of devices, at least `least_slots`.
    """
    devices = jax.device_count()
    if mapping == "map":
        return -(-(members if at_once is None else at_once) // devices) * devices
    slots = _power_slots(members)
    return slots if at_once is None else max(least_slots(mapping), min(slots, _slots_below(at_once)))


def least_slots(mapping: parallel.MappingName) -> int:
    """The least number of slots."""
    return jax.device_count() * (1 if mapping == "map" else 2)


def slots_for(slots: int, members: int, mapping: parallel.MappingName) -> int:
    """The number of slots for the members that are left.

    Args:
        slots: the number at most.
        members: how many members are left.
        mapping: how members are run.
    """
    return slots if mapping == "map" else min(slots, _power_slots(members))


def places(members: int, slots: int) -> list[int]:
    """The slots of some members: each device has its slots side by side, and the devices get members in turn."""
    by_device = np.arange(slots).reshape(jax.device_count(), -1)
    return by_device.T.ravel()[:members].tolist()


def members_in_slots(rows: Sequence[int], slots: int) -> list[int]:
    """The member in each slot; the first member also in all idle slots."""
    in_slots = np.full(slots, rows[0])
    in_slots[places(len(rows), slots)] = rows
    return in_slots.tolist()


def slots_in_memory(
    population: Population, slots: int, mapping: parallel.MappingName, say: Callable[[str], None]
) -> int:
    """As many slots as fit the device's memory, by what the compiled program needs.

    Args:
        population: what is trained.
        slots: the number at most.
        mapping: how members are run.
        say: called with one line if there are fewer.
    """
    least, config = least_slots(mapping), population.config
    while True:
        free = parallel.available_bytes()
        if free is None or slots <= least:
            return slots
        hyperparameters, data = [population.members[0].numbers] * slots, population.data([0] * slots)
        needed = training_bytes(
            population.network, data, config.optimizer, config.train, hyperparameters, mapping=mapping
        )
        if needed <= USABLE * free:
            return slots
        shared = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(population.folds[0].arrays))
        share = max(0.0, USABLE * free - shared) / max(1, needed - shared)
        fewer = max(least, _slots_below(int(share * slots)))
        say(
            f"{slots} members together need {needed / 1e6:.0f} MB per device, which has {free / 1e6:.0f} MB left: "
            f"training {fewer} at a time"
        )
        slots = min(fewer, slots // 2)


def halved(slots: int, mapping: parallel.MappingName) -> int | None:
    """Half as many slots; None if there cannot be fewer."""
    least = least_slots(mapping)
    return None if slots <= least else max(least, _slots_below(slots // 2))


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device or the host had too little memory."""
    text = str(error)
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower()


def _slots_below(slots: int) -> int:
    """A power of two per device, at most ``slots`` in all."""
    devices = jax.device_count()
    return devices * (1 << (max(1, slots // devices).bit_length() - 1))


def _power_slots(members: int) -> int:
    """The least power of two per device, and at least two, that holds all members."""
    devices = jax.device_count()
    return devices * max(2, 1 << max(0, -(-members // devices) - 1).bit_length())
