"""Checkpoints: named arrays and their description on disk, written by Orbax and verified when loaded.

A checkpoint is a flat dict from names to arrays and a JSON object. Orbax writes it to a temporary folder and renames
that once it is whole, so a process that is killed while saving leaves no half checkpoint under the name of a step.
Orbax itself does not notice a flipped bit in an array file: so every array is stored with its SHA-256, which `load`
checks. Nothing is pickled: to load a checkpoint from somebody else executes no code.

On disk the description and the arrays lie one after the other in one array of bytes. Orbax takes several milliseconds
per array, and a training state has about sixty; and where one of several fails, the others print tracebacks.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lstmjax.errors import CheckpointError
from lstmjax.storage.silence import silenced

FORMAT_VERSION = 2
"""Version of the stored form. A newer version is refused.

1: batches came in the order of a table, and a plateau's factor lowered the learning rate under every schedule. Its
   weights still forecast; training cannot continue from its states.
2: batches come in a computed order, and there is a plateau under the plateau schedule only.
"""

Tree = TypeVar("Tree")

_NAME = "checkpoint"
"""Orbax's name for it, within the folder of a step."""

_UNFINISHED = ".orbax-checkpoint-tmp"
"""Part of the names of folders that Orbax has not finished."""

_DIGEST_BYTES = hashlib.sha256().digest_size
_HEAD_BYTES = _DIGEST_BYTES + 8
"""The digest and the length of the description precede it."""


class CheckpointWarning(UserWarning):
    """A checkpoint was skipped because it did not verify, or could not be written."""


class DamagedError(Exception):
    """A checkpoint does not verify; the message says why."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one step.

    Attributes:
        step: number of updates done when it was saved.
        arrays: arrays by name.
        metadata: the JSON object saved with them.
        loss: lower is better; None where it is unknown.
        format_version: the `FORMAT_VERSION` with which it was written.
    """

    step: int
    arrays: dict[str, np.ndarray]
    metadata: dict[str, Any]
    loss: float | None = None
    format_version: int = FORMAT_VERSION


def save(
    directory: Path | str, step: int, arrays: Mapping[str, Any], metadata: Mapping[str, Any], loss: float | None = None
) -> Path:
    """Writes one checkpoint, whole or not at all.

    Args:
        directory: folder of checkpoints; made if it does not exist. An earlier checkpoint of the same step is replaced.
        step: number of updates done.
        arrays: arrays by name, of any shape, on the host or on a device.
        metadata: anything that JSON can hold.
        loss: lower is better.

    Returns:
        The folder of the checkpoint.

    Raises:
        CheckpointError: the folder cannot be written; the message says why.
    """
    contents = _pack(step, arrays, metadata, loss)
    path = Path(directory).resolve() / str(step)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_room(path.parent, contents.nbytes)
        with _orbax() as ocp, _plain_files(ocp):
            ocp.save_checkpointables(path, {_NAME: {"contents": contents}}, overwrite=True)
    # A full disk is an OSError in one library and a ValueError in another.
    except Exception as error:
        remove_unfinished(directory)
        raise CheckpointError(f"{path}: cannot save the checkpoint ({_reason(error)})") from None
    return path


def load(directory: Path | str, *, upto: int | None = None) -> Checkpoint:
    """Reads the newest checkpoint that verifies.

    Args:
        directory: folder of checkpoints.
        upto: the last step to consider. Default: the last one.

    Returns:
        The newest checkpoint in which every array has the digest it was saved with. Newer ones are skipped, with a
        `CheckpointWarning` that names both.

    Raises:
        CheckpointError: there is no checkpoint, none verifies, or the newest was written by a newer lstmjax.
    """
    found = [step for step in steps(directory) if upto is None or step <= upto]
    if not found:
        raise CheckpointError(f"{directory}: no checkpoint found: train first, or name another run directory")
    faults = []
    for step in reversed(found):
        try:
            checkpoint = load_step(directory, step)
        except DamagedError as fault:
            faults.append(f"step {step} {fault}")
            continue
        if faults:
            warnings.warn(f"{directory}: {'; '.join(faults)}: step {step} is used", CheckpointWarning, stacklevel=2)
        return checkpoint
    raise CheckpointError(f"{directory}: no checkpoint verifies ({'; '.join(faults)}): restore a copy, or train again")


def steps(directory: Path | str) -> list[int]:
    """Lists the steps that have a checkpoint in `directory`, ascending, whether or not they verify."""
    path = Path(directory)
    if not path.is_dir():
        return []
    return sorted(int(entry.name) for entry in path.iterdir() if entry.name.isdecimal() and entry.is_dir())


