"""The study: every trial of a sweep in Optuna's storage, the worker that trains it, and its outcome.

Trials are claimed by blocks. The first trial of a block, its leader, waits until a worker claims it by Optuna's
compare-and-set, which one of several workers wins. The winner makes the block's other trials and the next leader, draws
the parameters, and raises a count of heartbeats on the leader; the others can claim the next block meanwhile. A block
whose owner is dead waits again before it is claimed. Trials are made empty, and their parameters are drawn afterwards:
so a trial has the parameters of its number, however many workers make trials at once.

Outcomes are recorded even if another worker owns the block by then, if they are of this study and of the parameters in
it.
"""

import dataclasses
import functools
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.trial import FrozenTrial, TrialState, create_trial

from lstmjax.errors import ConfigError
from lstmjax.sweep.population.trial import Outcome, Trial
from lstmjax.sweep.space.space import Space
from lstmjax.sweep.study.blocks import BEATS, OWNER, PARAMS, SIZE, Block, Plan, blocks, heartbeat_of
from lstmjax.sweep.study.distributions import distributions, stored_value
from lstmjax.sweep.study.heartbeat import host
from lstmjax.sweep.study.quiet_optuna import quiet_optuna
from lstmjax.sweep.study.storage import Storage

DESCRIPTION = "lstmjax"
"""Name of the study's attribute that says what it searches, and how."""

_SETTLING = 1.0  # seconds in which another worker may take the same dead worker's block, or make the next leader
_MANY = 100  # running trials

IsDead = Callable[[str, Any], bool]
"""Whether the worker with some name and heartbeat (its block's first trial, and a count) is dead."""


