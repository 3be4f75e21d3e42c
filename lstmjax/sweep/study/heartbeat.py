"""Which workers are alive: each shows it by a locked folder and by a counter that it raises in the storage.

POSIX only: file locks are those of `fcntl.flock`.
"""

import contextlib
import math
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lstmjax.errors import CheckpointError
from lstmjax.storage.lock import DirectoryLock


@contextlib.contextmanager
def worker_lock(folder: Path) -> Iterator[str]:
    """Shows the workers on this host that this one is alive, by a locked folder: the kernel unlocks it at its death.

    Args:
        folder: where all workers of a sweep keep their folders.

    Yields:
        The worker's name, different for every process.
    """
    name = f"{host()}_{uuid.uuid4().hex[:12]}"
    with DirectoryLock(folder / name):
        try:
            yield name
        finally:
            shutil.rmtree(folder / name, ignore_errors=True)


class WorkerMonitor:
    """Tells which workers are dead.

    A worker on this host is dead when its folder is unlocked, which is known at once. A worker on another host is dead
    when its count of heartbeats does not change for a while, by the clock of this host: clocks are never compared.

    Args:
        folder: where the workers keep their folders.
        grace: seconds without a heartbeat after which a worker counts as dead.
        recovered: when the last outage of the storage ended, in which no worker could show that it is alive.
    """

    def __init__(self, folder: Path, grace: float, recovered: Callable[[], float] = lambda: -math.inf) -> None:
        self.folder, self.grace, self.recovered = folder, grace, recovered
        self._seen: dict[str, tuple[Any, float]] = {}

    def is_dead(self, worker: str, beats: Any) -> bool:
        """Whether a worker is dead, as far as is known now.

        Args:
            worker: its name.
            beats: its latest heartbeat, different from those before.
        """
        if worker.split("_")[0] == host() and _unlocked(self.folder / worker):
            return True
        now = time.monotonic()
        last, since = self._seen.get(worker, (None, now))
        self._seen[worker] = (beats, since if beats == last else now)
        return now - max(self._seen[worker][1], self.recovered()) > self.grace


def host() -> str:
    """Name of this machine since it was started: after a restart, or in another container, it is another name."""
    started = ""
    with contextlib.suppress(OSError):
        started = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    return f"{socket.gethostname().replace('_', '-')}-{os.getuid()}-{started}"


def _unlocked(path: Path) -> bool:
    with contextlib.suppress(CheckpointError):
        if path.exists():
            DirectoryLock(path).close()
        return True
    return False
