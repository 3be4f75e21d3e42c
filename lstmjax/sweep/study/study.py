"""The study: every trial of a sweep in Optuna's storage, the worker that trains it, and its outcome.

Trials are made, claimed and finished by blocks, under the storage's lock. A block's trials are made with all their
parameters, in the order of their numbers; the first of them, the leader, holds the name of the block's owner and the
owner's count of heartbeats. The worker that owns a block when it is finished records its outcomes, once. If an owner
was taken for dead and comes back, it finds another name there, and its outcomes are dropped.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import optuna
from optuna.trial import FrozenTrial, TrialState

from lstmjax.config import RunConfig
from lstmjax.errors import ConfigError
from lstmjax.sweep.population.trial import Outcome, Trial
from lstmjax.sweep.space.space import Space
from lstmjax.sweep.study.distributions import distributions, stored_value
from lstmjax.sweep.study.heartbeat import host
from lstmjax.sweep.study.quiet_optuna import quiet_optuna
from lstmjax.sweep.study.storage import Storage

DESCRIPTION = "lstmjax"
"""Name of the study's attribute that says what it searches, and how."""

_OPTIONAL = {"network", "folds"}
"""Parts of a description that only some sweeps have."""

# Attributes of trials that only this file reads.
_BLOCK, _PARAMS, _OWNER, _BEATS = "lstmjax:block", "lstmjax:params", "lstmjax:owner", "lstmjax:pulse"

Suggest = Callable[[optuna.Study, int, Sequence[Trial]], dict[str, Any]]
"""The parameters of a new trial, given the study, the trial's number and the trials of its block before it."""

IsDead = Callable[[str, int], bool]
"""Whether the worker with some name and count of heartbeats is dead."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How many trials a study gets, and how their parameters are drawn."""

    total: int
    size: int
    """Trials per block, at most."""
    suggest: Suggest


@dataclasses.dataclass(frozen=True)
class Block:
    """Trials that one worker trains together."""

    number: int
    """Number of the block, from 0."""
    first: int
    """Number of its first trial."""
    size: int
    """How many trials it has."""
    trials: tuple[Trial, ...] = ()
    """The trials, in the order of their numbers."""

    def to_json(self) -> list[Any]:
        """The block as a list for JSON."""
        return [self.number, self.first, self.size, self.trials]

    @classmethod
    def from_json(cls, stored: Sequence[Any]) -> Self:
        """The block that `to_json` gave."""
        number, first, size, trials = stored
        return cls(number, first, size, tuple(Trial(*trial) for trial in trials))