class Study:
    """A sweep's trials.

    Args:
        storage: where they are kept.
        name: name of the study, among others in the same storage.
        description: what is searched, and how: a study is only continued with an equal description.
        space: the searched options.

    Raises:
        ConfigError: the storage holds a study of that name with another description.
    """

    def __init__(self, storage: Storage, name: str, description: Mapping[str, Any], space: Space) -> None:
        self.storage, self.name = storage, name
        self._distributions = distributions(space)
        self._first_beats: dict[str, Any] = {}  # the first counts seen of workers on other hosts
        self._trial_id = functools.cache(
            lambda number: storage.get_trial_id_from_study_id_trial_number(self._id, number)
        )
        self._ahead: Block | None = None  # the one after the block that was claimed last
        self._next_look = 0.0
        self._last_seen: tuple[int, bool] | None = None
        where: Any = {"study_name": name, "storage": storage}
        with quiet_optuna():
            try:
                self.optuna, self._is_new = optuna.create_study(**where), True
                self.optuna.set_user_attr(DESCRIPTION, dict(description))
            except DuplicatedStudyError:
                self.optuna, self._is_new = optuna.load_study(**where), False
            self._id = storage.get_study_id_from_name(name)
            self._description = self._check(description)

    def trials(self) -> list[FrozenTrial]:
        """All trials whose parameters are drawn, in the order of their numbers."""
        return [trial for trial in self.optuna.get_trials(deepcopy=False) if PARAMS in trial.system_attrs]

    def finished(self, total: int) -> bool:
        """Whether there are at least ``total`` trials, and all are finished."""
        trials = self.trials()
        return len(trials) >= total and all(trial.state.is_finished() for trial in trials)

    def claim(self, worker: str, is_dead: IsDead, plan: Plan) -> Block | None:
        """Takes a block that no living worker owns: a released one, a dead worker's, or a new one.

        Args:
            worker: name of the worker that takes it.
            is_dead: tells whether the owner of a block is dead.
            plan: how many trials the study gets, and how they are drawn.

        Returns:
            The block, now the worker's; None if living workers own all that is left.

        Raises:
            ConfigError: a worker on another host uses the study, and the storage does not serve several hosts.
        """
        ahead = self._ahead if time.monotonic() < self._next_look else None
        if ahead is not None and (leader := self._take(ahead, self._trial(ahead.first), worker, is_dead)):
            return self._draw(ahead, leader, ahead.first + 1, plan)
        end = time.monotonic() + 2 * _SETTLING
        while True:
            trials, block = self._look(), Block(-1, 0, 0)
            if self._may_be_used_elsewhere(trials, is_dead):
                return None
            for block in blocks(trials, plan):
                if leader := self._take(block, trials[block.first], worker, is_dead):
                    return self._draw(block, leader, len(trials), plan)
            if block.end >= plan.total or time.monotonic() > end:
                return None
            if self._next_leader_is_late(trials, block):
                self._add_trial(block.number + 1)
            time.sleep(random.uniform(0, 0.03))

    def beat(self, block: Block, worker: str, beats: int) -> bool:
        """Shows that a worker is alive.

        Args:
            block: the block that it trains.
            worker: its name.
            beats: a count that it raises with every heartbeat.

        Returns:
            False if the block has another owner now, or is finished.
        """
        owns = self._owns(block, worker)
        if owns:
            self._set(block.first, BEATS, beats)
        return owns

    def release(self, block: Block, worker: str) -> None:
        """Gives a block back unfinished, if the worker still owns it."""
        if self._owns(block, worker):
            self._set(block.first, OWNER, None)
            for number in reversed(range(block.first, block.end)):
                self._set_state(number, TrialState.WAITING)

    def finish(self, block: Block, outcomes: Sequence[Outcome]) -> bool:
        """Records the outcomes of a block, also if the worker lost it meanwhile.

        Args:
            block: the block.
            outcomes: one for each of its trials.

        Returns:
            False if the trials are not those of the study (anymore); then nothing is recorded.
        """
        if sorted(outcome.number for outcome in outcomes) != [trial.number for trial in block.trials]:
            raise ValueError("outcomes must hold one outcome for each trial of the block")
        trials = self.optuna.get_trials(deepcopy=False)[block.first : block.end]
        same = [json.dumps(mine.params) for mine in block.trials] == [t.system_attrs.get(PARAMS) for t in trials]
        if not same or self.optuna.user_attrs.get(DESCRIPTION) != self._description:
            return False
        # The leader last: while it is not finished, the next owner knows that outcomes may be missing.
        for outcome in sorted(outcomes, key=lambda outcome: outcome.number, reverse=True):
            self._record(trials[outcome.number - block.first], outcome)
        return True

    def _check(self, description: Mapping[str, Any]) -> dict[str, Any]:
        """The study's description, which must be equal to this one."""
        end = time.monotonic() + _SETTLING
        while (stored := self.optuna.user_attrs.get(DESCRIPTION)) is None and not self.optuna.trials:
            if time.monotonic() > end:  # who made the study did not live to describe it
                self.optuna.set_user_attr(DESCRIPTION, dict(description))
            time.sleep(0.02)
        where = f"{self.storage.name} holds a study {self.name!r}"
        if stored is None:
            raise ConfigError(f"{where} that is not of lstmjax: name another --storage or --run-dir")
        ours = json.loads(json.dumps(description))
        elsewhere = "or name another --run-dir (and --study, if there is a --storage)"
        if ours.keys() != stored.keys():  # each version compares in its own way
            raise ConfigError(f"{where} that another version of lstmjax began: continue with that version, {elsewhere}")
        for part in sorted(ours):
            if ours[part] != stored[part]:
                kind = "other" if part.endswith("s") else "another"  # options, folds
                raise ConfigError(f"{where} of {kind} {part}: continue it with the command that began it, {elsewhere}")
        return stored

    def _may_be_used_elsewhere(self, trials: Sequence[FrozenTrial], is_dead: IsDead) -> bool:
        """Whether a worker on another host may use a study that hosts cannot share."""
        if self.storage.shared_by_hosts:
            return False
        for leader in trials:
            owner, beats = leader.system_attrs.get(OWNER), heartbeat_of(leader)
            if owner is None or leader.state.is_finished() or owner.split("_")[0] == host():
                continue
            if beats != self._first_beats.setdefault(owner, beats):
                raise ConfigError(
                    f"{self.storage.name} is in use on the host {owner.split('_')[0]}, and SQLite cannot be shared by "
                    "several hosts: use a server, such as --storage postgresql://user@host/name, a journal on a shared "
                    "file system (--storage journal:PATH), or a proxy (lstmjax sweep-proxy)"
                )
            if not is_dead(owner, beats):
                return True
        return False

    def _next_leader_is_late(self, trials: Sequence[FrozenTrial], last: Block) -> bool:
        """Whether a worker other than the last block's owner may make the next leader.

        The owner makes it in a moment, unless it has fewer trials planned, which is known after a minute. Where there
        is no owner, as in a study that is given more trials, one of several workers does, after a random time.
        """
        owned = last.number >= 0 and not trials[last.first].state.is_finished()
        if self._last_seen != (len(trials), owned):
            self._last_seen = (len(trials), owned)
            self._late = time.monotonic() + random.uniform(1, 2) * (30 if owned else 0.8) * _SETTLING
        return (self._is_new and not trials) or time.monotonic() > self._late

    def _take(self, block: Block, leader: FrozenTrial, worker: str, is_dead: IsDead) -> FrozenTrial | None:
        """Claims a block, unless it is finished or another worker owns it; its leader if it was claimed."""
        owner = leader.system_attrs.get(OWNER)
        if leader.state.is_finished():
            return None
        dead = leader.state == TrialState.RUNNING
        if dead:
            # Who has just claimed it has left no name.
            if owner != worker and not is_dead(owner or f"owner of block {block.number}", heartbeat_of(leader)):
                return None
            leader = self._trial(block.first)
            if leader.state != TrialState.RUNNING or leader.system_attrs.get(OWNER) != owner:
                return None  # another worker was faster
            self._set_state(block.first, TrialState.WAITING)
        if not self._set_state(block.first, TrialState.RUNNING):
            return None
        self._set(block.first, OWNER, worker)
        if dead:  # another worker may have found it dead at the same moment: the last name counts
            time.sleep(_SETTLING)
        return leader if not dead or self._owns(block, worker) else None

    def _look(self) -> list[FrozenTrial]:
        """All trials. Where this takes long, because very many are running, it is not to be done for each claim."""
        began = time.monotonic()
        trials = self.optuna.get_trials(deepcopy=False)
        if sum(not trial.state.is_finished() for trial in trials) > _MANY:
            self._next_look = time.monotonic() + 20 * (time.monotonic() - began)
        return trials

    def _draw(self, block: Block, leader: FrozenTrial, count: int, plan: Plan) -> Block:
        """The block with its trials; those that are missing are made, and the next leader too."""
        follows = block.end < plan.total
        self._ahead = block.following(plan) if follows else None
        for number in range(count, block.end + follows):
            self._add_trial(block.number + (number >= block.end))
        if block.size < plan.size:
            self._set(block.first, SIZE, block.size)
        drawn: list[Trial] = []
        for trial in [leader] if block.size == 1 else self.optuna.get_trials(deepcopy=False)[block.first : block.end]:
            known = trial.system_attrs.get(PARAMS)
            params = plan.suggest(self.optuna, trial.number, drawn) if known is None else json.loads(known)
            drawn.append(Trial(trial.number, params))
            if trial.state.is_finished():
                continue
            if trial.user_attrs.get("block") != block.number:  # several workers made trials at once
                self.storage.set_trial_user_attr(self._trial_id(trial.number), "block", block.number)
            if known is None:
                self._set(trial.number, PARAMS, json.dumps(params))
            for name in (params.keys() & self._distributions.keys()) - trial.params.keys():
                values = self._distributions[name]
                internal = values.to_internal_repr(stored_value(params[name]))
                self.storage.set_trial_param(self._trial_id(trial.number), name, internal, values)
            if trial.state == TrialState.WAITING and trial.number != block.first:
                self._set_state(trial.number, TrialState.RUNNING)
        return dataclasses.replace(block, trials=tuple(drawn))

    def _record(self, trial: FrozenTrial, outcome: Outcome) -> None:
        number = self._trial_id(trial.number)
        for step, value in outcome.intermediate.items():
            if trial.intermediate_values.get(step) != value:
                self.storage.set_trial_intermediate_value(number, step, value)
        for name in ("value_std", "steps", "seconds", "reason"):
            if (known := getattr(outcome, name)) is not None:
                self.storage.set_trial_user_attr(number, name, known)
        self._set_state(trial.number, TrialState[outcome.state], None if outcome.value is None else [outcome.value])

    def _add_trial(self, block: int) -> None:
        self.optuna.add_trial(create_trial(state=TrialState.WAITING, user_attrs={"block": block}))

    def _trial(self, number: int) -> FrozenTrial:
        return self.storage.get_trial(self._trial_id(number))

    def _owns(self, block: Block, worker: str) -> bool:
        leader = self._trial(block.first)
        return leader.system_attrs.get(OWNER) == worker and not leader.state.is_finished()

    def _set(self, number: int, name: str, value: Any) -> None:
        self.storage.set_trial_system_attr(self._trial_id(number), name, value)

    def _set_state(self, number: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        return self.storage.set_trial_state_values(self._trial_id(number), state, values)
