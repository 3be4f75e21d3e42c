"""One file of named arrays: written whole or not at all, verified when it is read, and equal bytes for equal contents.

Checkpoints (`lstmjax.storage.checkpoint`) hold the time at which they were written, and are folders of many files. What
is saved every second, and must have the bytes of an uninterrupted run, is one file instead: an ordinary ``.npz``, which
NumPy alone reads, with the JSON object and the digest of every array in its entry ``description``.
"""

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lstmjax.errors import CheckpointError
from lstmjax.storage.files import replace_file

FORMAT_VERSION = 1
"""Version of the stored form. A newer version is refused."""

_DESCRIPTION = "description"
_OF_DAMAGE = (
    ValueError, KeyError, TypeError, EOFError, MemoryError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip
"""What NumPy and zipfile raise for a file with wrong bytes, such as those of a method of compression."""


def save(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Writes the file, and its folder where there is none.

    Args:
        path: of the file; an existing file is replaced, and stays as it was if writing fails.
        arrays: arrays by name.
        metadata: anything that JSON can hold.

    Raises:
        CheckpointError: it cannot be written; the message says why.
    """
    digests = {name: _digest(array) for name, array in arrays.items()}
    text = json.dumps({"format_version": FORMAT_VERSION, "metadata": dict(metadata), "sha256": digests})
    contents = io.BytesIO()
    described = np.frombuffer(text.encode(), np.uint8)
    np.savez(contents, allow_pickle=False, **{_DESCRIPTION: described}, **arrays)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, contents.getvalue())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror})") from None


def load(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the JSON object in a file.

    Raises:
        CheckpointError: there is no such file, it does not verify, or it was written by a newer lstmjax.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        description = json.loads(arrays.pop(_DESCRIPTION).tobytes())
        version, digests = description["format_version"], description["sha256"]
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from None
    except _OF_DAMAGE as error:
        raise CheckpointError(f"{path} is damaged ({type(error).__name__}): restore a copy, or begin anew") from None
    if version > FORMAT_VERSION:
        raise CheckpointError(f"{path} has format {version}, this lstmjax reads up to {FORMAT_VERSION}: update lstmjax")
    for name in digests.keys() | arrays.keys():
        if name not in arrays or digests.get(name) != _digest(arrays[name]):
            raise CheckpointError(f"{path} is damaged (array {name}): restore a copy, or begin anew")
    return arrays, description["metadata"]


def _digest(array: np.ndarray) -> str:
    described = f"{array.dtype} {array.shape} ".encode()
    return hashlib.sha256(described + np.ascontiguousarray(array).tobytes()).hexdigest()
