"""A stream on disk: a file in its folder, with what it needs beside the trained forecaster."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lstmjax.data.series_ids import as_ids, as_labels, stored_label
from lstmjax.errors import CheckpointError
from lstmjax.evaluation.adaptive import Adaptive
from lstmjax.evaluation.drift import Alarm
from lstmjax.evaluation.online import Rolling
from lstmjax.forecaster.fitted import Fitted
from lstmjax.forecaster.network import UserNetwork
from lstmjax.forecaster.stream.base import Policies
from lstmjax.forecaster.stream.held_out import HeldOut
from lstmjax.forecaster.stream.scoring import Scoring
from lstmjax.forecaster.stream.state import StreamState
from lstmjax.forecaster.stream.stream import Stream
from lstmjax.storage import state_file

FILE = "stream.npz"
"""The file, in the folder of a state."""

HELD_OUT = "held_out.npz"
"""The errors of held-out rows, beside it."""

_NESTED = {"rolling": Rolling, "alarm": Alarm, "experts": Adaptive}


def save(stream: Stream, directory: Path | str, extra: Mapping[str, Any]) -> None:
    """Writes a stream; see `Stream.save`.

    Args:
        stream: what to write.
        directory: where.
        extra: what else belongs to it, as JSON can hold it.
    """
    arrays = {f"state/{name}": leaf for name, leaf in stream._state._asdict().items() if name != "carry"}
    for number, layer in enumerate(stream._state.carry):
        arrays |= {f"carry/{number}/{part}": leaf for part, leaf in zip("ch", layer, strict=True)}
    scoring = {} if stream._scoring is None else stream._scoring._asdict()
    for name, value in scoring.items():
        parts = value._asdict() if name in _NESTED else {"": value}
        arrays |= {f"scoring/{name}/{part}".rstrip("/"): leaf for part, leaf in parts.items()}
    metadata = {
        "policies": dataclasses.asdict(stream.policies),
        "levels": stream.levels,
        "counts": stream.counts,
        "labels": [stored_label(label) for label in stream._labels],
        "ids": stream._ids,
        "form": dataclasses.asdict(stream._form),
        "categories": stream._reader.categories,
        "held_out": stream._held is not None,
        "forecaster": digest_of(stream._fitted),
        "extra": dict(extra),
    }
    _save_held(stream, Path(directory))
    state_file.save(Path(directory) / FILE, arrays, metadata)


def _save_held(stream: Stream, directory: Path) -> None:
    """Writes the errors of held-out rows, which do not change, once."""
    held = stream._held
    if held is None or directory == stream._held_saved_in:
        return
    arrays = {"signed": held.signed, "series": held.series}
    state_file.save(directory / HELD_OUT, arrays, {"consecutive": held.consecutive})
    stream._held_saved_in = directory


def load(directory: Path | str, fitted: Fitted, network: UserNetwork | None) -> tuple[Stream, dict[str, Any]]:
    """The stream in a folder, and what else was saved with it; see `Stream.load`.

    Raises:
        CheckpointError: there is none, it does not verify, or it is of another forecaster.
    """
    path = Path(directory) / FILE
    arrays, metadata = state_file.load(path)
    if metadata["forecaster"] != digest_of(fitted):
        raise CheckpointError(f"{path} is the state of another forecaster: name another folder, or remove it")

    def group(prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    carry = group("carry/")
    layers = tuple((carry[f"{number}/c"], carry[f"{number}/h"]) for number in range(len(carry) // 2))
    flat = group("scoring/")
    nested: dict[str, Any] = {}
    if flat:
        nested = {name: kind(**group(f"scoring/{name}/")) for name, kind in _NESTED.items()}
    plain: dict[str, Any] = {name: array for name, array in flat.items() if "/" not in name}
    held = None
    if metadata["held_out"]:
        errors, described = state_file.load(path.with_name(HELD_OUT))
        held = HeldOut(errors["signed"], errors["series"], described["consecutive"])
    stream = Stream(
        fitted,
        network,
        Policies(**metadata["policies"]),
        as_ids(metadata["ids"]),
        as_labels(metadata["labels"]),
        dataclasses.replace(fitted.tail.form, **metadata["form"]),
        StreamState(**group("state/"), carry=layers),
        Scoring(**plain, **nested) if plain else None,
        held,
    )
    stream.levels, stream.counts = tuple(metadata["levels"]), metadata["counts"]
    stream._reader.categories, stream._held_saved_in = metadata["categories"], Path(directory)
    return stream, metadata["extra"]


def digest_of(fitted: Fitted) -> str:
    """Tells one trained forecaster from another: the digest of its weights and statistics."""
    digest = hashlib.sha256(json.dumps([fitted.config.data.h, fitted.config.data.input_size]).encode())
    trained = fitted.forecasting
    arrays, _ = trained.scaling.to_arrays()
    for group in (*trained.weights, arrays):
        for name in sorted(group):
            digest.update(name.encode() + np.ascontiguousarray(np.asarray(group[name])).tobytes())
    return digest.hexdigest()
