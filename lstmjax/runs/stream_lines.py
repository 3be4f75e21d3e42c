"""The input of ``lstmjax stream``: lines of CSV or JSON from standard input or a growing file, one at a time."""

import csv
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lstmjax.data.table import DataWarning
from lstmjax.errors import DataError

LONGEST = 1 << 20
"""Bytes of a line: a longer one is no row."""

_BLOCK = 1 << 16
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Line:
    """A line of input."""

    text: bytes | None
    """Without its end; None where it was longer than `LONGEST`."""
    number: int
    """From 1."""
    end: int
    """The byte after it."""
    whole: bool = True
    """False where the input ended before the line did."""


class Lines:
    """Cuts input into lines, in the memory of the longest allowed.

    Args:
        offset: bytes read before.
        number: lines read before.
    """

    def __init__(self, offset: int = 0, number: int = 0) -> None:
        self._rest, self._too_long = b"", False
        self._offset, self._number = offset, number

    def feed(self, block: bytes) -> Iterator[Line]:
        """The lines that end in the next bytes of the input."""
        *ended, rest = block.split(b"\n")
        for part in ended:
            text = self._rest + part
            self._offset += len(part) + 1
            self._number += 1
            long = self._too_long or len(text) > LONGEST
            self._rest, self._too_long = b"", False
            yield Line(None if long else text.removesuffix(b"\r"), self._number, self._offset)
        self._rest += rest
        self._offset += len(rest)
        if len(self._rest) > LONGEST:
            self._rest, self._too_long = b"", True

    def end(self) -> Iterator[Line]:
        """What is left where the input ends in the middle of a line."""
        if self._rest.strip() or self._too_long:
            yield Line(None if self._too_long else self._rest, self._number + 1, self._offset, whole=False)
        self._rest, self._too_long = b"", False


def available(file: IO[bytes]) -> bytes:
    """The next bytes of a file or a pipe, as many as there are; empty at its end. It waits for a pipe only."""
    return os.read(file.fileno(), _BLOCK)


def opened(path: Path, offset: int) -> IO[bytes]:
    """A file that is followed, after what was read of it before.

    Args:
        path: where it is.
        offset: bytes of it that were read.

    Raises:
        DataError: it cannot be read, or no line ends there, so that it is another file.
    """
    try:
        file = path.open("rb", buffering=0)
        file.seek(max(offset - 1, 0))
        ends_a_line = offset == 0 or file.read(1) in (b"\n", b"")  # a shorter file is found as it is followed
        file.seek(offset)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if not ends_a_line:
        file.close()
        raise DataError(
            f"{path} is not the file that the state has read: no line ends at byte {offset} of it: begin a new state"
        )
    return file


def require_same(file: IO[bytes], path: Path) -> None:
    """Requires that an open file is still what its path names, and holds what was read of it.

    Raises:
        DataError: it is not; says what became of it.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if not os.path.samestat(found, os.fstat(file.fileno())):
        raise DataError(
            f"{path} was replaced by another file: if it holds the same rows and more, type the command again; if not, "
            "begin a new state"
        )
    if found.st_size < file.tell():
        raise DataError(f"{path} became shorter than what was read of it: was it replaced? begin a new state")


class RowParser:
    """Turns lines into rows by column: of CSV with or without a header, or of JSON.

    Args:
        columns: the columns of CSV without a header, in order.
        named: the columns of times and targets: a line that holds their names is a header.
        separator: of CSV.
        header: the header that was read before, where the input is continued.
        unsure: what to warn of where rows come without a header.
    """

    def __init__(
        self,
        columns: Sequence[str],
        named: Sequence[str],
        separator: str,
        header: Sequence[str] | None = None,
        unsure: str | None = None,
    ) -> None:
        self._unsure = unsure
        self._columns, self._named, self._separator = list(columns), list(named), separator
        self.header = None if header is None else list(header)

    def parse(self, text: bytes, *, first: bool) -> dict[str, Any] | None:
        """The cells of a row by column; None for an empty line, or a header.

        Args:
            text: the line.
            first: whether it is the first line of the input: there the name of the time column makes a header.

        Raises:
            DataError: it is neither; says why.
        """
        text = text.removeprefix(_BOM) if first else text
        if not text.strip():
            return None
        try:
            line = text.decode()
        except UnicodeDecodeError:
            raise DataError("is not text in UTF-8") from None
        if "\0" in line:
            raise DataError("holds binary data")
        return self._of_json(line) if line.lstrip().startswith("{") else self._of_csv(line, first=first)

    def _of_json(self, line: str) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"is not JSON ({getattr(error, 'msg', type(error).__name__)})") from None
        for name, cell in row.items():
            if isinstance(cell, (dict, list)):
                raise DataError(f"column {name!r} is a {type(cell).__name__}: expected a number or text")
        return row

    def _of_csv(self, line: str, *, first: bool) -> dict[str, Any] | None:
        try:
            (cells,) = csv.reader([line], delimiter=self._separator, strict=True)
        except (csv.Error, ValueError) as error:
            raise DataError(f"is not a row of CSV ({error})") from None
        names = [cell.strip() for cell in cells]
        # Also further down, as where files follow one another: their columns may be in another order.
        if set(self._named[:1] if first else self._named) <= set(names):
            if len(set(names)) < len(names):
                raise DataError("is a header that names a column twice")
            self.header = names
            return None
        if self.header is None and self._unsure is not None:
            warnings.warn(self._unsure, DataWarning, stacklevel=2)
            self._unsure = None
        columns = self._columns if self.header is None else self.header
        if len(cells) != len(columns):
            raise DataError(f"has {len(cells)} cells: expected {len(columns)}, of the columns {', '.join(columns)}")
        return dict(zip(columns, cells, strict=True))


def source_name(follow: Path | None) -> str:
    """What messages call the input."""
    return "standard input" if follow is None else str(follow)
