"""The ranking of a block's trials: which are running, pruned or failed, what each is worth, and its outcome."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

import numpy as np

from lstmjax.sweep.population.halving import Halving
from lstmjax.sweep.population.population import Population
from lstmjax.sweep.population.trial import Outcome, Trial


@dataclasses.dataclass
class Ranking:
    """The trials of a block, by number.

    Attributes:
        trials: all of them.
        populations: those that hold their members.
        refused: why, for each trial that cannot be trained.
        halving: how they are pruned; None: not at all.
        left: why, for each trial that left at a rung: it was pruned, or had failed.
        rung: the step of the last rung that is finished.
    """

    trials: Sequence[Trial]
    populations: Sequence[Population]
    refused: dict[int, str]
    halving: Halving | None
    left: dict[int, str] = dataclasses.field(default_factory=dict)
    rung: int = 0

    def __post_init__(self) -> None:
        self.members: dict[int, list[tuple[Population, int]]] = {trial.number: [] for trial in self.trials}
        for population in self.populations:
            for row, member in enumerate(population.members):
                self.members[member.trial].append((population, row))

    def brackets(self, max_steps: int, every: int) -> list[tuple[tuple[int, ...], list[int]]]:
        """The steps of the rungs of each bracket, and its trials; arguments as in `Halving.brackets`."""
        if self.halving is None:
            return []
        count = len(self.trials)
        brackets = self.halving.brackets(count, max_steps, every)
        # In random order, as neighbours are alike in a grid; the same order each time.
        order = np.random.default_rng(count).permutation(count) if len(brackets) > 1 else np.arange(count)
        parts = np.split(order, np.cumsum([trials for trials, _ in brackets])[:-1])
        numbers = [[self.trials[place].number for place in part] for part in parts]
        return [(steps, part) for (_, steps), part in zip(brackets, numbers, strict=True)]

    def failure(self, trial: int) -> str | None:
        """Why a trial failed; None if it did not."""
        if trial in self.refused:
            return self.refused[trial]
        for population, row in self.members[trial]:
            failure = population.failure(row)
            if failure is not None:
                name = population.members[row].name
                return failure if len(self.members[trial]) == 1 else f"{name}: {failure}"
        return None

    def running(self) -> set[int]:
        """Trials that are neither pruned nor failed."""
        return {trial for trial in self.members if trial not in self.left and self.failure(trial) is None}

    def kept(self, trial: int) -> list[float]:
        """The objectives of the kept weights of a trial's members; infinite before any check."""
        return [population.kept(row) for population, row in self.members[trial]]

    def values(self) -> dict[int, float]:
        """The values of all trials that have a finite one."""
        known = self.members.keys() - self.refused.keys()
        return {trial: value for trial in known if math.isfinite(value := statistics.fmean(self.kept(trial)))}

    def prune(self, part: Sequence[int], stop: int) -> str:
        """Keeps the best of a bracket's trials at a rung.

        Args:
            part: the bracket's trials.
            stop: the rung's step.

        Returns:
            A line that says what was kept.
        """
        assert self.halving is not None
        entered = [trial for trial in part if trial not in self.left]
        self.left |= {trial: failure for trial in entered if (failure := self.failure(trial)) is not None}
        ranked = sorted(set(entered) - self.left.keys(), key=lambda trial: (statistics.fmean(self.kept(trial)), trial))
        keep = self.halving.survivors(len(entered))
        for rank, trial in enumerate(ranked[keep:], keep + 1):
            self.left[trial] = f"pruned at step {stop}: rank {rank} of {len(entered)}, the best {keep} continue"
        return f"step {stop}: the best {min(keep, len(ranked))} of {len(entered)} trials continue"

    def outcome(self, trial: int) -> Outcome:
        """The outcome of a trial."""
        members, failure = self.members[trial], self.failure(trial)
        if not members:
            return Outcome(trial, "FAIL", None, None, {}, 0, 0.0, failure, None)
        checks = [population.checks[row] for population, row in members]
        common = sorted(set.intersection(*map(set, checks)))
        means = {step: statistics.fmean(lines[step]["objective"] for lines in checks) for step in common}
        kept = self.kept(trial)
        whole = [(population, row) for population, row in members if population.members[row].fold == 0]
        if failure is None and not all(map(math.isfinite, kept)):
            failure = "its objective is not finite: its forecasts are beyond all numbers"
        state = "FAIL" if failure is not None else "PRUNED" if trial in self.left else "COMPLETE"
        return Outcome(
            number=trial,
            state=state,  # type: ignore[arg-type]
            value=None if failure else statistics.fmean(kept),
            value_std=None if failure or len(kept) == 1 else statistics.stdev(kept),
            intermediate={step: mean for step, mean in means.items() if math.isfinite(mean)},
            steps=int(sum(population.steps[row] for population, row in members)),
            seconds=round(float(sum(population.seconds[row] for population, row in members)), 3),
            reason=failure or self.left.get(trial),
            fitted=tuple(p.fitted(row) for p, row in whole) if state == "COMPLETE" else None,
            logs=tuple(p.log(row) for p, row in whole) if state == "COMPLETE" else (),
        )
