"""Trains a block of trials together, prunes them at rungs, and gives the outcome of each."""

import dataclasses
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lstmjax import parallel
from lstmjax.config import RunConfig, TrainConfig
from lstmjax.data.digest import panel_digest
from lstmjax.data.panel import Panel
from lstmjax.errors import Interrupted
from lstmjax.forecaster.resumed_options import without_free
from lstmjax.models.user_network import NetworkMaker, own_name
from lstmjax.sweep.population import slots
from lstmjax.sweep.population.block_checkpoint import BlockCheckpoints
from lstmjax.sweep.population.folds import ONE_FOLD, Folds
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
        metric: what trials are ranked by, lower is better: one of `lstmjax.sweep.population.objective.metric_names`.
        folds: splits that each trial is trained on, see `lstmjax.sweep.population.folds`. Default: one.
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
    asked: dict[str, Any] = {"seeds": seeds, "metric": metric, "folds": folds, "network": network}
    populations, refused = make_populations(base, panel, space, trials, **asked)
    checkpoints = None
    if state_dir is not None:
        description = {
            "base": without_free(base).to_json(),
            "space": space.to_json(),
            "trials": [[trial.number, json.dumps(trial.params)] for trial in trials],
            "halving": None if halving is None else dataclasses.asdict(halving),
            "seeds": seeds,
            "metric": metric,
            "panel": panel_digest(panel),
            **folds.described,
        } | ({} if network is None else {"network": own_name(network)})
        checkpoints = BlockCheckpoints(state_dir, description, populations)
    ranking = Ranking(trials, populations, refused, halving)
    training = _BlockTraining(
        ranking, population, mapping or slots.default_mapping(), checkpoints, base.train, should_stop, on_report
    )
    training.run()
    return [ranking.outcome(position) for position in range(len(trials))]


@dataclasses.dataclass
class _BlockTraining:
    ranking: Ranking
    at_once: int | None
    mapping: parallel.MappingName
    checkpoints: BlockCheckpoints | None
    train: TrainConfig
    should_stop: Callable[[], bool]
    on_report: Callable[[Report], None]

    def __post_init__(self) -> None:
        if self.checkpoints is not None:
            self.ranking.restore(self.checkpoints.decisions)
        self.began = self.last_saved = time.monotonic()
        self.step, self.rate, self.ahead = 0, 0.0, 0

    def run(self) -> None:
        """Trains all trials, from rung to rung."""
        max_steps = self.train.max_steps
        brackets = self.ranking.brackets(max_steps, self.train.val_check_steps)
        done = self.ranking.rungs_done
        for stop in sorted({step for bracket, _ in brackets for step in bracket.steps} | {max_steps}):
            for population in self.ranking.populations:
                self._advance(population, stop)
            for number, (bracket, part) in enumerate(brackets):
                if stop in bracket.steps[:-1] and [number, stop] not in done:
                    done.append([number, stop])
                    self._report(self.ranking.prune(part, stop))
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
            if self.should_stop():
                self._interrupt()
            most = population.slots or slots.most_slots(len(population.members), self.at_once, self.mapping)
            try:
                if population.slots is None:
                    population.slots = slots.slots_in_memory(population, most, self.mapping, self._report)
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
                self._make_room(population, population.slots or most, str(error))

    def _begin(self, population: Population, count: int) -> None:
        """Draws the first weights of all members."""
        everyone = list(range(len(population.members)))
        try:
            for first in range(0, len(everyone), count):
                rows = everyone[first : first + count]
                result = self._call(population, rows, count, until=0, begun=False)
                population.put(rows, result.state, slots.places(len(rows), count))
        except Exception:
            population.state = None  # all members or none
            raise

    def _train(self, population: Population, rows: list[int], stop: int, count: int) -> None:
        rows = rows[:count]
        places = slots.places(len(rows), count)
        before, began = population.steps[rows].copy(), time.monotonic()

        watch = _Watch(self, population, rows, places)
        result = self._call(population, rows, count, until=stop, callbacks=[watch])
        population.put(rows, result.state, places)
        self.ahead = 0
        done = (population.steps[rows] - before).astype(float)
        population.seconds[rows] += (time.monotonic() - began) * done / max(1.0, done.sum())
        for row in rows:
            failure = population.failure(row)
            if failure is not None:
                self._report(f"trial {self.ranking.trials[population.members[row].trial].number}: {failure}")
        if result.interrupted:
            self._interrupt()

    def _call(
        self, population: Population, rows: Sequence[int], count: int, *, begun: bool = True, **options: object
    ) -> TrainResult:
        """Runs the compiled program of a population for some members."""
        config = population.config
        data = population.data(slots.members_in_slots(rows, count))
        train = make_train(population.network, data, config.optimizer, config.train, mapping=self.mapping)
        inputs = slots.training_inputs(population, rows, count, begun=begun)
        return train(**inputs, **options)  # type: ignore[arg-type]

    def note(self, population: Population, rows: list[int], places: Sequence[int], check: Check) -> None:
        """Keeps the values of a validation check, and saves now and then."""
        for row, place in zip(rows, places, strict=True):
            objective = float(check.objective[place])
            if math.isnan(float(check.val_loss[place])) and math.isnan(objective):
                continue  # stopped
            seconds = {"seconds": round(time.monotonic() - self.began, 3)}
            population.checks[row][check.step] = check.metrics(place) | seconds | {"objective": objective}
            if check.best_step[place] == check.step:
                population.kept[row] = math.inf if math.isnan(objective) else objective
        self.step = check.step
        self.rate = check.steps_per_second * int(np.sum(check.active[list(places)]))
        self.ahead = int(np.sum(np.asarray(check.state.step)[list(places)] - population.steps[list(rows)]))
        self._report(None)
        if self.checkpoints is not None and time.monotonic() - self.last_saved >= self.train.save_every_seconds:
            population.put(rows, check.state, places)
            self.ahead = 0
            self._save()

    def _report(self, message: str | None) -> None:
        ranking = self.ranking
        steps = sum(int(population.steps.sum()) for population in ranking.populations) + self.ahead
        seconds = time.monotonic() - self.began
        running = len(ranking.running())
        self.on_report(Report(self.step, ranking.values(), running, steps, seconds, self.rate, message))

    def _make_room(self, population: Population, count: int, error: str) -> None:
        """Halves the slots after an out-of-memory error; where that is impossible, the population's trials fail."""
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
            self.checkpoints.save(self.ranking.decisions())
            self.last_saved = time.monotonic()


@dataclasses.dataclass
class _Watch(Callback):
    """What the training of some members of a block is called with."""

    training: _BlockTraining
    population: Population
    rows: list[int]
    places: Sequence[int]

    def on_check(self, check: Check) -> None:
        self.training.note(self.population, self.rows, self.places, check)

    def should_stop(self) -> bool:
        return self.training.should_stop()
