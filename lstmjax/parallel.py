"""Devices, meshes, and the mapping of population members or windows of a batch onto them.

There are two axes. ``member`` spreads the members of a population, which do not communicate. ``batch`` splits the
windows of every batch, and gradients are summed over it. A single run is a population of one with a split batch.

On CPU, XLA does not spread the small products of a recurrence over cores. So every core gets its own XLA device
(`configure_devices`), and on each device members are trained one after the other. On an accelerator the opposite is
fast: one device, and all members in one batched product.
"""

import contextlib
import ctypes
import functools
import math
import os
import platform
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lstmjax.errors import ConfigError

MappingName = Literal["map", "vmap"]

MIN_WINDOWS_ON_CPU, MIN_WINDOWS_ELSEWHERE = 16, 256
"""Smallest number of windows per device for which it pays to split a batch."""

MAX_BYTES_SPLIT = 2**21
"""Largest array of weights, in bytes, with which a batch is still split over CPU cores. If it exceeds a core's own
cache, every core reads all of it for its part of the batch in every time step, and also updates all of it: then one
product on all cores is faster (by a quarter at 512 hidden features)."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Names of parameters in glibc's malloc.h."""


def configure_devices(n: int | None = None) -> int:
    """Gives every core that this process may use its own XLA device. Call it before anything else uses JAX.

    No other place sets the number of devices; the command line and the scripts call this first. A number that is set
    already (``JAX_NUM_CPU_DEVICES``, or ``XLA_FLAGS`` with a host device count) is kept, unless ``n`` is given. It also
    calls `keep_freed_memory`.

    Args:
        n: number of CPU devices. Default: the cores in the process's CPU affinity.

    Returns:
        The number of CPU devices; if JAX was already initialised with another number, that number, and a warning
        reports it once.

    Raises:
        ConfigError: ``n`` is below 1.
    """
    if n is not None and n < 1:
        raise ConfigError(f"the number of CPU devices is {n}: expected at least 1")
    keep_freed_memory()
    if n is None:
        forced = re.search(r"xla_force_host_platform_device_count=(\d+)", os.environ.get("XLA_FLAGS", ""))
        if forced:
            return int(forced.group(1))
        configured = getattr(jax.config, "jax_num_cpu_devices", -1)
        n = configured if configured > 0 else cores()
    try:
        jax.config.update("jax_num_cpu_devices", n)
    except RuntimeError:
        existing = len(jax.devices("cpu"))
        if existing != n:
            _warn_once(
                f"JAX was initialised with {existing} CPU devices, so {n} could not be set: "
                "call lstmjax.parallel.configure_devices() before the first use of JAX"
            )
        return existing
    return n


def keep_freed_memory() -> None:
    """Makes this process keep freed memory for its next arrays. It acts only with glibc on Linux.

    XLA allocates the temporary arrays of a call on CPU from the C library, anew in every call. glibc returns large ones
    to the kernel at once, which then zeroes the same pages again and again: a third of the time of the gradient of an
    LSTM over 512 windows. The process does not shrink afterwards. Settings of the user (``MALLOC_...``,
    ``GLIBC_TUNABLES``) are kept.
    """
    tuned = any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if tuned or platform.libc_ver()[0] != "glibc":
        return
    libc, most = ctypes.CDLL(None), 2**31 - 1
    libc.mallopt(M_TRIM_THRESHOLD, most)
    libc.mallopt(M_MMAP_THRESHOLD, most)
    libc.mallopt(M_ARENA_MAX, 1)  # the arenas of threads hold no arrays above 64 MB


def cores() -> int:
    """Returns the number of cores that this process may use."""
    # A job on a shared node may often use only a few of its cores.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)


def resolve_batch_shards(
    batch_size: int, configured: int | None = None, devices: int | None = None, *, widest: int = 0
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

    Returns:
        The number of shards; it divides ``batch_size``. Fewer than ``configured`` where there are fewer devices, with
        a warning, as for a run resumed on a smaller machine: its numbers then agree within rounding only.

    Raises:
        ConfigError: ``configured`` does not divide ``batch_size``.

    >>> resolve_batch_shards(64, devices=3), resolve_batch_shards(64, configured=1), resolve_batch_shards(20, devices=2)
    (2, 1, 1)
    >>> resolve_batch_shards(64, devices=2, widest=4 * 512 * 2048)  # 512 hidden features, on CPU
    1
    """
    devices = jax.device_count() if devices is None else devices
    dividing = [shards for shards in range(1, devices + 1) if batch_size % shards == 0]
    if configured is None:
        on_cpu = jax.default_backend() == "cpu"
        if on_cpu and widest > MAX_BYTES_SPLIT:
            return 1
        smallest = MIN_WINDOWS_ON_CPU if on_cpu else MIN_WINDOWS_ELSEWHERE
        return max(shards for shards in dividing if shards == 1 or batch_size // shards >= smallest)
    if batch_size % configured:
        raise ConfigError(
            f"train.batch_shards is {configured}: expected a divisor of the batch of {batch_size} windows"
        )
    if configured > devices:
        _warn_once(
            f"train.batch_shards is {configured}, but there are {devices} devices: "
            f"the batch is split over {max(dividing)}, and sums are rounded differently"
        )
        return max(dividing)
    return configured


def make_mesh(members: int = 1, batch_shards: int = 1) -> Mesh:
    """Arranges the devices in a grid: members by parts of a batch.

    Args:
        members: members to train. They are spread over the devices that the parts of the batch leave.
        batch_shards: parts of a batch, one device each.

    Returns:
        A mesh with the axes ``("member", "batch")``.
    """
    member_shards = min(members, max(1, jax.device_count() // batch_shards))
    devices = np.asarray(jax.devices()[: member_shards * batch_shards])
    return Mesh(devices.reshape(member_shards, batch_shards), ("member", "batch"))


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
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec("member")))


def place_shared(tree: Any, mesh: Mesh) -> Any:
    """Places arrays that all members share on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def available_bytes() -> int | None:
    """Returns the bytes that are free for arrays on each device; None where they are unknown.

    CPU devices share the host's memory: they divide what is available there within the limit of the process's control
    group.
    """
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        host = _host_bytes()
        return None if host is None else host // jax.local_device_count()
    stats = device.memory_stats() or {}
    limit = stats.get("bytes_limit")
    return None if limit is None else limit - stats.get("bytes_in_use", 0)


def _host_bytes() -> int | None:
    """Returns the memory available on a Linux host, in a container or not; elsewhere None."""
    found = []
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    with contextlib.suppress(OSError, ValueError):  # "max": no limit
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        found.append(limit - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    return min(found, default=None)
