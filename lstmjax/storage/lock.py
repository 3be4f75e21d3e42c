"""One process at a time in a run directory. The kernel frees the lock when a process ends, however it is killed."""

import contextlib
import fcntl
import os
import socket
import weakref
from pathlib import Path
from types import TracebackType
from typing import Self

from lstmjax.errors import CheckpointError

LOCK_FILE = "lock"
"""The file that is locked. It stays, and means nothing by itself; its text says who held it last."""


class DirectoryLock:
    """Holds a directory for this process, until it is closed, collected, or the process ends.

    Args:
        directory: what to hold; made if it is not there.

    Raises:
        CheckpointError: another process holds it, or the lock file cannot be written.
    """

    def __init__(self, directory: Path | str) -> None:
        path = Path(directory) / LOCK_FILE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Opened for writing, as flock on NFS wants it.
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
        with contextlib.suppress(OSError):  # a full disk: who holds it is only a courtesy
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def close(self) -> None:
        """Lets go of the directory."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
