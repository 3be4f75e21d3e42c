"""Named arrays and their description on disk: Orbax behind a thin adapter that verifies what it loads.

A checkpoint is a flat dict from names to arrays and a JSON object. Orbax writes it to a temporary folder and renames
that once it is whole, so a process that dies while saving leaves no half a checkpoint under a step's name. Orbax
itself does not notice a flipped bit in an array file: every array is therefore stored with its SHA-256, which `load`
checks. Nothing is pickled: loading a stranger's checkpoint executes nothing.
"""

import hashlib
import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from lstmjax.errors import CheckpointError

FORMAT_VERSION = 1
"""Version of the stored form. A newer one is refused, never guessed at."""

Tree = TypeVar("Tree")


class CheckpointWarning(UserWarning):
    """A checkpoint was passed over because it did not verify."""


class Checkpoint(NamedTuple):
    """What one step left on disk."""

    step: int
    """Updates done when it was saved."""
    arrays: dict[str, np.ndarray]
    """Arrays by name."""
    metadata: dict[str, Any]
    """The JSON object saved beside them."""


def save(directory: Path | str, step: int, arrays: Mapping[str, Any], metadata: Mapping[str, Any]) -> Path:
    """Writes one checkpoint, whole or not at all.

    Args:
        directory: folder of checkpoints; made if it is not there. An earlier checkpoint of the same step is replaced.
        step: number of updates done.
        arrays: arrays by name, of any shape, on the host or on a device.
        metadata: anything JSON can hold.

    Returns:
        The folder written.

    Raises:
        CheckpointError: the folder cannot be written; says why.
    """
    host = {name: np.asarray(array) for name, array in arrays.items()}
    # Orbax refuses arrays without elements; their shape and type in the description are all there is to them.
    contents = {name: array for name, array in host.items() if array.size}
    description = {
        "format_version": FORMAT_VERSION,
        "step": step,
        "metadata": dict(metadata),
        "arrays": {
            name: {"shape": list(array.shape), "dtype": str(array.dtype), "sha256": _digest(array)}
            for name, array in host.items()
        },
    }
    text = json.dumps(description, sort_keys=True)
    path = Path(directory).resolve() / str(step)
    ocp = _orbax()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        ocp.save_checkpointables(
            path,
            {"arrays": contents, "description": {"text": text, "sha256": _text_digest(text)}},
            overwrite=True,
        )
    except OSError as error:
        raise CheckpointError(f"{path}: cannot save the checkpoint ({error.strerror or error})") from None
    return path


def load(directory: Path | str) -> Checkpoint:
    """Reads the newest checkpoint that verifies.

    Args:
        directory: folder of checkpoints.

    Returns:
        The newest checkpoint whose every array has the digest it was saved with. Newer ones that do not are passed
        over with a `CheckpointWarning` that names both.

    Raises:
        CheckpointError: there is no checkpoint, or none verifies, or the newest was written by a newer lstmjax.
    """
    found = steps(directory)
    if not found:
        raise CheckpointError(f"{directory}: no checkpoint found: train first, or name another run directory")
    faults = []
    for step in reversed(found):
        try:
            checkpoint = _load_step(Path(directory) / str(step))
        except _DamagedError as fault:
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


def flatten(prefix: str, tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a pytree by name, e.g. ``"params/['lstm']['kernel']"``.

    Args:
        prefix: what every name begins with.
        tree: a pytree of arrays.
    """
    import jax

    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {f"{prefix}/{jax.tree_util.keystr(path)}": np.asarray(leaf) for path, leaf in leaves}


def unflatten(prefix: str, template: Tree, arrays: Mapping[str, np.ndarray]) -> Tree:
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
        array = arrays[name]
        if array.shape != leaf.shape:
            raise CheckpointError(
                f"the checkpoint's {name} has shape {array.shape}, the network's has {leaf.shape}: another network"
            )
        return array.astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(restore, template)


class _DamagedError(Exception):
    """A checkpoint that does not verify, and why."""


def _load_step(path: Path) -> Checkpoint:
    ocp = _orbax()
    try:
        stored = ocp.load_checkpointables(path.resolve())
        text, digest = stored["description"]["text"], stored["description"]["sha256"]
        contents = stored["arrays"]
    # Whatever a damaged file makes Orbax, TensorStore or the JSON parser raise, the answer is the same: try an older.
    except Exception as error:
        raise _DamagedError(f"cannot be read ({type(error).__name__})") from error
    if _text_digest(text) != digest:
        raise _DamagedError("has a description that was changed")
    description = json.loads(text)
    if description["format_version"] > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: the checkpoint has format {description['format_version']}, this lstmjax reads up to "
            f"{FORMAT_VERSION}: update lstmjax"
        )
    arrays = {}
    for name, entry in description["arrays"].items():
        empty = np.zeros(entry["shape"], entry["dtype"])
        array = np.asarray(contents.get(name, empty))
        if array.shape != empty.shape or array.dtype != empty.dtype or _digest(array) != entry["sha256"]:
            raise _DamagedError(f"has a damaged array {name}")
        arrays[name] = array
    return Checkpoint(description["step"], arrays, description["metadata"])


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _orbax() -> Any:
    """Orbax's v1 interface, imported on first use: it takes half a second."""
    import orbax.checkpoint.experimental.v1 as ocp

    # It warns of its own inner workings at every save; what a user must know is raised or warned of here.
    logging.getLogger("absl").setLevel(logging.ERROR)
    return ocp
