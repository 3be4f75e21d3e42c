"""The parameters of the next trial: drawn by number, or by Optuna's TPE, which learns from finished trials."""

import zlib
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from lstmjax.errors import ConfigError
from lstmjax.sweep.config import SearchName, SweepConfig
from lstmjax.sweep.population.trial import Trial
from lstmjax.sweep.space.samplers import draw
from lstmjax.sweep.space.space import Space
from lstmjax.sweep.study.blocks import Suggest
from lstmjax.sweep.study.distributions import distributions, original_value

STARTUP = 10
"""Finished trials that TPE needs before it learns from them; until then it draws at random."""

_COUNTABLE = 100_000


def make_suggest(space: Space, sampler: SearchName, seed: int, block: int) -> Suggest:
    """The function that draws the parameters of new trials.

    Args:
        space: what is searched.
        sampler: random, sobol and grid depend on the seed and the trial's number alone; tpe also on the trials that
            are finished or running by then; it takes the running ones for bad, so that a block spreads out.
        seed: the sweep's seed.
        block: trials per block; options that change the compiled program are drawn once per block.
    """
    if sampler != "tpe":
        return lambda study, number, before: draw(space, sampler, seed, number, block=block)
    in_optuna = distributions(space)

    def suggest(study: optuna.Study, number: int, before: Sequence[Trial]) -> dict[str, Any]:
        """TPE, one option after the other, each seeded by the trial's number: so a restart suggests the same again."""
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        if len(finished) < STARTUP:
            return draw(space, "random", seed, number, block=block)
        frozen = optuna.trial.create_trial(state=TrialState.RUNNING)
        frozen.number = number
        shared = {name: before[0].params[name] for name in space.shape_names if before and name in before[0].params}

        def value(name: str) -> Any:
            if name in shared:
                return shared[name]
            sampler = TPESampler(seed=zlib.crc32(f"{seed} {number} {name}".encode()), n_startup_trials=STARTUP)
            stored = sampler.sample_independent(study, frozen, name, in_optuna[name])
            return original_value(space.distribution(name), stored)

        return space.point(value)

    return suggest


def number_of_trials(settings: SweepConfig, space: Space) -> int:
    """How many trials a sweep gets: ``trials``, or all points of a grid.

    Raises:
        ConfigError: the grid has more points than ``trials``.
    """
    if settings.sampler != "grid":
        return settings.trials
    most = space.grid_size()
    # Conditions may leave fewer; a grid of millions is not laid out to count them.
    points = most if most > _COUNTABLE else len(space.grid())
    if points > settings.trials:
        raise ConfigError(
            f"the grid has {points} points, and sweep.trials is {settings.trials}: raise --trials to {points}, or "
            "search a part of it with --sampler random"
        )
    return points
