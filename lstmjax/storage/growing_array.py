"""A `.npy` file that rows are added to, so that an array larger than memory is written in one pass."""

import contextlib
from pathlib import Path

import numpy as np
from numpy.lib import format as npy


class GrowingArray(contextlib.AbstractContextManager):
    """Writes an array of two axes, a few rows at a time; to be closed, which makes the file one that NumPy opens.

    Args:
        path: of the new file.
        columns: length of the second axis.
        dtype: of the numbers.
    """

    def __init__(self, path: Path, columns: int, dtype: type = np.float64) -> None:
        self.rows = 0
        self._columns, self._dtype = columns, np.dtype(dtype)
        self._file = open(path, "xb")  # noqa: SIM115  # closed by `close`
        self._write_header()

    def append(self, rows: np.ndarray) -> None:
        """Adds rows at the end.

        Raises:
            ValueError: they have another number of columns.
        """
        if rows.ndim != 2 or rows.shape[1] != self._columns:
            raise ValueError(f"rows must have the shape (n, {self._columns}), got {rows.shape}")
        self._file.write(np.ascontiguousarray(rows, self._dtype).data)
        self.rows += len(rows)

    def close(self) -> None:
        """Writes the number of rows into the header."""
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def __exit__(self, *error: object) -> None:
        self.close()

    def _write_header(self) -> None:
        # NumPy leaves room in the header for the first axis to grow, so its length does not depend on it.
        shape = (self.rows, self._columns)
        npy.write_array_header_1_0(
            self._file, {"shape": shape, "fortran_order": False, "descr": npy.dtype_to_descr(self._dtype)}
        )
