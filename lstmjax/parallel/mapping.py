"""How a function of one member, or of the rows of a batch, runs on all devices of a mesh."""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, PartitionSpec

MappingName = Literal["map", "vmap"]


def padded_members(members: int, mesh: Mesh) -> int:
    """Rounds ``members`` up to a multiple of the mesh's member axis."""
    return math.ceil(members / mesh.shape["member"]) * mesh.shape["member"]


def default_mapping(members: int, mesh: Mesh) -> MappingName:
    """Returns how the members on one device are trained: one after the other, or all in one batched product.

    Args:
        members: number of members on all devices.
        mesh: from `make_mesh`.

    Returns:
        "map" on CPU, and wherever a device holds a single member; else "vmap".
    """
    alone = padded_members(members, mesh) == mesh.shape["member"]
    return "map" if alone or mesh.devices.flat[0].platform == "cpu" else "vmap"


def over_members(
    function: Callable[[Any, Any], Any],
    mesh: Mesh,
    mapping: MappingName,
    members: Any = PartitionSpec("member"),  # noqa: B008  # immutable
) -> Callable[[Any, Any], Any]:
    """Maps a function of one member over all members, on all devices of the mesh.

    Args:
        function: ``function(member, shared) -> result``, for one member. It runs on all parts of the batch at once,
            and may sum over the axis "batch"; its result must be the same on all parts.
        mesh: from `make_mesh`.
        mapping: how the members on one device run. Under "map" a member's result has the same bytes whatever
            the number of members; under "vmap" it may differ by rounding.
        members: how what each member has lies on the mesh, as a prefix of its tree. Default: whole.

    Returns:
        A compiled function of (members, shared), where the leaves of members and of the result have a leading axis of
        members; ``shared`` is stored once per device, never once per member.
    """

    def on_device(each: Any, shared: Any) -> Any:
        if mapping == "vmap":
            return jax.vmap(lambda member: function(member, shared))(each)
        return lax.map(lambda member: function(member, shared), each)

    by_member = PartitionSpec("member")
    # check_vma requires that every carry and every argument of a custom_vjp is cast to varying by hand. The error that
    # it would find, results that differ over "batch", is found by the tests that compare shards.
    mapped = jax.shard_map(
        on_device, mesh=mesh, in_specs=(members, PartitionSpec()), out_specs=by_member, check_vma=False
    )
    return jax.jit(mapped)


def over_batch(function: Callable[[Any, Any], Any], mesh: Mesh) -> Callable[[Any, Any], Any]:
    """Splits the rows of a batch over the mesh's axis "batch"; the rows must not depend on each other.

    Args:
        function: ``function(rows, shared) -> rows of results``.
        mesh: from `make_mesh`; the number of rows must be a multiple of its axis "batch".

    Returns:
        A compiled function of (rows, shared).
    """
    by_row = PartitionSpec("batch")
    return jax.jit(
        jax.shard_map(function, mesh=mesh, in_specs=(by_row, PartitionSpec()), out_specs=by_row, check_vma=False)
    )


def sum_over_batch(tree: Any) -> Any:
    """Sums arrays over the axis "batch", within `over_members` or `over_batch`.

    They travel as one array: on CPU, every array that devices exchange costs them a synchronisation. Ten small ones
    take 0.7 ms, one array of their size 0.1 ms; a training step of a small network takes 2.

    Args:
        tree: arrays of floating point numbers. If their dtypes differ, they are summed in the widest.
    """
    flat, restore = ravel_pytree(tree)
    return restore(lax.psum(flat, "batch"))
