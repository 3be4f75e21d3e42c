"""The digest of a panel: two tables with one digest are the same data to every network."""

import hashlib
import json

import numpy as np

from lstmjax.data.panel import Panel

_BYTES = 1 << 24  # read at a time, as an array may be a memory map larger than memory


def panel_digest(panel: Panel) -> str:
    """SHA-256 of a panel: of its values, its times, its identifiers and what its columns mean."""
    arrays, metadata = panel.to_arrays()
    # Empty parts are left out, so that a later version may add columns and arrays that this panel does not use.
    said = {name: value for name, value in metadata["schema"].items() if value}
    digest = hashlib.sha256(json.dumps([said, metadata["ids"]], sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        if array.size:
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            rows = max(1, _BYTES // (array.nbytes // len(array)))
            for first in range(0, len(array), rows):
                digest.update(np.ascontiguousarray(array[first : first + rows]).data)
    return digest.hexdigest()
