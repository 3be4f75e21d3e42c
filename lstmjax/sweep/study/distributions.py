"""The searched options as Optuna stores them: its distributions, and lists as JSON text."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from lstmjax.sweep.space.distribution import Distribution, Kind
from lstmjax.sweep.space.space import Space


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Optuna's distributions of the searched options, by dotted name."""
    return {name: _OPTUNA[values.kind](values) for name, values in space.parameters if values.searched}


def stored_value(value: Any) -> Any:
    """A value as Optuna stores it: a list as JSON text."""
    return json.dumps(value) if isinstance(value, (list, tuple)) else value


def original_value(values: Distribution, stored: Any) -> Any:
    """The value of a distribution that `stored_value` turned into ``stored``."""
    return next((choice for choice in values.values if stored_value(choice) == stored), stored)


_OPTUNA: Mapping[Kind, Callable[[Distribution], BaseDistribution]] = {
    "choice": lambda values: CategoricalDistribution([stored_value(value) for value in values.values]),
    "uniform": lambda values: FloatDistribution(values.low, values.high),  # type: ignore[arg-type]
    "loguniform": lambda values: FloatDistribution(values.low, values.high, log=True),  # type: ignore[arg-type]
    "int": lambda values: IntDistribution(values.low, values.high),  # type: ignore[arg-type]
    "logint": lambda values: IntDistribution(values.low, values.high, log=True),  # type: ignore[arg-type]
}
