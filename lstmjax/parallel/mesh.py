"""Which devices share the members of a population and the windows of a batch: a grid of members by parts of a batch."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from lstmjax.errors import ConfigError
from lstmjax.parallel.devices import warn_once
from lstmjax.parallel.processes import process_count

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
