"""A block's population on disk, so that a block that was cut off goes on where it was."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lstmjax.errors import CheckpointError
from lstmjax.forecaster.checkpoint import check_resumable
from lstmjax.storage import checkpoint
from lstmjax.sweep.population.group import Group

_KEPT = 2  # checkpoints, should the newest turn out to be damaged


def identity(description: Mapping[str, Any]) -> str:
    """What tells a block from every other.

    Args:
        description: all that its outcomes depend on; anything JSON can hold.
    """
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


class SavedBlock:
    """The checkpoints of one block.

    Args:
        directory: where they are; made when the first is written.
        block: its `identity`.
        groups: its groups, not begun.

    Raises:
        CheckpointError: another block's are there, or none of them verifies.
    """

    def __init__(self, directory: Path, block: str, groups: Sequence[Group]) -> None:
        self.directory, self.block, self.groups = directory, block, groups
        checkpoint.remove_unfinished(directory)
        self.decisions: dict[str, Any] = {}
        if checkpoint.steps(directory):
            self._restore()

    def save(self, decisions: Mapping[str, Any]) -> None:
        """Writes where every member is.

        Args:
            decisions: what else the block has to know to go on; JSON-able.
        """
        arrays: dict[str, Any] = {}
        for number, group in enumerate(self.groups):
            if group.state is not None:
                arrays |= checkpoint.flatten(f"group{number}/state", group.state)
                arrays |= {f"group{number}/kept": group.kept, f"group{number}/seconds": group.seconds}
        history = [[list(member.items()) for member in group.history] for group in self.groups]
        metadata = {"block": self.block, "history": history, "decisions": dict(decisions)}
        earlier = checkpoint.steps(self.directory)
        checkpoint.save(self.directory, earlier[-1] + 1 if earlier else 1, arrays, metadata)
        for number in earlier[: 1 - _KEPT]:
            checkpoint.remove(self.directory, number)

    def _restore(self) -> None:
        stored = checkpoint.load(self.directory)
        check_resumable(stored, self.directory)
        if stored.metadata["block"] != self.block:
            raise CheckpointError(
                f"{self.directory} holds the population of other trials, or of other data: name another directory"
            )
        self.decisions = stored.metadata["decisions"]
        for number, group in enumerate(self.groups):
            group.history = [dict(member) for member in stored.metadata["history"][number]]
            if f"group{number}/kept" in stored.arrays:
                group.state = checkpoint.unflatten(f"group{number}/state", group.template(), stored.arrays)
                group.kept, group.seconds = (np.array(stored.arrays[f"group{number}/{a}"]) for a in ("kept", "seconds"))