def remove(directory: Path | str, step: int) -> None:
    """Deletes one checkpoint, if there is one. It is renamed first, so that `steps` never lists half a checkpoint."""
    path = Path(directory) / str(step)
    renamed = path.with_name(f"{step}{_UNFINISHED}-deleted")
    shutil.rmtree(renamed, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.rename(renamed)
    shutil.rmtree(renamed, ignore_errors=True)


def remove_unfinished(directory: Path | str) -> None:
    """Deletes the remains of interrupted saves and deletions. No other process may be saving in the folder."""
    for path in Path(directory).glob(f"*{_UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)


def flatten(prefix: str, tree: Any) -> dict[str, Any]:
    """Returns the arrays of a pytree by name, e.g. ``"params/['lstm']['kernel']"``; those on a device stay there.

    Args:
        prefix: the beginning of every name.
        tree: a pytree of arrays.
    """
    import jax

    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {f"{prefix}/{jax.tree_util.keystr(path)}": leaf for path, leaf in leaves}


def unflatten(prefix: str, template: Tree, arrays: Mapping[str, Any]) -> Tree:
    """Restores a pytree: the inverse of `flatten`, given the structure.

    Args:
        prefix: as in `flatten`.
        template: a pytree of the same structure, whose leaves have a shape and a dtype.
        arrays: arrays by name.

    Raises:
        CheckpointError: an array is missing or has another shape, as in the checkpoint of another network.
    """
    import jax

    def restore(path: Any, leaf: Any) -> np.ndarray:
        name = f"{prefix}/{jax.tree_util.keystr(path)}"
        if name not in arrays:
            raise CheckpointError(f"the checkpoint has no array {name}: it was made by another network")
        array = np.asarray(arrays[name])
        if array.shape != leaf.shape:
            raise CheckpointError(
                f"the checkpoint's {name} has shape {array.shape}, the network's has {leaf.shape}: another network"
            )
        return array.astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(restore, template)


def load_step(directory: Path | str, step: int) -> Checkpoint:
    """Reads one checkpoint and verifies it.

    Raises:
        DamagedError: it does not verify.
        CheckpointError: it was written by a newer lstmjax.
    """
    path = (Path(directory) / str(step)).resolve()
    try:
        with _orbax() as ocp:
            whole = np.asarray(ocp.load_checkpointables(path)[_NAME]["contents"]).tobytes()
    # A damaged file makes Orbax, TensorStore and the JSON parser raise various errors; for each an older one is tried.
    except Exception as error:
        raise DamagedError(f"cannot be read ({type(error).__name__})") from error
    digest, length = whole[:_DIGEST_BYTES], int.from_bytes(whole[_DIGEST_BYTES:_HEAD_BYTES], "little")
    text, contents = whole[_HEAD_BYTES : _HEAD_BYTES + length], whole[_HEAD_BYTES + length :]
    if hashlib.sha256(text).digest() != digest:
        raise DamagedError("has a damaged description")
    description = json.loads(text)
    if description["format_version"] > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: the checkpoint has format {description['format_version']}, this lstmjax reads up to "
            f"{FORMAT_VERSION}: update lstmjax"
        )
    arrays = {}
    for name, entry in description["arrays"].items():
        part = contents[entry["offset"] : entry["offset"] + entry["bytes"]]
        if hashlib.sha256(part).hexdigest() != entry["sha256"]:
            raise DamagedError(f"has a damaged array {name}")
        # A copy, since an array over bytes is read-only.
        arrays[name] = np.frombuffer(part, entry["dtype"]).reshape(entry["shape"]).copy()
    return Checkpoint(**(description | {"arrays": arrays}))


def _pack(step: int, arrays: Mapping[str, Any], metadata: Mapping[str, Any], loss: float | None) -> np.ndarray:
    """Joins the description's digest, its length in 8 bytes, the description and all arrays, in one array of bytes."""
    parts, entries, offset = [], {}, 0
    for name, array in arrays.items():
        host = np.asarray(array)
        part = host.tobytes()
        entries[name] = {
            "shape": list(host.shape),
            "dtype": str(host.dtype),
            "offset": offset,
            "bytes": len(part),
            "sha256": hashlib.sha256(part).hexdigest(),
        }
        parts.append(part)
        offset += len(part)
    description = {"format_version": FORMAT_VERSION, "step": step, "loss": loss, "metadata": dict(metadata)}
    text = json.dumps(description | {"arrays": entries}, sort_keys=True).encode()
    head = hashlib.sha256(text).digest() + len(text).to_bytes(8, "little")
    return np.frombuffer(b"".join([head, text, *parts]), np.uint8)


def _check_room(directory: Path, size: int) -> None:
    """Raises the error of a full disk before TensorStore does, which would print tracebacks of its threads."""
    if not hasattr(os, "posix_fallocate"):
        return
    with tempfile.TemporaryFile(dir=directory) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # not every file system can reserve space
                raise


def _plain_files(ocp: Any) -> Any:
    """Sets Orbax to one uncompressed file per array: fast, and readable by anything that reads Zarr."""
    from orbax.checkpoint.experimental.v1 import options

    saving = options.ArrayOptions.Saving(use_ocdbt=False, use_compression=False, array_metadata_store=None)
    return ocp.Context(array_options=options.ArrayOptions(saving=saving))


def _reason(error: Exception) -> str:
    """Returns the cause of an error in one line: the system's message, which TensorStore hides in a paragraph."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else " ".join(str(error).split())[:200] or type(error).__name__


@contextlib.contextmanager
def _orbax() -> Iterator[Any]:
    """Orbax's v1 interface, imported on first use: that takes half a second. Its log is silenced meanwhile.

    It logs its own steps at every save, and whole tracebacks at one that fails; what a user must know is raised or
    warned of here.
    """
    import orbax.checkpoint.experimental.v1 as ocp

    with silenced("absl"):
        yield ocp
