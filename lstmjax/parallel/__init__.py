"""Devices, meshes, and the mapping of population members or windows of a batch onto them.

There are two axes. ``member`` spreads the members of a population, which do not communicate. ``batch`` splits the
windows of every batch, and gradients are summed over it. A single run is a population of one with a split batch.

On CPU, XLA does not spread the small products of a recurrence over cores. So every core gets its own XLA device
(`configure_devices`), and on each device members are trained one after the other. On an accelerator the opposite is
fast: one device, and all members in one batched product.

Several processes, on many hosts, have one mesh of the devices of all of them (`connect`): each process holds the
weights, and computes its part of every batch. See `lstmjax.parallel.meeting` and `processes`.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lstmjax.errors import ConfigError
from lstmjax.parallel.devices import available_bytes as available_bytes
from lstmjax.parallel.devices import configure_devices as configure_devices
from lstmjax.parallel.devices import cores as cores
from lstmjax.parallel.devices import keep_freed_memory as keep_freed_memory
from lstmjax.parallel.devices import warn_once
from lstmjax.parallel.meeting import connect as connect
from lstmjax.parallel.meeting import ending_together as ending_together
from lstmjax.parallel.processes import agree as agree
from lstmjax.parallel.processes import from_first as from_first
from lstmjax.parallel.processes import is_first_process as is_first_process
from lstmjax.parallel.processes import process_count as process_count
from lstmjax.parallel.processes import require_equal as require_equal
from lstmjax.parallel.processes import text_from_first as text_from_first
from lstmjax.parallel.processes import together as together

MappingName = Literal["map", "vmap"]

MIN_WINDOWS_ON_CPU, MIN_WINDOWS_ELSEWHERE = 16, 256
"""Smallest number of windows per device for which it pays to split a batch."""

MAX_BYTES_SPLIT = 2**21
"""Largest array of weights, in bytes, with which a batch is still split over CPU cores. If it exceeds a core's own
cache, every core reads all of it for its part of the batch in every time step, and also updates all of it: then one
product on all cores is faster (by a quarter at 512 hidden features)."""


def resolve_batch_shards(
    batch_size: int, configured: int | None = None, devices: int | None = None, *, widest: int = 0, members: int = 1
) -> int:
    """Returns the number of devices over which a batch is split.

    The number determines the order in which gradients are summed, and so the bytes of a run: resolve it once and store
    it with the run.

    Args:
        batch_size: windows in a batch.
        configured: the number that the user, or the resumed run, sets. Default: the largest number of devices that
            divides the batch and leaves enough windows on each.
        devices: number of devices. Default: all of JAX's.
        widest: size of the network's largest array, in bytes; see `MAX_BYTES_SPLIT`.
        members: members trained together. Several are divided among the processes; of a batch of one member, every
            process takes as many parts as every other.

    Returns:
        The number of shards; it divides ``batch_size``. Others than ``configured`` where there are fewer devices, or
        where the processes cannot share these, with a warning, as for a run resumed on a smaller machine: its numbers
        then agree within rounding only.

    Raises:
        ConfigError: ``configured`` does not divide ``batch_size``, or the processes cannot share it.

    >>> resolve_batch_shards(64, devices=3), resolve_batch_shards(64, configured=1), resolve_batch_shards(20, devices=2)
    (2, 1, 1)
    >>> resolve_batch_shards(64, devices=2, widest=4 * 512 * 2048)  # 512 hidden features, on CPU
    1
    """
    devices = device_count() if devices is None else devices
    processes = process_count() if members == 1 else 1
    dividing = [shards for shards in range(processes, devices + 1, processes) if batch_size % shards == 0]
    if not dividing:
        raise ConfigError(
            f"train.batch_size is {batch_size}: expected a multiple of the {processes} processes, each of which takes "
            "a part of every batch"
        )
    if configured is None:
        on_cpu = jax.default_backend() == "cpu"
        if on_cpu and widest > MAX_BYTES_SPLIT:
            return processes
        smallest = MIN_WINDOWS_ON_CPU if on_cpu else MIN_WINDOWS_ELSEWHERE
        return max(shards for shards in dividing if shards == processes or batch_size // shards >= smallest)
    if batch_size % configured:
        raise ConfigError(
            f"train.batch_shards is {configured}: expected a divisor of the batch of {batch_size} windows"
        )
    if configured in dividing:
        return configured
    resolved = max((shards for shards in dividing if shards <= configured), default=processes)
    there = f"{devices} devices" if configured > devices else f"{processes} processes"
    warn_once(
        f"train.batch_shards is {configured}, but there are {there}: "
        f"the batch is split over {resolved}, and sums are rounded differently"
    )
    return resolved


def device_count() -> int:
    """Returns the number of devices that are used: as many of every process as of the one that has fewest."""
    return len(_devices_by_process()) * len(_devices_by_process()[0])


def _devices_by_process() -> list[list[Any]]:
    """The devices of each process, as many of each."""
    if process_count() == 1:
        return [jax.devices()]
    by_process = [
        sorted((device for device in jax.devices() if device.process_index == process), key=lambda device: device.id)
        for process in range(process_count())
    ]
    fewest = min(map(len, by_process))
    return [devices[:fewest] for devices in by_process]


def make_mesh(members: int = 1, batch_shards: int = 1) -> Mesh:
    """Arranges the devices in a grid: members by parts of a batch.

    Args:
        members: members to train. They are spread over the devices that the parts of the batch leave.
        batch_shards: parts of a batch, one device each.

    Returns:
        A mesh with the axes ``("member", "batch")``.
    """
    rows = arranged(_devices_by_process(), members, batch_shards)
    return Mesh(np.asarray(rows), ("member", "batch"))


def arranged(by_process: Sequence[Sequence[Any]], members: int, batch_shards: int) -> list[list[Any]]:
    """Chooses devices for a mesh, as many of every process: a row for each group of members, a column for each part.

    Rows that only fill the mesh, with members that are not trained, let every process take part.

    Args:
        by_process: the devices of each process, equally many.
        members: members to train.
        batch_shards: parts of a batch.

    Raises:
        ConfigError: the processes cannot share the parts.

    >>> arranged([["a", "b"], ["c", "d"]], 1, 2), arranged([["a", "b"], ["c", "d"]], 3, 1)
    ([['a', 'c']], [['a'], ['b'], ['c'], ['d']])
    """
    processes, each = len(by_process), len(by_process[0])
    most = max(1, processes * each // batch_shards)
    fitting = [rows for rows in range(1, most + 1) if rows * batch_shards % processes == 0]
    if not fitting:
        raise ConfigError(f"a batch in {batch_shards} parts cannot be shared by {processes} processes: use fewer")
    rows = next((rows for rows in fitting if rows >= members), fitting[-1])
    own = rows * batch_shards // processes
    chosen = [device for devices in by_process for device in devices[:own]]
    return [chosen[row * batch_shards : (row + 1) * batch_shards] for row in range(rows)]


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
