"""Where arrays lie: on which devices of which processes, and how the host gets them back."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lstmjax.parallel.processes import process_count


def place_members(tree: Any, mesh: Mesh) -> Any:
    """Places arrays with a leading axis of members on the devices, as `over_members` requires."""
    return _place(tree, NamedSharding(mesh, PartitionSpec("member")))


def place_shared(tree: Any, mesh: Mesh) -> Any:
    """Places arrays that all members share on every device of the mesh."""
    return _place(tree, NamedSharding(mesh, PartitionSpec()))


def place_rows(tree: Any, mesh: Mesh) -> Any:
    """Places the rows of a batch as `over_batch` splits them."""
    return tree if process_count() == 1 else _place(tree, NamedSharding(mesh, PartitionSpec("batch")))


def _place(tree: Any, sharding: NamedSharding) -> Any:
    """Places arrays, of which every process has the whole and gives its devices their parts."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def place(leaf: Any) -> jax.Array:
        if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
            return leaf
        host = np.asarray(leaf)
        host = host.astype(jax.dtypes.canonicalize_dtype(host.dtype), copy=False)
        return jax.make_array_from_callback(host.shape, sharding, lambda part: host[part])

    return jax.tree.map(place, tree)


def place_made(make: Callable[..., Any], shape: tuple[int, ...], axes: tuple[str, ...], mesh: Mesh) -> Any:
    """Makes arrays and places them; of several processes each makes the parts of its own devices only.

    Args:
        make: a function of one slice for each of the leading axes, which gives that part of all arrays.
        shape: length of the leading axes.
        axes: the axes of the mesh over which they are divided.
        mesh: from `make_mesh`.
    """
    sharding = NamedSharding(mesh, PartitionSpec(*axes))
    if sharding.is_fully_addressable:
        return jax.device_put(make(*(slice(0, size) for size in shape)), sharding)
    made = []
    for device, part in sharding.addressable_devices_indices_map(shape).items():
        slices = (slice(*index.indices(size)) for index, size in zip(part or (), shape, strict=True))
        made.append(jax.device_put(make(*slices), device))

    def join(*leaves: jax.Array) -> jax.Array:
        whole_shape = (*shape, *leaves[0].shape[len(shape) :])
        return jax.make_array_from_single_device_arrays(whole_shape, sharding, list(leaves))

    return jax.tree.map(join, *made)


def whole(tree: Any) -> Any:
    """Gathers arrays that lie on the devices of several processes, so that each process can read all of them.

    All processes must call it, with the same arrays.
    """
    leaves = [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)]
    if all(leaf.is_fully_addressable or leaf.is_fully_replicated for leaf in leaves):
        return tree
    sharding: Any = leaves[0].sharding
    return _gathering(sharding.mesh)(tree)


def fetch(tree: Any) -> Any:
    """Brings arrays to the host as NumPy, the whole of each to every process; see `whole`."""
    return jax.device_get(whole(tree))


@functools.lru_cache(maxsize=8)
def _gathering(mesh: Mesh) -> Callable[[Any], Any]:
    return jax.jit(lambda tree: tree, out_shardings=NamedSharding(mesh, PartitionSpec()))
