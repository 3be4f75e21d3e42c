"""Where the trials of a block stand: who is still in, who was pruned or failed, and what came of each."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstmjax.sweep.population.group import Group, Groups
from lstmjax.sweep.population.halving import Bracket, Halving
from lstmjax.sweep.population.trial import Outcome, Trial


@dataclasses.dataclass
class Standing:
    """The trials of a block, by position.

    Attributes:
        trials: all of them.
        groups: where their members are.
        halving: how they are pruned; None: not at all.
        pruned: why, for each trial that was.
        lost: those that had failed by their last rung.
        rungs_done: the rungs that are behind, as pairs of a bracket's number and a step.
    """

    trials: Sequence[Trial]
    groups: Groups
    halving: Halving | None
    pruned: dict[int, str] = dataclasses.field(default_factory=dict)
    lost: set[int] = dataclasses.field(default_factory=set)
    rungs_done: list[list[int]] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.members: list[list[tuple[Group, int]]] = [[] for _ in self.trials]
        for group in self.groups.groups:
            for row, member in enumerate(group.members):
                self.members[member.trial].append((group, row))

    def decisions(self) -> dict[str, Any]:
        """What was decided so far, as JSON can hold it."""
        return {"pruned": self.pruned, "lost": sorted(self.lost), "rungs_done": self.rungs_done}

    def restore(self, decisions: Mapping[str, Any]) -> None:
        """Takes up earlier decisions."""
        self.pruned = {int(trial): why for trial, why in decisions.get("pruned", {}).items()}
        self.lost = set(decisions.get("lost", []))
        self.rungs_done = decisions.get("rungs_done", [])

    def brackets(self, max_steps: int, every: int) -> list[tuple[Bracket, list[int]]]:
        """The brackets and the trials of each."""
        if self.halving is None:
            return []
        count = len(self.trials)
        brackets = self.halving.brackets(count, max_steps, every)
        # Dealt out at random, as neighbours are alike in a grid; each time in the same way.
        order = np.random.default_rng(count).permutation(count) if len(brackets) > 1 else np.arange(count)
        ends = np.cumsum([bracket.trials for bracket in brackets])
        return [(b, order[end - b.trials : end].tolist()) for b, end in zip(brackets, ends, strict=True)]

    def failure(self, trial: int) -> str | None:
        """Why a trial failed, if it did."""
        if trial in self.groups.refused:
            return self.groups.refused[trial]
        for group, row in self.members[trial]:
            failure = group.failure(row)
            if failure is not None:
                seed = group.members[row].config.train.seed
                return failure if len(self.members[trial]) == 1 else f"seed {seed}: {failure}"
        return None

    def going(self) -> list[int]:
        """Trials that are neither pruned nor failed."""
        return [trial for trial in range(len(self.trials)) if trial not in self.pruned and self.failure(trial) is None]

    def value(self, trial: int) -> float:
        """The objective of a trial's kept weights, mean over its members; infinite before any check."""
        return float(np.mean([group.kept[row] for group, row in self.members[trial]]))

    def values(self) -> dict[int, float]:
        """The same of all trials that have one, by their numbers."""
        found = {
            trial.number: self.value(position)
            for position, trial in enumerate(self.trials)
            if position not in self.groups.refused
        }
        return {number: value for number, value in found.items() if math.isfinite(value)}

    def prune(self, part: Sequence[int], stop: int) -> str:
        """Keeps the best of a bracket's trials that came to a rung.

        Args:
            part: the bracket's trials.
            stop: the rung's step.

        Returns:
            A line that tells it.
        """
        assert self.halving is not None
        entered = [trial for trial in part if trial not in self.pruned and trial not in self.lost]
        failed = {trial for trial in entered if self.failure(trial) is not None}
        ranked = sorted(set(entered) - failed, key=lambda trial: (self.value(trial), trial))
        self.lost |= failed
        keep = self.halving.survivors(len(entered))
        for rank, trial in enumerate(ranked[keep:], keep + 1):
            self.pruned[trial] = f"pruned at step {stop}: {rank}. of {len(entered)}, the best {keep} went on"
        return f"step {stop}: the best {min(keep, len(ranked))} of {len(entered)} trials go on"

    def outcome(self, trial: int) -> Outcome:
        """What came of a trial."""
        number = self.trials[trial].number
        members = self.members[trial]
        failure = self.failure(trial)
        if not members:
            return Outcome(number, "FAIL", None, None, {}, 0, 0.0, failure, None)
        histories = [group.history[row] for group, row in members]
        common = [step for step in histories[0] if all(step in history for history in histories)]
        means = {step: statistics.fmean(history[step] for history in histories) for step in sorted(common)}
        told: dict[str, Any] = {
            "intermediate": {step: mean for step, mean in means.items() if math.isfinite(mean)},
            "steps": int(sum(group.steps[row] for group, row in members)),
            "seconds": round(float(sum(group.seconds[row] for group, row in members)), 3),
        }
        kept = [float(group.kept[row]) for group, row in members]
        if failure is None and not all(map(math.isfinite, kept)):
            failure = "its objective is not finite: its forecasts are beyond all numbers"
        if failure is not None:
            return Outcome(number, "FAIL", None, None, **told, reason=failure, fitted=None)
        told |= {"value": statistics.fmean(kept), "value_std": statistics.stdev(kept) if len(kept) > 1 else None}
        if trial in self.pruned:
            return Outcome(number, "PRUNED", **told, reason=self.pruned[trial], fitted=None)
        fitted = tuple(group.fitted(row) for group, row in members)
        return Outcome(number, "COMPLETE", **told, reason=None, fitted=fitted)
