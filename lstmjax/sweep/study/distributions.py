"""The searched options as Optuna stores them: its distributions, and lists as JSON text."""

import json
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lstmjax.sweep.space.distribution import LOGARITHMIC, WHOLE, Distribution
from lstmjax.sweep.space.space import Space


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Optuna's distributions of the searched options, by dotted name."""
    return {name: _in_optuna(values) for name, values in space.parameters if values.searched}


def stored_value(value: Any) -> Any:
    """A value as Optuna stores it: a list as JSON text."""
    return json.dumps(value) if isinstance(value, (list, tuple)) else value


def original_value(values: Distribution, stored: Any) -> Any:
    """The value of a distribution that `stored_value` turned into ``stored``."""
    return next((choice for choice in values.values if stored_value(choice) == stored), stored)


def _in_optuna(values: Distribution) -> BaseDistribution:
    if values.kind == "choice":
        return CategoricalDistribution([stored_value(value) for value in values.values])
    made: Any = IntDistribution if values.kind in WHOLE else FloatDistribution
    return made(values.low, values.high, log=values.kind in LOGARITHMIC)
