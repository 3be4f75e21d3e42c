"""Who is at work: workers show that they live, and see which others do not any more."""

import fcntl
import os
import socket
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self


class Presence:
    """A worker's sign of life on its own host: a locked file, which the kernel unlocks when the process is gone.

    Args:
        folder: where all workers of a sweep leave theirs.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = f"{host()}_{uuid.uuid4().hex[:12]}"
        """The worker's name, different for every process."""
        self._path = folder / f"{self.name}.lock"
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n")  # for people
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._path.unlink(missing_ok=True)
        self._file.close()


class Obituaries:
    """Tells which workers are dead.

    One on this host is dead when its file is unlocked: known at once. One on another host is dead when its pulse, a
    number it raises again and again, rests for a while by the clock of whoever watches; no two clocks are compared.

    Args:
        folder: where the workers leave their files.
        grace: seconds without a beat after which a worker counts as dead.
    """

    def __init__(self, folder: Path, grace: float) -> None:
        self.folder, self.grace = folder, grace
        self._seen: dict[str, tuple[int, float]] = {}

    def dead(self, worker: str, pulse: int) -> bool:
        """Whether a worker is dead, as far as can be known by now.

        Args:
            worker: its name.
            pulse: its latest.
        """
        if worker.split("_")[0] == host() and _unlocked(self.folder / f"{worker}.lock"):
            return True
        now = time.monotonic()
        last, since = self._seen.get(worker, (None, now))
        if pulse != last:
            since = now
        self._seen[worker] = (pulse, since)
        return now - since > self.grace


def host() -> str:
    """This machine since it was started: after a restart, or in another container, it is another."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        started = ""
    return f"{socket.gethostname().replace('_', '-')}-{os.getuid()}-{started}"


def _unlocked(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
