"""The devices of this process: how many there are on CPU, the threads that run them, and the memory of each."""

import contextlib
import ctypes
import functools
import os
import platform
import re
import warnings
from pathlib import Path

import jax

from lstmjax.errors import ConfigError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Names of parameters in glibc's malloc.h."""


def configure_devices(n: int | None = None) -> int:
    """Gives every core that this process may use its own XLA device. Call it before anything else uses JAX.

    No other place sets the number of devices; the command line and the scripts call this first. A number that is set
    already (``JAX_NUM_CPU_DEVICES``, or ``XLA_FLAGS`` with a host device count) is kept, unless ``n`` is given. It also
    calls `keep_freed_memory` and `schedule_as_batch`.

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
    schedule_as_batch()
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
            warn_once(
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


def schedule_as_batch() -> None:
    """Gives this thread, and those that it starts, the scheduling policy ``SCHED_BATCH``. It acts only on Linux.

    A thread that wakes then does not stop a running one. A program on several devices is started by one thread, which
    wakes a thread of each device. If the first of these takes over the core of the thread that woke it, the others wait
    until the first device has finished its part: so it was in a fifth of the calls on two cores, which cost a seventh
    of the time of the gradient of an LSTM over 32 windows of 96 steps. A policy that the user has set is kept.
    """
    if not hasattr(os, "SCHED_BATCH"):
        return
    with contextlib.suppress(OSError):  # some containers do not allow it
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def cores() -> int:
    """Returns the number of cores that this process may use."""
    # A job on a shared node may often use only a few of its cores.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def warn_once(message: str) -> None:
    """Warns, but only the first time that it is called with this message."""
    warnings.warn(message, RuntimeWarning, stacklevel=3)


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
