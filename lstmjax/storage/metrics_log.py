"""metrics.jsonl: one line per validation check. A full disk loses no line, and a resumed run has each line once."""

import json
import warnings
from pathlib import Path
from typing import Any

from lstmjax.storage.checkpoint import CheckpointWarning


class MetricsLog:
    """Lines of JSON in a file, each with a ``step``.

    Args:
        path: the file; made at the first line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole = 0
        """Number of bytes of the file that are whole lines."""
        self._unwritten: list[bytes] = []
        """Lines that could not be written yet."""

    def read(self) -> list[dict[str, Any]]:
        """Returns the whole lines."""
        return [line for _, line in self._lines()]

    def rewind(self, step: int) -> None:
        """Deletes the lines of later steps, and half a line at the end, which a killed process may leave."""
        self._whole = sum(size for size, line in self._lines() if line["step"] <= step)
        self._unwritten = []
        if self.path.exists():
            with self.path.open("r+b") as file:
                file.truncate(self._whole)

    def append(self, line: dict[str, Any]) -> None:
        """Adds a line. If it cannot be written, it warns, and the next call tries again."""
        self._unwritten.append(json.dumps(line).encode() + b"\n")
        lines = b"".join(self._unwritten)
        try:
            with self.path.open("r+b" if self.path.exists() else "w+b") as file:
                file.seek(self._whole)
                file.write(lines)
                file.truncate()
        except OSError as error:
            warnings.warn(f"{self.path}: cannot be written now ({error.strerror})", CheckpointWarning, stacklevel=2)
            return
        self._whole += len(lines)
        self._unwritten = []

    def _lines(self) -> list[tuple[int, dict[str, Any]]]:
        """Reads each whole line with its length in bytes, up to the first that is not whole."""
        lines = []
        for text in self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []:
            try:
                line = json.loads(text)
            except ValueError:
                break
            if not text.endswith(b"\n"):
                break
            lines.append((len(text), line))
        return lines
