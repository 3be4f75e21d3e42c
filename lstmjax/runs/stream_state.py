"""The state of ``lstmjax stream`` on disk, and its output, which is cut back to what the state knows of."""

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lstmjax.errors import CheckpointError, ConfigError
from lstmjax.forecaster.fitted import Fitted
from lstmjax.forecaster.network import UserNetwork
from lstmjax.forecaster.stream import saved
from lstmjax.forecaster.stream.stream import Stream

SAVE_SECONDS = 1.0
"""The state is saved at most so often."""

_TAIL = 64  # bytes at the end of the output that are remembered
_BEGIN = b'{"offset": '  # of every line of output


@dataclasses.dataclass(frozen=True)
class Position:
    """How far a stream has come."""

    offset: int = 0
    """Bytes of the file that is followed that were taken."""
    lines: int = 0
    """Lines of it."""
    out: int = 0
    """Bytes of the output file that were written."""
    tail: str = ""
    """The last of these bytes, by which the file is known again."""
    has_out: bool = False
    """Whether there is an output file."""
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
            saved.save(stream, self._directory, dataclasses.asdict(position))
            self._written = now
        self._saved_at = time.monotonic()

    def close(self) -> None:
        """Lets others use the directory."""
        os.close(self._descriptor)


class Output:
    """Where the lines go: standard output, or a file.

    Args:
        path: the file; None for standard output.
        position: how far the state has come; None where there is no state.

    Raises:
        ConfigError: the file holds something already, and the state has had no output file.
        CheckpointError: the file is not the one of the state, is shorter than it says, or cannot be written.
    """

    def __init__(self, path: Path | None, position: Position | None) -> None:
        known = position or Position()
        self.length, self.tail, self.has_file = known.out, known.tail, known.has_out or path is not None
        self._file: Any = None
        self._name = "standard output" if path is None else str(path)
        if path is None:
            return
        try:
            self._require_size(path.stat().st_size if path.exists() else 0, known)
            self._file = path.open("r+b" if path.exists() else "w+b")
            self._require_own(known)
            self._file.truncate(self.length)
            self._file.seek(self.length)
        except CheckpointError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise CheckpointError(f"{path}: cannot be written ({error.strerror})") from None

    def _require_size(self, size: int, known: Position) -> None:
        if not known.has_out and size:
            raise ConfigError(
                f"{self._name} holds something already: name another file, or give the --state it belongs to"
            )
        if size < known.out:
            raise CheckpointError(
                f"{self._name} has {size} bytes, and the state says {known.out}: give the file that belongs to it, or "
                "begin with a new --state"
            )

    def _require_own(self, known: Position) -> None:
        """Requires that what is kept, and what will be cut off, was written by this command."""
        expected = known.tail.encode("latin-1")
        self._file.seek(known.out - len(expected))
        found, after = self._file.read(len(expected)), self._file.read(len(_BEGIN))
        if found != expected or not _BEGIN.startswith(after):
            raise CheckpointError(
                f"{self._name} is not what the state has written: give the file that belongs to it, or begin with a "
                "new --state"
            )

    def write(self, lines: Sequence[str]) -> None:
        """Writes lines and flushes them.

        Raises:
            CheckpointError: they cannot be written.
        """
        if not lines:
            return
        if self._file is None and sys.stdout is None:
            raise CheckpointError("standard output is closed: open it, or name a file with --out")
        text = "".join(f"{line}\n" for line in lines).encode()
        file = sys.stdout.buffer if self._file is None else self._file
        try:
            file.write(text)
            file.flush()
        except BrokenPipeError:  # the reader has what it wants
            raise
        except OSError as error:
            raise CheckpointError(f"{self._name}: cannot be written ({error.strerror})") from None
        if self._file is not None:
            self.length += len(text)
            self.tail = (self.tail.encode("latin-1") + text)[-_TAIL:].decode("latin-1")

    def flush(self) -> None:
        """Sees to it that what was written is on the disk."""
        if self._file is not None:
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                raise CheckpointError(f"{self._name}: cannot be written ({error.strerror})") from None

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # what was not written was said before, and does not belong to the state
                self._file.close()
