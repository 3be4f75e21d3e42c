"""Trains a block of trials together, prunes them at rungs, and says what came of each."""

import dataclasses
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lstmjax import parallel
from lstmjax.config import RunConfig
from lstmjax.data.panel import Panel
from lstmjax.errors import Interrupted
from lstmjax.forecaster.checkpoint import panel_digest
from lstmjax.sweep.population import lanes as seating
from lstmjax.sweep.population.block_checkpoint import SavedBlock, identity
from lstmjax.sweep.population.group import Group, make_groups
from lstmjax.sweep.population.halving import Halving
from lstmjax.sweep.population.objective import DEFAULT_METRIC
from lstmjax.sweep.population.ranking import Standing
from lstmjax.sweep.population.trial import Outcome, Trial
from lstmjax.sweep.space.space import Space
from lstmjax.training import Check, make_train


class Report(NamedTuple):
    """How a block goes, after each validation check, and whenever there is something to tell."""

    step: int
    """Updates of the members just trained."""
    values: dict[int, float]
    """The objective of the weights kept so far by trial number, mean over members: of all trials that have one, pruned
    ones included."""
    running: int
    """Trials that are still trained, or wait for it."""
    member_steps: int
    """Updates of all members of the block so far."""
    seconds: float
    """Since the block was begun or resumed."""
    member_steps_per_second: float
    """Lately; 0 before it is known."""
    message: str | None
    """Something to tell the user, in one line: a diverged member, a population that does not fit, a rung."""


