"""The columns of intervals and quantiles: which are asked for, their names, and the probability of each."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, Self

import numpy as np
from jaxtyping import Float

from lstmjax.config import check_intervals, check_quantiles
from lstmjax.errors import ConfigError


@dataclass(frozen=True)
class Asked:
    """The intervals and quantiles that are asked for besides a point forecast; false where there are none.

    An interval of level 80 reaches from the quantile of probability 0.1 to that of 0.9.

    Args:
        level: levels of intervals, in percent, in any order.
        quantiles: probabilities of quantiles, ascending.

    Raises:
        ConfigError: names the option, what was found and what is expected.

    >>> list(Asked(level=(80, 95), quantiles=(0.1, 0.5)).columns("lstm"))
    ['lstm-lo-95', 'lstm-lo-80', 'lstm-hi-80', 'lstm-hi-95', 'lstm_ql0.1', 'lstm_ql0.5']
    """

    level: tuple[float, ...] = ()
    quantiles: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        level, quantiles = tuple(map(float, self.level)), tuple(map(float, self.quantiles))
        check_intervals(level, "outputs.level")
        check_quantiles(quantiles, "outputs.quantiles")
        object.__setattr__(self, "level", level)
        object.__setattr__(self, "quantiles", quantiles)

    @classmethod
    def of(cls, level: Any = None, quantiles: Any = None) -> Self:
        """What a user asks for: lists of numbers, or None for nothing.

        >>> Asked.of([80, 95]).level
        (80.0, 95.0)
        """
        return cls(_numbers(level, "level"), _numbers(quantiles, "quantiles"))

    def __bool__(self) -> bool:
        return bool(self.level or self.quantiles)

    @property
    def intervals(self) -> dict[float, tuple[float, float]]:
        """The probabilities of the two ends of each interval by its level, the narrowest first.

        >>> Asked(level=(95, 80)).intervals
        {80.0: (0.1, 0.9), 95.0: (0.025, 0.975)}
        """
        return {level: (_probability(100 - level), _probability(100 + level)) for level in sorted(self.level)}

    @property
    def probabilities(self) -> tuple[float, ...]:
        """The distinct probabilities that the columns need, ascending.

        >>> Asked(level=(80,), quantiles=(0.1, 0.5)).probabilities
        (0.1, 0.5, 0.9)
        """
        return tuple(sorted({*(end for ends in self.intervals.values() for end in ends), *self.quantiles}))

    @property
    def bands(self) -> dict[float, tuple[float, float]]:
        """The intervals that pictures show, the widest first: of the levels, and of quantiles that lie opposite.

        >>> Asked(level=(80,), quantiles=(0.05, 0.5, 0.95)).bands
        {90.0: (0.05, 0.95), 80.0: (0.1, 0.9)}
        """
        known = self.probabilities
        opposite = {low: round(1 - low, 12) for low in known if low < 0.5}
        return {round(100 * (high - low), 8): (low, high) for low, high in opposite.items() if high in known}

    @property
    def scored(self) -> tuple[float, ...]:
        """The probabilities over which CRPS, WQL and SQL are means: the quantiles, or the ends where there are none."""
        return self.quantiles or self.probabilities

    def columns(self, model: str) -> dict[str, float]:
        """The probability of each column of a model, in the order in which tables have them.

        Args:
            model: name of the model's column.
        """
        ends = list(self.intervals.items())
        lower = {lower_name(model, level): low for level, (low, _) in reversed(ends)}
        upper = {upper_name(model, level): high for level, (_, high) in ends}
        return lower | upper | {quantile_name(model, one): one for one in self.quantiles}

    def values(self, model: str, quantiles: Float[np.ndarray, "*shape K"]) -> dict[str, Float[np.ndarray, "*shape"]]:
        """The values of each column of a model.

        Args:
            model: name of the model's column.
            quantiles: forecasts of the quantiles of `probabilities`, in their order, along the last axis.
        """
        at = {probability: number for number, probability in enumerate(self.probabilities)}
        return {name: quantiles[..., at[probability]] for name, probability in self.columns(model).items()}


NOTHING = Asked()
"""No intervals and no quantiles."""


def level_name(name: str, level: float) -> str:
    """The name of a metric of the intervals of one level, e.g. ``coverage-80``."""
    return f"{name}-{_name(level)}"


def lower_name(model: str, level: float) -> str:
    """The column of the lower end of an interval, e.g. ``lstm-lo-80``."""
    return f"{model}-lo-{_name(level)}"


def upper_name(model: str, level: float) -> str:
    """The column of the upper end of an interval, e.g. ``lstm-hi-80``."""
    return f"{model}-hi-{_name(level)}"


def quantile_name(model: str, probability: float) -> str:
    """The column of a quantile, e.g. ``lstm_ql0.1``."""
    return f"{model}_ql{_name(probability)}"


def asked_of(columns: Iterable[Any], model: str) -> Asked:
    """What was asked for, read from the columns of a table; a lower end without its upper end does not count.

    Args:
        columns: the names of the table's columns.
        model: name of the model's column.

    >>> asked_of(["ds", "lstm", "lstm-lo-80", "lstm-hi-80", "naive-lo-90", "lstm_ql0.5"], "lstm")
    Asked(level=(80.0,), quantiles=(0.5,))
    """
    names = {column for column in columns if isinstance(column, str)}
    levels = [level for level in _read(names, f"{model}-lo-") if upper_name(model, level) in names and 0 < level < 100]
    return Asked(tuple(sorted(levels)), tuple(sorted(one for one in _read(names, f"{model}_ql") if 0 < one < 1)))


def columns_of(columns: Iterable[Any], model: str) -> Mapping[str, float]:
    """The probability of each column of a model, read from the names of a table's columns; see `Asked.columns`.

    >>> columns_of(["ds", "lstm", "lstm-lo-80", "lstm-hi-80"], "lstm")
    {'lstm-lo-80': 0.1, 'lstm-hi-80': 0.9}
    """
    return asked_of(columns, model).columns(model)


def _read(names: Iterable[str], prefix: str) -> list[float]:
    """The numbers after a prefix, of names that are written as `_name` writes them."""
    rests = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    return [float(rest) for rest in rests if re.fullmatch(r"[0-9][0-9.e-]*", rest) and _is_number(rest)]


def _is_number(text: str) -> bool:
    try:
        return _name(float(text)) == text
    except ValueError:
        return False


def _numbers(given: Any, option: str) -> tuple[float, ...]:
    """A list of numbers as a tuple of floats; None is an empty one."""
    if given is None:
        return ()
    if isinstance(given, (str, Real)) or not isinstance(given, Iterable):
        raise ConfigError(f"outputs.{option} is {given!r}: expected a list of numbers")
    for one in (numbers := list(given)):
        if not isinstance(one, Real) or isinstance(one, bool):
            raise ConfigError(f"outputs.{option} has {one!r}: expected numbers")
    return tuple(map(float, numbers))


def _name(number: float) -> str:
    return f"{number:.10g}"


def _probability(percent: float) -> float:
    """Half of some percent as a probability, without the rounding that would tell 0.1 from 0.09999999999999998."""
    return round(percent / 200, 12)
