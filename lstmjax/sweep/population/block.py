"""Trains a block of trials together, prunes them at rungs, and gives the outcome of each."""

import dataclasses
import functools
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lstmjax import parallel
from lstmjax.config import RunConfig, TrainConfig
from lstmjax.data.digest import panel_digest
from lstmjax.data.folds import ONE_FOLD, Folds
from lstmjax.data.panel import Panel
from lstmjax.errors import Interrupted
from lstmjax.forecaster.resumed_options import without_free
from lstmjax.models.user_network import NetworkMaker, own_name
from lstmjax.sweep.population import slots
from lstmjax.sweep.population.block_checkpoint import BlockCheckpoints
from lstmjax.sweep.population.halving import Halving
from lstmjax.sweep.population.population import Population, make_populations
from lstmjax.sweep.population.ranking import Ranking
from lstmjax.sweep.population.trial import Outcome, Trial
from lstmjax.sweep.space.space import Space
from lstmjax.training import SCALED_MAE, Callback, Check, TrainResult, make_train


@dataclasses.dataclass(frozen=True)
class Report:
    """The progress of a block, after each validation check, and whenever there is a message."""

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
    """One line for the user: a member diverged, a population does not fit the memory, a rung was reached."""


def train_block(
    base: RunConfig,
    panel: Panel,
    space: Space,
    trials: Sequence[Trial],
    *,
    seeds: int = 1,
    population: int | None = None,
    halving: Halving | None = None,
    metric: str = SCALED_MAE,
    folds: Folds = ONE_FOLD,
    mapping: parallel.MappingName | None = None,
    network: NetworkMaker | None = None,
    state_dir: Path | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_report: Callable[[Report], None] = lambda report: None,
) -> list[Outcome]:
    """Trains trials as populations, one for all trials that share a compiled program.

    Args:
        base: all options that trials do not name. ``train.batch_shards`` is taken as 1: devices are for members. With
            ``train.save_every_seconds`` the state is saved besides at rungs.
        panel: the data: ``load_source(base.data).panel(base.data)``, after ``with_dataset_settings``.
        space: what is searched; it decides what is traced, and by its longest lookback which validation windows count.
        trials: with numbers of their own; any number of them.
        seeds: members of each trial and fold, with the seeds ``train.seed``, ``train.seed + 1``, ...
        population: members trained at once, at most; fewer where they do not fit the device's memory. Blocks of
            different sizes share compiled programs if this is the same. Default: all members of a population.
        halving: how trials are pruned. Default: not at all. Trials of all populations are ranked together.
        metric: what trials are ranked by, lower is better: one of `lstmjax.training.metric_objective.metric_names`.
        folds: splits that each trial is trained on, see `lstmjax.data.folds`. Default: one.
        mapping: see `parallel.over_members`. Default: by platform.
        network: a network of your own instead of that of ``config.model``: a class or function ``(spec: WindowSpec, *,
            rngs: nnx.Rngs)`` that makes an NNX module; called for every member.
        state_dir: folder of the checkpoints; if it holds some of the same block, that is resumed. The caller removes
            the folder after the outcomes are recorded.
        should_stop: called after every chunk of steps.
        on_report: called after every validation check.

    Returns:
        One outcome per trial, in their order.

    Raises:
        Interrupted: `should_stop` returned True; the state is saved.
        ConfigError: the metric is unknown, or there are no validation windows to rank trials by; a fold has nothing to
            train on; or the space has options of ``config.model`` besides a network of your own, on which they have no
            effect.
        DataError: there is no training window.
        CheckpointError: ``state_dir`` holds another block.
    """
    populations, refused = make_populations(
        base, panel, space, trials, seeds=seeds, metric=metric, folds=folds, network=network
    )
    ranking, checkpoints = Ranking(trials, populations, refused, halving), None
    if state_dir is not None:
        described = [without_free(base), space, json.dumps(trials), panel_digest(panel)]
        described += [halving, seeds, metric, folds, None if network is None else own_name(network)]
        checkpoints = BlockCheckpoints(state_dir, repr(described), ranking)
    mapping = mapping or slots.default_mapping()
    _BlockTraining(ranking, population, mapping, checkpoints, base.train, should_stop, on_report).run()
    return [ranking.outcome(trial.number) for trial in trials]


