"""How many members are trained at once, and in which slots."""

import jax
import numpy as np
import pytest

from lstmjax.sweep.population import slots


@pytest.mark.parametrize(
    ("members", "population", "mapped", "batched"),
    [(9, None, 10, 16), (9, 4, 4, 4), (9, 16, 16, 16), (3, 16, 16, 4), (1, None, 2, 4), (9, 1, 2, 4), (24, 24, 24, 16)],
)
def test_slots_on_two_devices(members, population, mapped, batched):
    """Mapped, any number per device; in one product powers of two, at least two per device."""
    assert jax.device_count() == 2
    assert slots.most_slots(members, population, "map") == mapped
    assert slots.most_slots(members, population, "vmap") == batched


def test_survivors_move_together_only_where_an_idle_slot_costs():
    assert [slots.slots_for(16, left, "map") for left in (16, 5, 1)] == [16, 16, 16]
    assert [slots.slots_for(16, left, "vmap") for left in (16, 9, 8, 5, 4, 1)] == [16, 16, 8, 8, 4, 4]


@pytest.mark.parametrize(("mapping", "expected"), [("map", [8, 4, 2, None]), ("vmap", [8, 4, None])])
def test_half_as_many_down_to_the_least(mapping, expected):
    found, left = [], 16
    while left is not None:
        left = slots.halved(left, mapping)
        found.append(left)
    assert found == expected


@pytest.mark.parametrize(("members", "count"), [(1, 2), (3, 8), (5, 6), (8, 8)])
def test_members_are_dealt_out_over_the_devices(members, count):
    """Each device has its slots side by side, and no device more than one member above another."""
    places = slots.places(members, count)
    assert len(set(places)) == members
    on_devices = np.bincount(np.array(places) // (count // 2), minlength=2)
    assert on_devices.max() - on_devices.min() <= 1
    in_slots = slots.members_in_slots(list(range(10, 10 + members)), count)
    assert [in_slots[place] for place in places] == list(range(10, 10 + members))
    assert set(in_slots) == set(range(10, 10 + members))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 12 bytes"), True),
        (MemoryError(), True),
        (ValueError("state must have its active members at one step"), False),
    ],
)
def test_out_of_memory_is_distinguished_from_other_errors(error, expected):
    assert slots.is_out_of_memory(error) == expected
