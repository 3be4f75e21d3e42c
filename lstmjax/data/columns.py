"""The columns of many series side by side, so that a statistic of each is computed without a loop over series."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int

_VALUES = 1 << 20
"""Values in one block, at most, unless one column has more: 8 MB, so that temporary arrays stay small."""


def columns_of_series(
    values: Float[np.ndarray, "R C"],
    offsets: Int[np.ndarray, " bounds"],
    rows: Int[np.ndarray, " N"],
    *,
    observed: bool = True,
) -> Iterator[tuple[Int[np.ndarray, " n"], Float[np.ndarray, "T n"]]]:
    """Yields the first rows of each series, each target a column; columns without a value are left out.

    Memory is that of a block, also where ``values`` is a memory map.

    Args:
        values: the rows of all series, one after the other; NaN where missing.
        offsets: (N + 1,) where each series begins, and where the last one ends.
        rows: number of rows of each series that count.
        observed: whether missing values are left out; else they are NaN.

    Yields:
        The columns of equally many values, block by block: whose each is, as series * C + target; and its values, one
        column after the other in memory, so that NumPy adds up each as if it were alone.

    >>> y, offsets = np.array([[1.0], [np.nan], [2.0], [5.0], [6.0]]), np.array([0, 3, 5])
    >>> [(cells.tolist(), columns.T.tolist()) for cells, columns in columns_of_series(y, offsets, np.array([3, 2]))]
    [([0, 1], [[1.0, 2.0], [5.0, 6.0]])]
    """
    offsets, channels = np.asarray(offsets), values.shape[1]
    for first, last in _series_ranges(offsets):
        begin = offsets[first:last] - offsets[first]
        part = values[offsets[first] : offsets[last]]
        lengths = np.diff(offsets[first : last + 1])
        counts = np.minimum(rows[first:last], lengths)
        if not counts.any():
            continue
        counted = first_rows(lengths, counts)
        for channel in range(channels):
            column = part[:, channel]
            kept = counted & ~np.isnan(column) if observed else counted
            before = np.concatenate([[0], np.cumsum(kept)])
            size = before[begin + counts] - before[begin]
            for numbers, block in _equal_columns(column[kept], before[begin], size):
                yield (first + numbers) * channels + channel, block


def first_rows(lengths: Int[np.ndarray, " N"], counts: Int[np.ndarray, " N"]) -> Bool[np.ndarray, " R"]:
    """Tells which rows are among the first of their series.

    Args:
        lengths: rows of each series; they lie one after the other.
        counts: rows of each that are among the first, at most its length.

    >>> first_rows(np.array([3, 2]), np.array([1, 2])).tolist()
    [True, False, False, True, True]
    """
    return np.repeat(np.tile([True, False], len(lengths)), np.stack([counts, lengths - counts], axis=1).reshape(-1))


def _series_ranges(offsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yields ranges of series that have about `_VALUES` rows together."""
    first, count = 0, len(offsets) - 1
    while first < count:
        last = int(np.searchsorted(offsets, offsets[first] + 4 * _VALUES, side="right")) - 1
        last = min(max(last, first + 1), count)
        yield first, last
        first = last


def _equal_columns(flat: np.ndarray, begin: np.ndarray, size: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the numbers of columns of one size, and their values (size, n); columns lie one after the other."""
    order = np.argsort(size, kind="stable")
    for numbers in np.split(order, np.flatnonzero(np.diff(size[order])) + 1):
        length = int(size[numbers[0]]) if len(numbers) else 0
        width = max(1, _VALUES // max(length, 1))
        for some in range(0, len(numbers) if length else 0, width):
            at = numbers[some : some + width]
            yield at, flat[begin[at][:, None] + np.arange(length)].T
