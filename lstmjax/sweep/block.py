"""Trains a block of trials together, prunes them at rungs, and says what came of each."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from lstmjax import parallel
from lstmjax.config import RunConfig
from lstmjax.data.panel import Panel
from lstmjax.sweep.halving import Halving
from lstmjax.sweep.space import Space
from lstmjax.sweep.trial import Outcome, Trial


class Report(NamedTuple):
    """How a block goes, after each validation check."""

    step: int
    """Updates of the members just checked."""
    values: dict[int, float]
    """The objective of the weights kept so far by trial number, mean over members: of all trials that have one, pruned
    ones included."""
    running: int
    """Trials that are still trained."""
    member_steps: int
    """Updates of all members of the block so far."""
    seconds: float
    """Since the block was begun or resumed."""
    member_steps_per_second: float
    """Lately; 0 before it is known."""
    message: str | None
    """Something to tell the user, in one line: a diverged member, a block that had to be halved, a rung."""


class Interrupted(Exception):  # noqa: N818 - no error
    """``should_stop`` said so. With a ``state_dir`` the population is saved there."""


def train_block(
    base: RunConfig,
    panel: Panel,
    space: Space,
    trials: Sequence[Trial],
    *,
    seeds: int = 1,
    population: int | None = None,
    halving: Halving | None = None,
    metric: str = "scaled_mae",
    mapping: parallel.MappingName | None = None,
    state_dir: Path | None = None,
    save_seconds: float = 60.0,
    should_stop: Callable[[], bool] = lambda: False,
    on_report: Callable[[Report], None] = lambda report: None,
) -> list[Outcome]:
    """Trains trials as populations, one for each group that shares a compiled program.

    Args:
        base: all options that trials do not name. ``train.batch_shards`` is taken as 1: devices are for members.
        panel: the data: ``load_source(base.data).panel(base.data)``, after ``with_dataset_settings``.
        space: what is searched; it decides what is traced, and the longest lookback in it which validation windows
            count.
        trials: with numbers of their own; any number of them.
        seeds: members of each trial, with the seeds ``train.seed``, ``train.seed + 1``, ...
        population: members trained together, at most; fewer where they do not fit the device's memory. Default: all
            members of a group.
        halving: how trials are pruned. Default: none is. Trials of all groups are ranked together.
        metric: what trials are ranked by, lower is better: key of `lstmjax.training.objective.METRICS`.
        mapping: see `parallel.over_members`. Default: by platform.
        state_dir: where the population's checkpoints go; what is there of the same block is gone on with. The caller
            removes it once the outcomes are recorded.
        save_seconds: seconds between checkpoints, besides those at rungs.
        should_stop: asked after every chunk of steps.
        on_report: called after every validation check.

    Returns:
        One outcome a trial, in their order.

    Raises:
        Interrupted: `should_stop` said so, after the state was saved.
        ConfigError: the metric is unknown, or there are no validation windows to rank trials by.
        DataError: there is nothing to train on.
        CheckpointError: ``state_dir`` holds another block.
    """
    raise NotImplementedError
