"""Named arrays and their description on disk: Orbax behind a thin adapter that verifies what it loads.

A checkpoint is a flat dict from names to arrays and a JSON object. Orbax writes it to a temporary folder and renames
that once it is whole, so a process that dies while saving leaves no half a checkpoint under a step's name. Orbax
itself does not notice a flipped bit in an array file: every array is therefore stored with its SHA-256, which `load`
checks. Nothing is pickled: loading a stranger's checkpoint executes nothing.

On disk the description and the arrays lie end to end in one array of bytes. Orbax takes several milliseconds for every
array, and a training state has some sixty; and where one of several fails, those under way print tracebacks.
"""

import contextlib
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
from typing import Any, NamedTuple, TypeVar

import numpy as np

from lstmjax.errors import CheckpointError
from lstmjax.storage.silence import silenced

FORMAT_VERSION = 2
"""Version of the stored form. A newer one is refused, never guessed at.

1: batches came in the order of a table, and a plateau's factor lowered the learning rate under every schedule. Its
   weights still forecast; training cannot continue from its states.
2: batches come in a computed order, and there is a plateau under the plateau schedule only.
"""

Tree = TypeVar("Tree")

_NAME = "checkpoint"
"""What Orbax calls it, within a step's folder."""

_UNFINISHED = ".orbax-checkpoint-tmp"
"""In the names of folders that Orbax has not finished."""

_DIGEST_BYTES = hashlib.sha256().digest_size
_HEAD_BYTES = _DIGEST_BYTES + 8
"""Before the description stand its digest and its length."""


class CheckpointWarning(UserWarning):
    """A checkpoint was passed over because it did not verify, or could not be written."""


class Checkpoint(NamedTuple):
    """What one step left on disk."""

    step: int
    """Updates done when it was saved."""
    arrays: dict[str, np.ndarray]
    """Arrays by name."""
    metadata: dict[str, Any]
    """The JSON object saved beside them."""
    loss: float | None = None
    """How good it is, lower being better; None where nothing says."""
    format_version: int = FORMAT_VERSION
    """The `FORMAT_VERSION` it was written with."""


def save(
    directory: Path | str, step: int, arrays: Mapping[str, Any], metadata: Mapping[str, Any], loss: float | None = None
) -> Path:
    """Writes one checkpoint, whole or not at all.

    Args:
        directory: folder of checkpoints; made if it is not there. An earlier checkpoint of the same step is replaced.
        step: number of updates done.
        arrays: arrays by name, of any shape, on the host or on a device.
        metadata: anything JSON can hold.
        loss: how good it is, lower being better.

    Returns:
        The folder written.

    Raises:
        CheckpointError: the folder cannot be written; says why.
    """
    contents = _pack(step, arrays, metadata, loss)
    path = Path(directory).resolve() / str(step)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_room(path.parent, contents.nbytes)
        with _orbax() as ocp, _plain_files(ocp):
            ocp.save_checkpointables(path, {_NAME: {"contents": contents}}, overwrite=True)
    # A full disk is an OSError in one library and a ValueError in the next.
    except Exception as error:
        remove_unfinished(directory)
        raise CheckpointError(f"{path}: cannot save the checkpoint ({_reason(error)})") from None
    return path


