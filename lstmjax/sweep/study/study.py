"""The study: every trial of a sweep, who is at work on which, and what came of them, in Optuna's storage.

Trials are made, claimed and finished a block at a time, under the storage's lock. A block's trials are made with all
their parameters, in the order of their numbers; the first of them, the leader, carries the name of the block's owner
and the owner's pulse. Whoever owns a block when it is finished records its outcomes, once; an owner that was taken for
dead and comes back finds another name there, and what it did is dropped.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from lstmjax.errors import ConfigError
from lstmjax.sweep.population.trial import Outcome, Trial
from lstmjax.sweep.study.heartbeat import host
from lstmjax.sweep.study.storage import Storage

DESCRIPTION = "lstmjax"
"""Name of the study's attribute that says what it searches, and how."""

# Attributes of trials that only this file reads.
_BLOCK, _PARAMS, _OWNER, _PULSE = "lstmjax:block", "lstmjax:params", "lstmjax:owner", "lstmjax:pulse"

Ask = Callable[[optuna.Study, int, Sequence[Trial]], dict[str, Any]]
"""The parameters of a new trial, given the study, the trial's number and the trials of its block before it."""

Dead = Callable[[str, int], bool]
"""Whether the worker of some name and pulse is dead."""


class Block(NamedTuple):
    """Trials that are trained together."""

    number: int
    """Number of the block, from 0."""
    first: int
    """Number of its first trial."""
    size: int
    """How many trials it has."""
    trials: tuple[Trial, ...] = ()
    """The trials, in the order of their numbers."""


