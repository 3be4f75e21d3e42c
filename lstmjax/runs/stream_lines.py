"""The input of ``lstmjax stream``: lines of CSV or JSON from standard input or a growing file, one at a time."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from lstmjax.errors import DataError

LONGEST = 1 << 20
"""Bytes of a line: a longer one is no row."""

_BLOCK = 1 << 16
_BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
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


class RowParser:
    """Turns lines into rows by column: of CSV with or without a header, or of JSON.

    Args:
        columns: the columns of CSV without a header, in order.
        time_col: the column that tells a header from a row.
        separator: of CSV.
        header: the header that was read before, where the input is continued.
    """

    def __init__(
        self, columns: Sequence[str], time_col: str, separator: str, header: Sequence[str] | None = None
    ) -> None:
        self._columns, self._time_col, self._separator = list(columns), time_col, separator
        self.header = None if header is None else list(header)

    def parse(self, text: bytes, *, first: bool) -> dict[str, Any] | None:
        """The cells of a row by column; None for an empty line, or a header.

        Args:
            text: the line.
            first: whether it is the first line of the input, and so may be a header.

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
        if self._time_col in names and (first or names == self.header):
            if len(set(names)) < len(names):
                raise DataError("is a header that names a column twice")
            self.header = names
            return None
        columns = self._columns if self.header is None else self.header
        if len(cells) != len(columns):
            raise DataError(f"has {len(cells)} cells: expected {len(columns)}, of the columns {', '.join(columns)}")
        return dict(zip(columns, cells, strict=True))


def source_name(follow: Path | None) -> str:
    """What messages call the input."""
    return "standard input" if follow is None else str(follow)
