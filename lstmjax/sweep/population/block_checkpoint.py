"""Checkpoints of a block, so that a block that was interrupted resumes where it was."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lstmjax.errors import CheckpointError
from lstmjax.forecaster.checkpoints import check_resumable
from lstmjax.storage import checkpoint
from lstmjax.storage.named_arrays import flatten, unflatten
from lstmjax.sweep.population.population import Population

_KEPT = 2  # checkpoints, in case the newest is damaged


class BlockCheckpoints:
    """The checkpoints of one block.

    Args:
        directory: their folder, made with the first checkpoint.
        description: all that the block's outcomes depend on, as JSON can hold it: what tells it from other blocks.
        populations: the block's populations, not begun; restored if there is a checkpoint.

    Attributes:
        decisions: those of the newest checkpoint; empty if there is none.

    Raises:
        CheckpointError: the folder holds another block's checkpoints, or none of them verifies.
    """

    def __init__(self, directory: Path, description: Mapping[str, Any], populations: Sequence[Population]) -> None:
        self.directory, self.populations = directory, populations
        self.block = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
        self.decisions: dict[str, Any] = {}
        checkpoint.remove_unfinished(directory)
        if checkpoint.steps(directory):
            self._restore()

    def save(self, decisions: Mapping[str, Any]) -> None:
        """Writes the state of every member.

        Args:
            decisions: what was pruned, as JSON can hold it.
        """
        arrays: dict[str, Any] = {}
        for number, population in enumerate(self.populations):
            if population.state is not None:
                arrays |= flatten(f"group{number}/state", population.state)
                arrays |= {f"group{number}/kept": population.kept, f"group{number}/seconds": population.seconds}
        checks = [[list(member.values()) for member in population.checks] for population in self.populations]
        metadata = {"block": self.block, "checks": checks, "decisions": dict(decisions)}
        earlier = checkpoint.steps(self.directory)
        checkpoint.save(self.directory, earlier[-1] + 1 if earlier else 1, arrays, metadata)
        for number in earlier[: 1 - _KEPT]:
            checkpoint.remove(self.directory, number)

    def _restore(self) -> None:
        stored = checkpoint.load(self.directory)
        check_resumable(stored, self.directory)
        if stored.metadata["block"] != self.block:
            raise CheckpointError(
                f"{self.directory} holds the checkpoints of other trials, or of other data: name another directory"
            )
        self.decisions = stored.metadata["decisions"]
        for number, population in enumerate(self.populations):
            found = stored.metadata["checks"][number]
            population.checks = [{line["step"]: line for line in member} for member in found]
            if f"group{number}/kept" in stored.arrays:
                population.state = unflatten(f"group{number}/state", population.template(), stored.arrays)
                # Copies, as stored arrays cannot be written.
                population.kept = np.array(stored.arrays[f"group{number}/kept"])
                population.seconds = np.array(stored.arrays[f"group{number}/seconds"])
