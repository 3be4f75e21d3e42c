"""The parameters of the next trial: drawn by number, or asked of Optuna's TPE, which learns from finished trials."""

import functools
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from lstmjax.errors import ConfigError
from lstmjax.sweep.config import SearchName, SweepConfig
from lstmjax.sweep.population.trial import Trial
from lstmjax.sweep.space.distribution import Distribution, Kind
from lstmjax.sweep.space.samplers import draw
from lstmjax.sweep.space.space import Space
from lstmjax.sweep.study.study import Ask

STARTUP = 10
"""Trials that TPE wants finished before it learns from them; until then it draws at random."""

_COUNTABLE = 100_000


def asker(space: Space, sampler: SearchName, seed: int, block: int) -> Ask:
    """What draws the parameters of new trials.

    Args:
        space: what is searched.
        sampler: random, sobol and grid are functions of the seed and the trial's number; tpe is one of these and of the
            trials finished or running by then, the running ones taken for bad so that a block spreads out.
        seed: of the sweep.
        block: trials in a block; what changes the compiled program is drawn once for all of them.
    """
    if sampler == "tpe":
        return functools.partial(_ask_tpe, space, seed, block)
    return lambda study, number, before: draw(space, sampler, seed, number, block=block)


def number_of_trials(settings: SweepConfig, space: Space) -> int:
    """How many trials a sweep gets: as many as it is told, or all points of a grid.

    Raises:
        ConfigError: the grid has more points than there are trials.
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


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The searched options as Optuna has them."""
    return {name: _OPTUNA[values.kind](values) for name, values in space.parameters if values.searched}


def encode(params: Mapping[str, Any]) -> dict[str, Any]:
    """Values as Optuna stores them: lists as JSON text."""
    return {name: _stored(value) for name, value in params.items()}


_OPTUNA: Mapping[Kind, Callable[[Distribution], BaseDistribution]] = {
    "choice": lambda values: CategoricalDistribution([_stored(value) for value in values.values]),
    "uniform": lambda values: FloatDistribution(values.low, values.high),  # type: ignore[arg-type]
    "loguniform": lambda values: FloatDistribution(values.low, values.high, log=True),  # type: ignore[arg-type]
    "int": lambda values: IntDistribution(values.low, values.high),  # type: ignore[arg-type]
    "logint": lambda values: IntDistribution(values.low, values.high, log=True),  # type: ignore[arg-type]
}


def _stored(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, tuple)) else value


def _ask_tpe(
    space: Space, seed: int, block: int, study: optuna.Study, number: int, before: Sequence[Trial]
) -> dict[str, Any]:
    """TPE, one option after the other, each seeded by the trial's number: a restart forgets who was asked before."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    if len(finished) < STARTUP:
        return draw(space, "random", seed, number, block=block)
    told = distributions(space)
    frozen = optuna.trial.create_trial(state=TrialState.RUNNING)
    frozen.number = number
    shared = {name: before[0].params[name] for name in space.shape_names if before and name in before[0].params}
    params: dict[str, Any] = {}
    for name, values in space.parameters:
        if not space.active(name, params):
            continue
        if not values.searched:
            params[name] = values.edges[0]
        elif name in shared:
            params[name] = shared[name]
        else:
            sampler = TPESampler(seed=zlib.crc32(f"{seed} {number} {name}".encode()), n_startup_trials=STARTUP)
            value = sampler.sample_independent(study, frozen, name, told[name])
            params[name] = _chosen(values, value)
    return params


def _chosen(values: Distribution, value: Any) -> Any:
    """The value itself, where Optuna knows its JSON text."""
    return next((choice for choice in values.values if _stored(choice) == value), value)