def load(directory: Path | str, *, upto: int | None = None) -> Checkpoint:
    """Reads the newest checkpoint that verifies.

    Args:
        directory: folder of checkpoints.
        upto: the last step to look at. Default: the last there is.

    Returns:
        The newest checkpoint whose every array has the digest it was saved with. Newer ones that do not are passed
        over with a `CheckpointWarning` that names both.

    Raises:
        CheckpointError: there is no checkpoint, or none verifies, or the newest was written by a newer lstmjax.
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
    """The steps that have a checkpoint in `directory`, ascending, whether or not they verify."""
    path = Path(directory)
    if not path.is_dir():
        return []
    return sorted(int(entry.name) for entry in path.iterdir() if entry.name.isdecimal() and entry.is_dir())


def remove(directory: Path | str, step: int) -> None:
    """Deletes one checkpoint, whole or not at all, as far as `steps` can tell; one that is not there is no error."""
    path = Path(directory) / str(step)
    doomed = path.with_name(f"{step}{_UNFINISHED}-deleted")
    shutil.rmtree(doomed, ignore_errors=True)
    try:
        path.rename(doomed)
    except OSError:
        return
    shutil.rmtree(doomed, ignore_errors=True)


def remove_unfinished(directory: Path | str) -> None:
    """Deletes what saves and deletions left that did not end. Nobody else may be saving there."""
    for path in Path(directory).glob(f"*{_UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)


def flatten(prefix: str, tree: Any) -> dict[str, Any]:
    """The arrays of a pytree by name, e.g. ``"params/['lstm']['kernel']"``; those on a device stay there.

    Args:
        prefix: what every name begins with.
        tree: a pytree of arrays.
    """
    import jax

    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {f"{prefix}/{jax.tree_util.keystr(path)}": leaf for path, leaf in leaves}


def unflatten(prefix: str, template: Tree, arrays: Mapping[str, Any]) -> Tree:
    """The inverse of `flatten`, given the structure.

    Args:
        prefix: as given to `flatten`.
        template: a pytree of the same structure, whose leaves have a shape and a dtype.
        arrays: arrays by name.

    Raises:
        CheckpointError: an array is missing or has another shape: it belongs to another network.
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


class DamagedError(Exception):
    """A checkpoint that does not verify, and why."""


def load_step(directory: Path | str, step: int) -> Checkpoint:
    """Reads one checkpoint and verifies it.

    Raises:
        DamagedError: it does not verify; says why.
        CheckpointError: it was written by a newer lstmjax.
    """
    path = (Path(directory) / str(step)).resolve()
    try:
        with _orbax() as ocp:
            whole = np.asarray(ocp.load_checkpointables(path)[_NAME]["contents"]).tobytes()
    # Whatever a damaged file makes Orbax, TensorStore or the JSON parser raise, the answer is the same: try an older.
    except Exception as error:
        raise DamagedError(f"cannot be read ({type(error).__name__})") from error
    digest, length = whole[:_DIGEST_BYTES], int.from_bytes(whole[_DIGEST_BYTES:_HEAD_BYTES], "little")
    text, contents = whole[_HEAD_BYTES : _HEAD_BYTES + length], whole[_HEAD_BYTES + length :]
    if hashlib.sha256(text).digest() != digest:
        raise DamagedError("has a description that was changed")
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
        # A copy, as an array over bytes cannot be written to.
        arrays[name] = np.frombuffer(part, entry["dtype"]).reshape(entry["shape"]).copy()
    return Checkpoint(
        description["step"], arrays, description["metadata"], description["loss"], description["format_version"]
    )


def _pack(step: int, arrays: Mapping[str, Any], metadata: Mapping[str, Any], loss: float | None) -> np.ndarray:
    """The digest of the description, its length in 8 bytes, the description, and all arrays, as one array of bytes."""
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
    description = {
        "format_version": FORMAT_VERSION,
        "step": step,
        "loss": loss,
        "metadata": dict(metadata),
        "arrays": entries,
    }
    text = json.dumps(description, sort_keys=True).encode()
    head = hashlib.sha256(text).digest() + len(text).to_bytes(8, "little")
    return np.frombuffer(b"".join([head, text, *parts]), np.uint8)


def _check_room(directory: Path, size: int) -> None:
    """Raises the error of a disk that has no room, before TensorStore meets it and prints tracebacks of its threads."""
    if not hasattr(os, "posix_fallocate"):
        return
    with tempfile.TemporaryFile(dir=directory) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # not every file system can tell
                raise


def _plain_files(ocp: Any) -> Any:
    """One file for the array, as it is: quickest for noise, and readable by anything that reads Zarr."""
    from orbax.checkpoint.experimental.v1 import options

    saving = options.ArrayOptions.Saving(use_ocdbt=False, use_compression=False, array_metadata_store=None)
    return ocp.Context(array_options=options.ArrayOptions(saving=saving))


def _reason(error: Exception) -> str:
    """What went wrong, in the system's words where TensorStore hides them in a paragraph."""
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