class Study:
    """A sweep's trials.

    Args:
        storage: where they are kept.
        name: name of the study, among others in the same storage.
        description: what is searched, and how: a study is only continued with an equal description.
        space: the searched options.
        coordinated: whether this process alone uses the storage, on behalf of workers on any host.

    Raises:
        ConfigError: the storage holds a study of that name with another description.
    """

    def __init__(
        self, storage: Storage, name: str, description: Mapping[str, Any], space: Space, *, coordinated: bool = False
    ) -> None:
        self.storage, self.name, self.space = storage, name, space
        self._for_all_hosts = coordinated or storage.shared_by_hosts
        self._distributions = distributions(space)
        self._first_beats: dict[str, int] = {}  # the first counts seen of workers on other hosts
        with storage.exclusive(), quiet_optuna():
            self.optuna = optuna.create_study(
                storage=storage.rdb, study_name=name, direction="minimize", load_if_exists=True
            )
            self._check(description)

    def trials(self) -> list[FrozenTrial]:
        """All trials that were begun, in the order of their numbers."""
        return self.optuna.get_trials(deepcopy=False)

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
        with self.storage.exclusive():
            trials = self.trials()
            if self._may_be_used_elsewhere(trials, is_dead):
                return None
            blocks: dict[Block, list[FrozenTrial]] = {}
            for trial in trials:
                blocks.setdefault(Block(*trial.system_attrs[_BLOCK]), []).append(trial)
            for block, begun in blocks.items():
                if len(begun) == block.size and all(trial.state.is_finished() for trial in begun):
                    continue
                owner = begun[0].system_attrs.get(_OWNER)
                if owner in (None, worker) or is_dead(owner, begun[0].system_attrs.get(_BEATS, 0)):
                    self._set(begun[0], _OWNER, worker)
                    return self._complete(block, begun, worker, plan.suggest)
            first = sum(block.size for block in blocks)
            if first >= plan.total:
                return None
            block = Block(len(blocks), first, min(plan.size, plan.total - first))
            return self._complete(block, [], worker, plan.suggest)

    def beat(self, block: Block, worker: str, beats: int) -> bool:
        """Shows that a worker is alive.

        Args:
            block: the block that it trains.
            worker: its name.
            beats: a count that it raises with every heartbeat.

        Returns:
            False if the block has another owner now.
        """
        leader = self._trial(block.first)
        if leader.system_attrs.get(_OWNER) != worker or leader.state.is_finished():
            return False
        self._set(leader, _BEATS, beats)
        return True

    def release(self, block: Block, worker: str) -> None:
        """Gives a block back unfinished, if the worker still owns it."""
        with self.storage.exclusive():
            leader = self._trial(block.first)
            if leader.system_attrs.get(_OWNER) == worker:
                self._set(leader, _OWNER, None)

    def finish(self, block: Block, worker: str, outcomes: Sequence[Outcome]) -> bool:
        """Records the outcomes of a block.

        Args:
            block: the block.
            worker: name of the worker that trained it.
            outcomes: one for each of its trials.

        Returns:
            False if the block has another owner now; then nothing is recorded.
        """
        if sorted(outcome.number for outcome in outcomes) != [trial.number for trial in block.trials]:
            raise ValueError("outcomes must hold one outcome for each trial of the block")
        with self.storage.exclusive():
            trials = {outcome.number: self._trial(outcome.number) for outcome in outcomes}
            if trials[block.first].system_attrs.get(_OWNER) != worker:
                return False
            # The leader last: while it is running, the next owner knows that outcomes may be missing.
            for outcome in sorted(outcomes, key=lambda outcome: outcome.number, reverse=True):
                if not trials[outcome.number].state.is_finished():
                    self._record(trials[outcome.number], outcome)
        return True

    def _check(self, description: Mapping[str, Any]) -> None:
        theirs = self.optuna.user_attrs.get(DESCRIPTION)
        if theirs is None and not self.trials():
            self.optuna.set_user_attr(DESCRIPTION, dict(description))
            return
        where = f"{self.storage.name} holds a study {self.name!r}"
        if theirs is None:
            raise ConfigError(f"{where} that is not of lstmjax: name another --storage or --run-dir")
        ours, theirs = json.loads(json.dumps(description)), dict(theirs)
        if "options" in theirs:  # in the form of this version, if an earlier one wrote them
            theirs["options"] = json.loads(RunConfig.from_json(json.dumps(theirs["options"]), where).to_json())
        elsewhere = "or name another --run-dir (and --study, if there is a --storage)"
        if ours.keys() - _OPTIONAL != theirs.keys() - _OPTIONAL:  # each version compares in its own way
            raise ConfigError(
                f"{where} that another version of lstmjax began: continue it with that version, {elsewhere}"
            )
        for part in sorted(ours | theirs):
            if ours.get(part) != theirs.get(part):
                raise ConfigError(f"{where} of another {part}: continue it with the command that began it, {elsewhere}")

    def _may_be_used_elsewhere(self, trials: Sequence[FrozenTrial], is_dead: IsDead) -> bool:
        """Whether a worker on another host may use a study that hosts cannot share."""
        if self._for_all_hosts:
            return False
        maybe = False
        for leader in trials:
            owner, beats = leader.system_attrs.get(_OWNER), leader.system_attrs.get(_BEATS, 0)
            if owner is None or leader.state.is_finished() or owner.split("_")[0] == host():
                continue
            if beats != self._first_beats.setdefault(owner, beats):
                raise ConfigError(
                    f"{self.storage.name} is in use on the host {owner.split('_')[0]}, and SQLite cannot be shared by "
                    "several hosts: use a server, such as --storage postgresql://user@host/name, or one coordinator "
                    "(scripts/launch_sweep.py --coordinate)"
                )
            maybe = maybe or not is_dead(owner, beats)
        return maybe

    def _complete(self, block: Block, begun: Sequence[FrozenTrial], worker: str, suggest: Suggest) -> Block:
        """The block with its trials; those that are missing are made."""
        trials = [Trial(trial.number, params_of(trial)) for trial in begun]
        for number in range(block.first + len(trials), block.first + block.size):
            params = suggest(self.optuna, number, trials)
            searched = {name: stored_value(value) for name, value in params.items() if name in self._distributions}
            attributes: dict[str, Any] = {_BLOCK: [block.number, block.first, block.size], _PARAMS: json.dumps(params)}
            trial = optuna.trial.create_trial(
                state=TrialState.RUNNING,
                params=searched,
                distributions={name: self._distributions[name] for name in searched},
                user_attrs={"block": block.number},
                system_attrs=attributes | ({_OWNER: worker, _BEATS: 0} if number == block.first else {}),
            )
            self.optuna.add_trial(trial)
            assert self._trial(number)  # it has the number that it was drawn for: the lock is held
            trials.append(Trial(number, params))
        return dataclasses.replace(block, trials=tuple(trials))

    def _record(self, trial: FrozenTrial, outcome: Outcome) -> None:
        rdb, trial_id = self.storage.rdb, trial._trial_id
        for step, value in outcome.intermediate.items():
            if trial.intermediate_values.get(step) != value:
                rdb.set_trial_intermediate_value(trial_id, step, value)
        for name in ("value_std", "steps", "seconds", "reason"):
            rdb.set_trial_user_attr(trial_id, name, getattr(outcome, name))
        values = None if outcome.value is None else [outcome.value]
        rdb.set_trial_state_values(trial_id, TrialState[outcome.state], values)

    def _trial(self, number: int) -> FrozenTrial:
        rdb = self.storage.rdb
        return rdb.get_trial(rdb.get_trial_id_from_study_id_trial_number(self.optuna._study_id, number))

    def _set(self, trial: FrozenTrial, name: str, value: Any) -> None:
        self.storage.rdb.set_trial_system_attr(trial._trial_id, name, value)


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """A trial's parameters by dotted name, as training takes them: fixed ones included, lists as lists."""
    return json.loads(trial.system_attrs[_PARAMS])
