"""Records on disk that are given back group by group: a sort by group whose memory does not grow with the data."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np


class GroupedRecords:
    """Collects records in any order, then yields all records of each group together.

    Records that arrive in the order of their groups are read back as they lie. Others are first distributed over files
    of neighbouring groups, each of which fits into memory.

    Args:
        folder: an empty folder for its files.
        dtype: a structured type; its field ``group`` holds the number of a record's group, from 0.
    """

    def __init__(self, folder: Path, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.counts = np.zeros(0, np.int64)
        """Records of each group."""
        self._folder = folder
        self._whole = folder / "records"
        self._last = 0
        self._in_order = True
        self._parts: list[tuple[Path, int, int]] | None = None

    def append(self, records: np.ndarray) -> None:
        """Adds records."""
        groups = records["group"]
        if not len(groups):
            return
        counts = np.bincount(groups, minlength=len(self.counts))
        counts[: len(self.counts)] += self.counts
        self.counts = counts
        self._in_order &= bool(groups[0] >= self._last and (np.diff(groups) >= 0).all())
        self._last = int(groups[-1])
        with open(self._whole, "ab") as file:
            file.write(np.ascontiguousarray(records).data)

    def parts(self, most: int) -> Iterator[np.ndarray]:
        """Yields the records by group; those of a group in the order in which they arrived.

        It may be called again, with the same argument.

        Args:
            most: records at a time; a group that has more is yielded alone.
        """
        if self._parts is None:
            bounds = _bounds(self.counts, most)
            rows = np.concatenate([[0], np.cumsum(self.counts)])[bounds]
            if self._in_order:
                self._parts = [(self._whole, begin, end) for begin, end in itertools.pairwise(rows.tolist())]
            else:
                self._parts = self._distributed(bounds, most)
        for path, begin, end in self._parts:
            records = np.fromfile(path, self.dtype, end - begin, offset=begin * self.dtype.itemsize)
            yield records if self._in_order else records[np.argsort(records["group"], kind="stable")]

    def _distributed(self, bounds: np.ndarray, most: int) -> list[tuple[Path, int, int]]:
        """Writes the records of neighbouring groups into a file each."""
        paths = [self._folder / f"part-{number}" for number in range(len(bounds) - 1)]
        total = int(self.counts.sum())
        for begin in range(0, total, most):
            records = np.fromfile(self._whole, self.dtype, most, offset=begin * self.dtype.itemsize)
            part = np.searchsorted(bounds, records["group"], side="right") - 1
            order = np.argsort(part, kind="stable")
            edges = np.searchsorted(part[order], np.arange(len(paths) + 1))
            for number in np.flatnonzero(np.diff(edges)).tolist():
                with open(paths[number], "ab") as file:
                    file.write(records[order[edges[number] : edges[number + 1]]].data)
        self._whole.unlink()
        sizes = np.add.reduceat(self.counts, bounds[:-1]).tolist()
        return [(path, 0, size) for path, size in zip(paths, sizes, strict=True)]


def _bounds(counts: np.ndarray, most: int) -> np.ndarray:
    """Cuts groups into ranges of at most ``most`` records, or one group: the first group of each, and the end."""
    ends = np.cumsum(counts)
    bounds = [0]
    while bounds[-1] < len(counts):
        before = ends[bounds[-1] - 1] if bounds[-1] else 0
        bounds.append(max(bounds[-1] + 1, int(np.searchsorted(ends, before + most, side="right"))))
    return np.array(bounds)