def train_block(
    base: RunConfig,
    panel: Panel,
    space: Space,
    trials: Sequence[Trial],
    *,
    seeds: int = 1,
    population: int | None = None,
    halving: Halving | None = None,
    metric: str = DEFAULT_METRIC,
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
        space: what is searched; it decides what is traced, and by the longest lookback in it which validation windows
            count.
        trials: with numbers of their own; any number of them.
        seeds: members of each trial, with the seeds ``train.seed``, ``train.seed + 1``, ...
        population: members trained together, at most; fewer where they do not fit the device's memory. Blocks of
            different sizes share compiled programs if this is the same. Default: all members of a group.
        halving: how trials are pruned. Default: none is. Trials of all groups are ranked together.
        metric: what trials are ranked by, lower is better: key of `lstmjax.sweep.population.objective.WEIGHTS`.
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
    groups = make_groups(base, panel, space, trials, seeds=seeds, metric=metric)
    saved = None
    if state_dir is not None:
        description = {
            "base": base.to_json(),
            "space": space.to_json(),
            "trials": [[trial.number, json.dumps(trial.params)] for trial in trials],
            "halving": None if halving is None else dataclasses.asdict(halving),
            "seeds": seeds,
            "metric": metric,
            "panel": panel_digest(panel),
        }
        saved = SavedBlock(state_dir, identity(description), groups.groups)
    standing = Standing(trials, groups, halving)
    block = _Block(
        standing=standing,
        population=population,
        mapping=mapping or seating.default_mapping(),
        saved=saved,
        save_seconds=save_seconds,
        should_stop=should_stop,
        on_report=on_report,
    )
    block.train(base.train.max_steps, base.train.val_check_steps)
    return [standing.outcome(position) for position in range(len(trials))]


@dataclasses.dataclass
class _Block:
    standing: Standing
    population: int | None
    mapping: parallel.MappingName
    saved: SavedBlock | None
    save_seconds: float
    should_stop: Callable[[], bool]
    on_report: Callable[[Report], None]

    def __post_init__(self) -> None:
        if self.saved is not None:
            self.standing.restore(self.saved.decisions)
        self.groups = self.standing.groups
        self.began = self.last_saved = time.monotonic()
        self.at, self.rate, self.ahead = 0, 0.0, 0

    def train(self, max_steps: int, every: int) -> None:
        """Trains all trials, from rung to rung."""
        brackets = self.standing.brackets(max_steps, every)
        done = self.standing.rungs_done
        for stop in sorted({step for bracket, _ in brackets for step in bracket.steps} | {max_steps}):
            for group in self.groups.groups:
                self._advance(group, stop)
            for number, (bracket, part) in enumerate(brackets):
                if stop in bracket.steps[:-1] and [number, stop] not in done:
                    done.append([number, stop])
                    self._say(self.standing.prune(part, stop))
            self._save()

    def _advance(self, group: Group, stop: int) -> None:
        """Trains the members of a group that are still in up to a step."""
        while True:
            rows = [
                row for row in group.rows(self.standing.going()) if group.steps[row] < stop and group.is_active(row)
            ]
            if not rows:
                return
            if self.should_stop():
                self._interrupt()
            try:
                if group.lanes is None:
                    wide = seating.widest(len(group.members), self.population, self.mapping)
                    group.lanes = seating.measured(group, wide, self.mapping, self._say)
                if group.state is None:
                    self._begin(group, group.lanes)
                    continue
                # After a resume members may be at different steps; those furthest behind catch up first.
                behind = min(group.steps[row] for row in rows)
                rows = [row for row in rows if group.steps[row] == behind]
                self._train(group, rows, stop, seating.compacted(group.lanes, len(rows), self.mapping))
            except Exception as error:
                if not seating.is_out_of_memory(error):
                    raise
                self._make_room(group, str(error))

    def _begin(self, group: Group, lanes: int) -> None:
        """Draws the first weights of all members."""
        everyone = list(range(len(group.members)))
        try:
            for first in range(0, len(everyone), lanes):
                rows = everyone[first : first + lanes]
                result = self._program(group)(**seating.take_lanes(group, rows, lanes, begun=False), until=0)
                group.put(rows, result.state, seating.places(len(rows), lanes))
        except Exception:
            group.state = None  # not some of them only
            raise

    def _train(self, group: Group, rows: Sequence[int], stop: int, lanes: int) -> None:
        rows = rows[:lanes]
        places = seating.places(len(rows), lanes)
        before, began = group.steps[list(rows)].copy(), time.monotonic()

        def on_check(check: Check) -> None:
            self._note(group, rows, places, check)
            if self.saved is not None and time.monotonic() - self.last_saved > self.save_seconds:
                group.put(rows, check.state, places)
                self.ahead = 0
                self._save()

        result = self._program(group)(
            **seating.take_lanes(group, rows, lanes), until=stop, on_check=on_check, should_stop=self.should_stop
        )
        group.put(rows, result.state, places)
        self.ahead = 0
        done = (group.steps[list(rows)] - before).astype(float)
        group.seconds[list(rows)] += (time.monotonic() - began) * done / max(1.0, done.sum())
        for row in rows:
            failure = group.failure(row)
            if failure is not None:
                self._say(f"trial {self.standing.trials[group.members[row].trial].number}: {failure}")
        if result.interrupted:
            self._interrupt()

    def _program(self, group: Group) -> Callable[..., Any]:
        config = group.config
        return make_train(group.network, group.data, config.optimizer, config.train, mapping=self.mapping)

    def _note(self, group: Group, rows: Sequence[int], places: Sequence[int], check: Check) -> None:
        """Keeps what a check found."""
        steps = np.asarray(check.state.step)
        for row, place in zip(rows, places, strict=True):
            objective = float(check.objective[place])
            if math.isnan(float(check.val_loss[place])) and math.isnan(objective):
                continue  # at rest
            group.history[row][check.step] = objective
            if check.best_step[place] == check.step:
                group.kept[row] = objective if not math.isnan(objective) else math.inf
        self.at = check.step
        self.rate = check.steps_per_second * int(np.sum(check.active[list(places)]))
        self.ahead = int(np.sum(steps[list(places)] - group.steps[list(rows)]))
        self._say(None)

    def _say(self, message: str | None) -> None:
        steps = sum(int(group.steps.sum()) for group in self.groups.groups) + self.ahead
        seconds = time.monotonic() - self.began
        running = len(self.standing.going())
        self.on_report(Report(self.at, self.standing.values(), running, steps, seconds, self.rate, message))

    def _make_room(self, group: Group, why: str) -> None:
        """Half as many lanes after there was too little memory for them; without any left the group has failed."""
        lanes = group.lanes or seating.widest(len(group.members), self.population, self.mapping)
        fewer = seating.halved(lanes, self.mapping)
        if fewer is None:
            reason = f"out of memory even with {lanes} members at a time: {' '.join(why.split())[:200]}"
            self.groups.refused.update({member.trial: reason for member in group.members})
            self._say(reason)
            return
        group.lanes = fewer
        self._say(f"out of memory with {lanes} members at a time: going on with {fewer}")

    def _interrupt(self) -> None:
        self._save()
        raise Interrupted("interrupted, the state is saved")

    def _save(self) -> None:
        if self.saved is not None:
            self.saved.save(self.standing.decisions())
            self.last_saved = time.monotonic()
