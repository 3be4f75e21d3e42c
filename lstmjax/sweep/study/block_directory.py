"""What a block of trials leaves in the sweep's directory: checkpoints, and its best trial's weights."""

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from lstmjax.errors import ConfigError
from lstmjax.forecaster.checkpoints import LOG_FILE
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.storage import checkpoint
from lstmjax.storage.files import replace_file
from lstmjax.sweep.population.trial import Outcome
from lstmjax.sweep.study.blocks import Block

MAX_DEATHS = 3
"""Workers in a row that may die while they train a block, without a checkpoint in between."""


class BlockDirectory:
    """The folder of one block, such as ``blocks/0003``.

    Args:
        sweep: the sweep's directory.
        number: the block's number.

    Attributes:
        path: the folder.
        state: folder of the checkpoints, until the block is recorded: from the last one its outcomes are found again.
        best: folder of the best trial's weights.
    """

    def __init__(self, sweep: Path, number: int) -> None:
        self.path = sweep / "blocks" / f"{number:04d}"
        self.state, self.best = self.path / "state", self.path / "best"

    def weights(self, trial: int) -> Path:
        """Folder of the members of a trial, if it is the block's best."""
        return self.best / f"trial-{trial:04d}"

    def save_best(self, outcomes: Sequence[Outcome]) -> None:
        """Writes the best trial's weights, if any trial is complete.

        Args:
            outcomes: of all trials of the block.
        """
        complete = [outcome for outcome in outcomes if outcome.fitted]
        if complete:
            best = min(complete, key=lambda outcome: (outcome.value, outcome.number))
            for fitted, log in zip(best.fitted or (), best.logs, strict=True):
                folder = self.weights(best.number) / f"seed-{fitted.config.train.seed}"
                Forecaster.of(fitted).save(folder, overwrite=True)
                replace_file(folder / LOG_FILE, "".join(json.dumps(line) + "\n" for line in log))

    @contextlib.contextmanager
    def attempt(self, block: Block, worker: str) -> Iterator[None]:
        """Notes that a worker trains the block, until the worker leaves it, finished or not, and is still alive.

        So a block that kills every worker is not trained again and again.

        Args:
            block: the block.
            worker: name of the worker.

        Raises:
            ConfigError: `MAX_DEATHS` workers died while they trained the block, since its last checkpoint.
        """
        path, saved = self.path / "attempts.json", checkpoint.steps(self.state)
        earlier = json.loads(path.read_text()) if path.exists() else {}
        workers = earlier["workers"] if earlier.get("saved") == saved else []
        if len(workers) >= MAX_DEATHS:
            raise ConfigError(
                f"the last {len(workers)} workers on trials {block.first} to {block.first + block.size - 1} were "
                f"killed before they saved a checkpoint, perhaps out of memory: fix that, remove {path}, and run the "
                "same command again"
            )
        replace_file(path, json.dumps({"saved": saved, "workers": [*workers, worker]}) + "\n")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