class Study:
    """A sweep's trials.

    Args:
        storage: where they are kept.
        name: of the study, among others in the same storage.
        description: what is searched, and how: a study is only ever gone on with as it was begun.
        distributions: what Optuna is told of each searched option.
        encode: a trial's parameters as Optuna's distributions have them.
        coordinated: whether this process alone uses the storage, on behalf of workers on any host.

    Raises:
        ConfigError: the storage holds a study of that name with another description.
    """

    def __init__(
        self,
        storage: Storage,
        name: str,
        description: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        encode: Callable[[Mapping[str, Any]], dict[str, Any]] = dict,
        *,
        coordinated: bool = False,
    ) -> None:
        self.storage = storage
        self._for_all_hosts = coordinated or storage.shared_by_hosts
        self.name = name
        self._distributions, self._encode = distributions, encode
        self._foreign: dict[str, int] = {}  # the first pulses seen of workers on other hosts
        with storage.exclusive():
            self.optuna = optuna.create_study(
                storage=storage.rdb, study_name=name, direction="minimize", load_if_exists=True
            )
            self._check(description)

    def trials(self) -> list[FrozenTrial]:
        """All trials that were begun, in the order of their numbers."""
        return self.optuna.get_trials(deepcopy=False)

    def finished(self, total: int) -> bool:
        """Whether there are so many trials, and all of them are finished."""
        trials = self.trials()
        return len(trials) >= total and all(trial.state.is_finished() for trial in trials)

    def claim(self, worker: str, dead: Dead, ask: Ask, *, total: int, size: int) -> Block | None:
        """Takes a block that nobody is at work on: a released one, a dead worker's, or a new one.

        Args:
            worker: who takes it.
            dead: tells whether the owner of a block is dead.
            ask: draws the parameters of new trials.
            total: how many trials the study gets.
            size: trials in a new block, at most.

        Returns:
            The block, now the worker's; None if others are at work on all there is.

        Raises:
            ConfigError: another host is at work on the study, and its storage is not for several hosts.
        """
        with self.storage.exclusive():
            trials = self.trials()
            if self._elsewhere(trials, dead):
                return None
            blocks: dict[Block, list[FrozenTrial]] = {}
            for trial in trials:
                blocks.setdefault(_block(trial), []).append(trial)
            for block, begun in blocks.items():
                whole = len(begun) == block.size
                if whole and all(trial.state.is_finished() for trial in begun):
                    continue
                owner = begun[0].system_attrs.get(_OWNER)
                if owner in (None, worker) or dead(owner, begun[0].system_attrs.get(_PULSE, 0)):
                    self._set(begun[0], _OWNER, worker)
                    return self._complete(block, begun, worker, ask)
            first = sum(block.size for block in blocks)
            if first >= total:
                return None
            return self._complete(Block(len(blocks), first, min(size, total - first)), [], worker, ask)

    def beat(self, block: Block, worker: str, pulse: int) -> bool:
        """Shows that a worker is alive.

        Args:
            block: what it is at work on.
            worker: its name.
            pulse: a number that it raises with every beat.

        Returns:
            False if the block is another's by now.
        """
        rdb = self.storage.rdb
        leader = rdb.get_trial(self._id(block.first))
        if leader.system_attrs.get(_OWNER) != worker or leader.state.is_finished():
            return False
        rdb.set_trial_system_attr(leader._trial_id, _PULSE, pulse)
        return True

    def release(self, block: Block, worker: str) -> None:
        """Gives a block back unfinished."""
        with self.storage.exclusive():
            leader = self.storage.rdb.get_trial(self._id(block.first))
            if leader.system_attrs.get(_OWNER) == worker:
                self._set(leader, _OWNER, None)

    def finish(self, block: Block, worker: str, outcomes: Sequence[Outcome]) -> bool:
        """Records what came of a block.

        Args:
            block: which.
            worker: who trained it.
            outcomes: one for each of its trials.

        Returns:
            False if the block is another's by now; then nothing is recorded.
        """
        if sorted(outcome.number for outcome in outcomes) != [trial.number for trial in block.trials]:
            raise ValueError("outcomes must hold one outcome for each trial of the block")
        with self.storage.exclusive():
            rdb = self.storage.rdb
            trials = {outcome.number: rdb.get_trial(self._id(outcome.number)) for outcome in outcomes}
            if trials[block.first].system_attrs.get(_OWNER) != worker:
                return False
            # The leader last: as long as it runs, whoever takes the block over knows that some may be missing.
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
        ours = json.loads(json.dumps(description))
        if ours.keys() != theirs.keys():  # each version has its own, as they are compared in its own way
            raise ConfigError(
                f"{where} that another version of lstmjax began: go on with that version, or name another --run-dir "
                "(and --study, if there is a --storage)"
            )
        for part in sorted(ours):
            if ours[part] != theirs[part]:
                raise ConfigError(
                    f"{where} of another {part}: go on with the command it was begun with, or name another "
                    "--run-dir (and --study, if there is a --storage)"
                )

    def _elsewhere(self, trials: Sequence[FrozenTrial], dead: Dead) -> bool:
        """Whether a worker of another host may be at work on a study that hosts cannot share."""
        if self._for_all_hosts:
            return False
        may_be = False
        for leader in trials:
            owner, pulse = leader.system_attrs.get(_OWNER), leader.system_attrs.get(_PULSE, 0)
            if owner is None or leader.state.is_finished() or owner.split("_")[0] == host():
                continue
            known = self._foreign.setdefault(owner, pulse)
            if pulse != known:
                raise ConfigError(
                    f"{self.storage.name} is in use on the host {owner.split('_')[0]}, and SQLite cannot be shared by "
                    "several hosts: use a server, such as --storage postgresql://user@host/name, or one coordinator "
                    "(scripts/launch_sweep.py --coordinate)"
                )
            may_be = may_be or not dead(owner, pulse)
        return may_be

    def _complete(self, block: Block, begun: Sequence[FrozenTrial], worker: str, ask: Ask) -> Block:
        """The block with its trials; those not made yet are."""
        trials = [Trial(trial.number, params_of(trial)) for trial in begun]
        for number in range(block.first + len(trials), block.first + block.size):
            params = ask(self.optuna, number, trials)
            self._add(block, number, params, worker if not trials else None)
            trials.append(Trial(number, params))
        return block._replace(trials=tuple(trials))

    def _add(self, block: Block, number: int, params: Mapping[str, Any], owner: str | None) -> None:
        searched = self._encode({name: value for name, value in params.items() if name in self._distributions})
        attributes: dict[str, Any] = {_BLOCK: [block.number, block.first, block.size], _PARAMS: json.dumps(params)}
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=searched,
            distributions={name: self._distributions[name] for name in searched},
            user_attrs={"block": block.number},
            system_attrs=attributes | ({} if owner is None else {_OWNER: owner, _PULSE: 0}),
        )
        self.optuna.add_trial(template)
        assert self._id(number) >= 0  # it has the number it was drawn for: the lock is held

    def _record(self, trial: FrozenTrial, outcome: Outcome) -> None:
        rdb, trial_id = self.storage.rdb, trial._trial_id
        for step, value in outcome.intermediate.items():
            if trial.intermediate_values.get(step) != value:
                rdb.set_trial_intermediate_value(trial_id, step, value)
        for name in ("value_std", "steps", "seconds", "reason"):
            rdb.set_trial_user_attr(trial_id, name, getattr(outcome, name))
        values = None if outcome.value is None else [outcome.value]
        rdb.set_trial_state_values(trial_id, TrialState[outcome.state], values)

    def _set(self, trial: FrozenTrial, name: str, value: Any) -> None:
        self.storage.rdb.set_trial_system_attr(trial._trial_id, name, value)

    def _id(self, number: int) -> int:
        return self.storage.rdb.get_trial_id_from_study_id_trial_number(self.optuna._study_id, number)


def _block(trial: FrozenTrial) -> Block:
    return Block(*trial.system_attrs[_BLOCK])


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """A trial's parameters by dotted name, as the engine takes them: fixed ones included, lists as lists."""
    return json.loads(trial.system_attrs[_PARAMS])
