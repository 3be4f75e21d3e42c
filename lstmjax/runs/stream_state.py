"""The state of ``lstmjax stream`` on disk, and its output, which is cut back to what the state knows of."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lstmjax.errors import CheckpointError, ConfigError
from lstmjax.forecaster.fitted import Fitted
from lstmjax.forecaster.network import UserNetwork
from lstmjax.forecaster.stream import saved
from lstmjax.forecaster.stream.stream import Stream

SAVE_SECONDS = 1.0
"""The state is saved at most so often."""


class Position(NamedTuple):
    """How far a stream has come."""

    offset: int = 0
    """Bytes of the file that is followed that were taken."""
    lines: int = 0
    """Lines of it."""
    out: int = 0
    """Bytes of the output file that were written."""
    malformed: int = 0
    """Lines that could not be used."""
    header: list[str] | None = None
    """The columns of that file, where it is CSV and has a header."""


class StateDirectory:
    """A directory that holds the state, for one process at a time.

    Args:
        directory: made if it is not there.

    Raises:
        CheckpointError: it cannot be written, or another process uses it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory, self._saved_at = directory, 0.0
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(directory, os.O_RDONLY)
        except OSError as error:
            raise CheckpointError(f"{directory}: cannot be written ({error.strerror})") from None
        # The folder itself is locked: a file of a lock would tell one run from another.
        self._lock()
        for unfinished in directory.glob(".*.npz.*"):  # of a process that was killed
            unfinished.unlink(missing_ok=True)

    def _lock(self) -> None:
        try:
            import fcntl

            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise CheckpointError(
                f"{self._directory} is in use by another process: wait until it has ended, or name another directory"
            ) from None
        except (ImportError, OSError):  # Windows, or a file system without locks
            return

    def load(self, fitted: Fitted, network: UserNetwork | None) -> tuple[Stream, Position] | None:
        """The stream and how far it had come; None where there is no state yet."""
        if not (self._directory / saved.FILE).exists():
            return None
        stream, extra = saved.load(self._directory, fitted, network)
        return stream, Position(**extra)

    def is_due(self) -> bool:
        """Whether the last save was long enough ago."""
        return time.monotonic() - self._saved_at >= SAVE_SECONDS

    def save(self, stream: Stream, position: Position) -> None:
        """Writes the state, if it changed since it was last written."""
        now: Any = (position, dict(stream.counts), stream.policies, stream.levels)
        if now != getattr(self, "_written", None):
            saved.save(stream, self._directory, position._asdict())
            self._written = now
        self._saved_at = time.monotonic()

    def close(self) -> None:
        """Lets others use the directory."""
        os.close(self._descriptor)


class Output:
    """Where the lines go: standard output, or a file.

    Args:
        path: the file; None for standard output.
        length: bytes of it that belong to the state; None where there is no state.

    Raises:
        ConfigError: there is no state, and the file holds something already.
        CheckpointError: the file is shorter than the state says, or cannot be written.
    """

    def __init__(self, path: Path | None, length: int | None) -> None:
        self.length = length or 0
        self._file: Any = None
        if path is None:
            return
        try:
            size = path.stat().st_size if path.exists() else 0
            if length is None and size:
                raise ConfigError(
                    f"{path} holds something already: name another file, or give the --state it belongs to"
                )
            if size < self.length:
                raise CheckpointError(
                    f"{path} has {size} bytes, and the state says {self.length}: give the file that belongs to it, or "
                    "begin with a new --state"
                )
            self._file = path.open("r+b" if path.exists() else "w+b")
            self._file.truncate(self.length)
            self._file.seek(self.length)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be written ({error.strerror})") from None

    def write(self, lines: Sequence[str]) -> None:
        """Writes lines and flushes them."""
        if not lines:
            return
        text = "".join(f"{line}\n" for line in lines).encode()
        file = sys.stdout.buffer if self._file is None else self._file
        file.write(text)
        file.flush()
        if self._file is not None:
            self.length += len(text)

    def flush(self) -> None:
        """Sees to it that what was written is on the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
