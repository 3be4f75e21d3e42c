"""Who began a block and did not end it: so that one that kills whoever trains it is not handed on for ever."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from lstmjax.errors import ConfigError
from lstmjax.storage import checkpoint
from lstmjax.storage.files import replace_file
from lstmjax.sweep.study.study import Block

DEATHS = 3
"""Workers that may die over a block, one after the other, without a checkpoint in between."""


@contextlib.contextmanager
def attempt(folder: Path, block: Block, worker: str) -> Iterator[None]:
    """Notes that a worker is at work on a block, until it leaves it in good order, finished or not.

    Args:
        folder: the block's, with its checkpoints in ``state``.
        block: which.
        worker: who begins.

    Raises:
        ConfigError: `DEATHS` workers began it since its last checkpoint, and never left.
    """
    path, saved = folder / "attempts.json", checkpoint.steps(folder / "state")
    earlier = json.loads(path.read_text()) if path.exists() else {}
    workers = earlier["workers"] if earlier.get("saved") == saved else []
    if len(workers) >= DEATHS:
        raise ConfigError(
            f"the last {len(workers)} workers on trials {block.first} to {block.first + block.size - 1} were killed "
            f"before they saved anything, perhaps for want of memory: mend that, remove {path}, and go on"
        )
    replace_file(path, json.dumps({"saved": saved, "workers": [*workers, worker]}) + "\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
