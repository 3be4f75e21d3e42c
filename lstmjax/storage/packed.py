"""Reads the checkpoints of formats 1 and 2, in which all arrays are packed into one array of bytes.

It holds the SHA-256 of the description, the description's length in 8 bytes, the description and the arrays, one after
the other. Orbax's item ``checkpoint`` has it under the name ``contents``.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

ITEM = "checkpoint"

_DIGEST_BYTES = hashlib.sha256().digest_size
_HEAD_BYTES = _DIGEST_BYTES + 8

_KEY = re.compile(r"""/?(?:\.([A-Za-z_]\w*)|\[(\d+)\]|\['([^']*)'\]|\["([^"]*)"\])""")
"""A key in the name of an array, such as that of ``state/.opt_state[0].mu['kernel']``."""


class DamagedError(Exception):
    """A checkpoint does not verify; the message says why."""


def unpack(item: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Unpacks a checkpoint of format 1 or 2.

    Args:
        item: what Orbax loads.

    Returns:
        Its description, and its arrays as a tree, both with the names of today.

    Raises:
        DamagedError: the description does not verify. That of each array is in the description.
    """
    whole = np.asarray(item["contents"]).tobytes()
    length = int.from_bytes(whole[_DIGEST_BYTES:_HEAD_BYTES], "little")
    text, contents = whole[_HEAD_BYTES : _HEAD_BYTES + length], whole[_HEAD_BYTES + length :]
    if hashlib.sha256(text).digest() != whole[:_DIGEST_BYTES]:
        raise DamagedError("has a damaged description")
    description = json.loads(text)
    entries, arrays = {}, {}
    for old, entry in description["arrays"].items():
        part = contents[entry["offset"] : entry["offset"] + entry["bytes"]]
        name = _KEY.sub(lambda key: "/" + next(group for group in key.groups() if group is not None), old)
        entries[name] = {key: entry[key] for key in ("shape", "dtype", "sha256")}
        arrays[name] = np.frombuffer(part, entry["dtype"]).reshape(entry["shape"])
    return description | {"arrays": entries}, arrays
