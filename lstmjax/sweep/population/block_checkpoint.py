"""Checkpoints of a block, so that a block that was interrupted resumes where it was."""

from pathlib import Path
from typing import Any

import numpy as np

from lstmjax.errors import CheckpointError
from lstmjax.storage import checkpoint
from lstmjax.storage.named_arrays import flatten, unflatten
from lstmjax.sweep.population.ranking import Ranking

_KEPT = 2  # checkpoints, in case the newest is damaged


class BlockCheckpoints:
    """The checkpoints of one block.

    Args:
        directory: their folder, made with the first checkpoint.
        description: all that the block's outcomes depend on: what tells it from other blocks.
        ranking: the block's trials and populations, not begun; restored if there is a checkpoint.

    Raises:
        CheckpointError: the folder holds another block's checkpoints, or none of them verifies.
    """

    def __init__(self, directory: Path, description: str, ranking: Ranking) -> None:
        self.directory, self.block, self.ranking = directory, description, ranking
        checkpoint.remove_unfinished(directory)
        if checkpoint.steps(directory):
            self._restore()

    def save(self) -> None:
        """Writes the state of every member, and which trials left; nothing where no member is begun."""
        arrays: dict[str, Any] = {}
        for number, population in enumerate(self.ranking.populations):
            if population.state is not None:
                arrays |= flatten(f"group{number}/state", population.state)
                arrays[f"group{number}/seconds"] = population.seconds
        if not arrays:
            return
        checks = [[list(member.values()) for member in population.checks] for population in self.ranking.populations]
        metadata = {"block": self.block, "checks": checks, "left": self.ranking.left, "rung": self.ranking.rung}
        earlier = checkpoint.steps(self.directory)
        checkpoint.save(self.directory, earlier[-1] + 1 if earlier else 1, arrays, metadata)
        for number in earlier[: 1 - _KEPT]:
            checkpoint.remove(self.directory, number)

    def _restore(self) -> None:
        stored = checkpoint.load(self.directory)
        if stored.metadata["block"] != self.block:
            raise CheckpointError(
                f"{self.directory} holds the checkpoints of other trials, or of other data: name another directory"
            )
        self.ranking.rung = stored.metadata["rung"]
        self.ranking.left = {int(trial): why for trial, why in stored.metadata["left"].items()}
        for number, population in enumerate(self.ranking.populations):
            found = stored.metadata["checks"][number]
            population.checks = [{line["step"]: line for line in member} for member in found]
            if f"group{number}/seconds" in stored.arrays:
                population.state = unflatten(f"group{number}/state", population.template(), stored.arrays)
                population.seconds = np.array(stored.arrays[f"group{number}/seconds"])  # stored ones cannot be written