@dataclasses.dataclass
class _BlockTraining(Callback):
    """The training of a block; also what the training of some of its members calls."""

    ranking: Ranking
    at_once: int | None
    mapping: parallel.MappingName
    checkpoints: BlockCheckpoints | None
    train: TrainConfig
    stop: Callable[[], bool]
    on_report: Callable[[Report], None]

    def __post_init__(self) -> None:
        self.began = self.last_saved = time.monotonic()
        self.step, self.rate = 0, 0.0

    def run(self) -> None:
        """Trains all trials, from rung to rung."""
        max_steps = self.train.max_steps
        brackets = self.ranking.brackets(max_steps, self.train.val_check_steps)
        for stop in sorted({step for rungs, _ in brackets for step in rungs} | {max_steps}):
            for population in self.ranking.populations:
                self._advance(population, stop)
            if stop > self.ranking.rung:
                for rungs, part in brackets:
                    if stop in rungs[:-1]:
                        self._report(self.ranking.prune(part, stop))
                self.ranking.rung = stop
            self._save()

    def _advance(self, population: Population, stop: int) -> None:
        """Trains the running members of a population up to a step."""
        while True:
            running = self.ranking.running()
            rows = [
                row
                for row, member in enumerate(population.members)
                if member.trial in running and population.steps[row] < stop and population.is_active(row)
            ]
            if not rows:
                return
            if self.stop():
                self._interrupt()
            try:
                if population.slots is None:
                    population.slots = slots.most_slots(len(population.members), self.at_once, self.mapping)
                    population.slots = slots.slots_in_memory(population, population.slots, self.mapping, self._report)
                if population.state is None:
                    self._begin(population, population.slots)
                    continue
                # After a resume members may be at different steps; those furthest behind catch up first.
                behind = min(population.steps[row] for row in rows)
                rows = [row for row in rows if population.steps[row] == behind]
                self._train(population, rows, stop, slots.slots_for(population.slots, len(rows), self.mapping))
            except Exception as error:
                if not slots.is_out_of_memory(error):
                    raise
                self._make_room(population, str(error))

    def _begin(self, population: Population, count: int) -> None:
        """Draws the first weights of all members."""
        everyone = list(range(len(population.members)))
        parts = [everyone[first : first + count] for first in range(0, len(everyone), count)]
        results = [self._call(population, rows, count, until=0) for rows in parts]  # all members or none
        for rows, result in zip(parts, results, strict=True):
            population.put(rows, result.state, slots.places(len(rows), count))

    def _train(self, population: Population, rows: list[int], stop: int, count: int) -> None:
        rows = rows[:count]
        places = slots.places(len(rows), count)
        before, began = population.steps[rows], time.monotonic()
        self.trained = population, rows, places
        result = self._call(population, rows, count, until=stop, callbacks=[self])
        population.put(rows, result.state, places)
        done = (population.steps[rows] - before).astype(float)
        population.seconds[rows] += (time.monotonic() - began) * done / max(1.0, done.sum())
        for row in rows:
            failure = population.failure(row)
            if failure is not None:
                self._report(f"trial {population.members[row].trial}: {failure}")
        if result.interrupted:
            self._interrupt()

    def _call(
        self, population: Population, rows: list[int], count: int, *, until: int, callbacks: Sequence[Callback] = ()
    ) -> TrainResult:
        """Runs the compiled program of a population for some members, up to a step; 0: draws their first weights."""
        config, in_slots = population.config, slots.members_in_slots(rows, count)
        data = population.data(in_slots)
        train = make_train(population.network, data, config.optimizer, config.train, mapping=self.mapping)
        return train(
            hyperparameters=[population.members[row].numbers for row in in_slots],
            state=functools.partial(population.take, in_slots, slots.places(len(rows), count)) if until else None,
            until=until,
            callbacks=callbacks,
        )

    def on_check(self, check: Check) -> None:
        """Keeps the values of a validation check, and saves now and then."""
        population, rows, places = self.trained
        seconds = round(time.monotonic() - self.began, 3)
        for row, place in zip(rows, places, strict=True):
            objective = float(check.objective[place])
            if not (math.isnan(float(check.val_loss[place])) and math.isnan(objective)):  # it has not stopped
                line = check.metrics(place) | {"seconds": seconds, "objective": objective}
                population.checks[row][check.step] = line
        self.step, self.rate = check.step, check.steps_per_second * int(np.sum(check.active[places]))
        self._report(None)
        if self.checkpoints is not None and time.monotonic() - self.last_saved >= self.train.save_every_seconds:
            population.put(rows, check.state, places)
            self._save()

    def should_stop(self) -> bool:
        """Whether the sweep is to be interrupted."""
        return self.stop()

    def _report(self, message: str | None) -> None:
        ranking, seconds = self.ranking, time.monotonic() - self.began
        running, steps = len(ranking.running()), sum(population.member_steps for population in ranking.populations)
        self.on_report(Report(self.step, ranking.values(), running, steps, seconds, self.rate, message))

    def _make_room(self, population: Population, error: str) -> None:
        """Halves the slots after an out-of-memory error; where that is impossible, the population's trials fail."""
        count = population.slots or 0
        population.slots = slots.halved(count, self.mapping)
        if population.slots is not None:
            self._report(f"out of memory with {count} members at a time: continuing with {population.slots}")
            return
        reason = f"out of memory even with {count} members at a time: {' '.join(error.split())[:200]}"
        self.ranking.refused.update({member.trial: reason for member in population.members})
        self._report(reason)

    def _interrupt(self) -> None:
        self._save()
        raise Interrupted("interrupted, the state is saved")

    def _save(self) -> None:
        if self.checkpoints is not None:
            self.checkpoints.save()
            self.last_saved = time.monotonic()
