"""Lets one process at a time use a run directory. The kernel frees the lock when that process ends, even if killed.

It needs the POSIX call `flock` (Linux, macOS, WSL); Windows itself has none.
"""

import contextlib
import os
import socket
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lstmjax.errors import CheckpointError

LOCK_FILE = "lock"
"""The file that is locked. It stays after the lock is freed; its text names the process that held it last."""


class DirectoryLock(contextlib.AbstractContextManager):
    """Holds a directory for this process until the lock is closed or collected, or the process ends. POSIX only.

    Args:
        directory: what to hold; made if it is not there.

    Raises:
        CheckpointError: another process holds it, the lock file cannot be written, or the system has no POSIX locks.
    """

    def __init__(self, directory: Path | str) -> None:
        try:
            import fcntl
        except ImportError:
            raise CheckpointError(
                "run directories are locked with POSIX file locks, which this system lacks: use Linux or macOS, or WSL "
                "on Windows"
            ) from None
        path = Path(directory) / LOCK_FILE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Opened for writing, as flock on NFS requires.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be written ({error.strerror}): name another directory") from None
        self._close = weakref.finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
            self.close()
            raise CheckpointError(
                f"{directory} is in use by {holder}: wait until it has ended, or name another directory"
            ) from None
        with contextlib.suppress(OSError):  # a full disk; the lock holds without its text
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def close(self) -> None:
        """Releases the directory."""
        self._close()

    def __exit__(self, *error: object) -> None:
        self.close()


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[IO[str]]:
    """Waits until no other process holds the lock of a file, and holds it. POSIX only.

    Args:
        path: the file, which is emptied; made if it is not there.

    Yields:
        The file, open for writing.
    """
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
