"""Checkpoints: named arrays and their description on disk, written by Orbax and verified when loaded.

A checkpoint is a flat dict from names to arrays and a JSON object. On disk it is an ordinary Orbax checkpoint: the
names, divided at each ``/``, are a tree of dicts that `orbax.checkpoint` alone reads, and the JSON object is in its
custom metadata, with the SHA-256 of every array. Nothing is pickled: to load a checkpoint from somebody else executes
no code.

Orbax does not notice every flipped bit, and where it does, threads of TensorStore print tracebacks: so the SHA-256 of
every file is in one more file, ``SHA256SUMS``, and `load` checks it before Orbax reads the others (so does
``sha256sum --check``). A checkpoint gets the name of its step once it is whole: a process that is killed while saving
leaves no half checkpoint.

Where several processes train one model, each has all of it: all of them call `save`, as Orbax requires, and the first
one alone writes. Each loads by itself; but all must load equally often, as Orbax numbers loads and saves together, and
a save waits until all have come to its number.
"""

import contextlib
import dataclasses
import errno
import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lstmjax.errors import CheckpointError, PeerError
from lstmjax.storage import packed
from lstmjax.storage.named_arrays import as_tree, by_name
from lstmjax.storage.orbax_settings import by_itself, orbax, reason, uncompressed
from lstmjax.storage.packed import DamagedError

FORMAT_VERSION = 3
"""Version of the stored form. A newer version is refused.

1: batches came in the order of a table, and a plateau's factor lowered the learning rate under every schedule. Its
   weights still forecast; training cannot continue from its states.
2: batches come in a computed order, and there is a plateau under the plateau schedule only.
3: an ordinary Orbax checkpoint of named arrays; before, all arrays were packed into one: see `lstmjax.storage.packed`.
"""

_TREE = "state"
"""Orbax's own name for the tree of a checkpoint."""

_SUMS = "SHA256SUMS"
"""The digest of every other file of a checkpoint, one per line, before its path."""

_UNFINISHED = ".orbax-checkpoint-tmp"
"""Part of the names of folders that are not finished, ours and Orbax's."""


class CheckpointWarning(UserWarning):
    """A checkpoint was skipped because it did not verify, or could not be written."""


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
        PeerError: so it is in the first process.
    """
    from lstmjax import parallel

    first = parallel.is_first_process()
    host = {name: np.asarray(array) for name, array in arrays.items()}
    description = {
        "format_version": FORMAT_VERSION,
        "step": step,
        "loss": loss,
        "metadata": dict(metadata),
        "arrays": {name: _describe(array) for name, array in host.items()},
    }
    path = Path(directory).resolve() / str(step)
    unfinished = path.with_name(f"{step}{_UNFINISHED}-new")
    try:
        with parallel.together():
            if first:
                path.parent.mkdir(parents=True, exist_ok=True)
                _check_room(path.parent, sum(array.nbytes for array in host.values()))
        with orbax() as ocp, uncompressed(ocp):
            ocp.save_checkpointables(unfinished, {_TREE: as_tree(host)}, overwrite=True, custom_metadata=description)
        if first:
            files = sorted(file for file in unfinished.rglob("*") if file.is_file())
            lines = (f"{_sha256(file)}  {file.relative_to(unfinished)}\n" for file in files)
            (unfinished / _SUMS).write_text("".join(lines))
            remove(directory, step)
            unfinished.rename(path)
    except PeerError:
        raise
    # A full disk is an OSError in one library and a ValueError in another.
    except Exception as error:
        if first:
            remove_unfinished(directory)
        raise CheckpointError(f"{path}: cannot save the checkpoint ({reason(error)})") from None
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


def load_step(directory: Path | str, step: int) -> Checkpoint:
    """Reads one checkpoint and verifies it.

    Raises:
        DamagedError: it does not verify.
        CheckpointError: it was written by a newer lstmjax.
    """
    path = (Path(directory) / str(step)).resolve()
    try:
        _check_files(path)
        with orbax() as ocp, by_itself(ocp):
            items = ocp.load_checkpointables(path)
            if packed.ITEM in items:
                description, arrays = packed.unpack(items[packed.ITEM])
            else:
                description = ocp.checkpointables_metadata(path).custom_metadata
                arrays = by_name(items[_TREE])
    except DamagedError:
        raise
    # A damaged file makes Orbax, TensorStore and the JSON parser raise various errors; for each an older one is tried.
    except Exception as error:
        raise DamagedError(f"cannot be read ({type(error).__name__})") from error
    _require_known(path, description)
    entries = description["arrays"]
    return Checkpoint(**description | {"arrays": {name: _verified(name, entries[name], arrays) for name in entries}})


def loss_of(directory: Path | str, step: int) -> float | None:
    """The loss of a checkpoint, whose files are verified and whose arrays are not loaded.

    Raises:
        DamagedError: it does not verify.
        CheckpointError: it was written by a newer lstmjax.
    """
    path = (Path(directory) / str(step)).resolve()
    if not (path / _SUMS).exists():
        return load_step(directory, step).loss
    try:
        _check_files(path)
        with orbax() as ocp:
            description = ocp.checkpointables_metadata(path).custom_metadata
        _require_known(path, description)
        return description["loss"]
    except (CheckpointError, DamagedError):
        raise
    except Exception as error:
        raise DamagedError(f"cannot be read ({type(error).__name__})") from error


def _require_known(path: Path, description: Mapping[str, Any]) -> None:
    if description["format_version"] > FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: the checkpoint has format {description['format_version']}, this lstmjax reads up to "
            f"{FORMAT_VERSION}: update lstmjax"
        )


def _describe(array: np.ndarray) -> dict[str, Any]:
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
    }


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _check_files(path: Path) -> None:
    """Verifies the files of a checkpoint; those of earlier formats have no digests.

    Raises:
        DamagedError: names one that is missing or not what was saved.
    """
    sums = path / _SUMS
    for line in sums.read_text().splitlines() if sums.exists() else ():
        digest, name = line.split("  ", 1)
        if _sha256(path / name) != digest:
            raise DamagedError(f"has a damaged file {name}")


def _verified(name: str, entry: Mapping[str, Any], arrays: Mapping[str, Any]) -> np.ndarray:
    """Returns a copy of an array, as what is loaded may be read-only.

    Raises:
        DamagedError: it is not there, or not the one that was saved.
    """
    array = np.array(arrays[name]) if name in arrays else np.zeros(entry["shape"], entry["dtype"])
    if _describe(array) != entry:
        raise DamagedError(f"has a damaged array {name}")
    return array


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
