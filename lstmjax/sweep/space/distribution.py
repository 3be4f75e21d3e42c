"""The values that one option takes in a search."""

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any, Literal, Self

from lstmjax.config import TYPE_NAMES, check_name, option_names, option_type
from lstmjax.errors import ConfigError

Kind = Literal["choice", "uniform", "loguniform", "int", "logint", "fixed"]

_RANGES = ("uniform", "loguniform", "int", "logint")
KINDS = {"choice": ("values",), **dict.fromkeys(_RANGES, ("low", "high")), "fixed": ("value",)}
"""The keys of each kind of distribution."""

LOGARITHMIC = ("loguniform", "logint")
WHOLE = ("int", "logint")

_OF_TYPE: dict[Any, tuple[str, ...]] = {int: (*WHOLE, "choice"), float: ("uniform", "loguniform", "choice")}
"""The kinds that an option of each type may have besides fixed; those of other types are chosen."""


@dataclasses.dataclass(frozen=True)
class Distribution:
    """The values of one option.

    Attributes:
        kind: choice: one of ``values``, each as likely. uniform, loguniform: a number from ``low`` to ``high``. int,
            logint: a whole number from ``low`` to ``high``, both included. fixed: the one of ``values``.
        low: least value; None for choice and fixed.
        high: greatest value; None for choice and fixed.
        values: of choice and fixed; None is a value too.
        when: the option belongs to a trial only if each of these other options has one of these values.

    >>> Distribution("loguniform", low=1e-4, high=1e-2).at(0.5)
    0.001
    >>> [Distribution("int", low=1, high=3).at(u) for u in (0.0, 0.4, 0.99)]
    [1, 2, 3]
    """

    kind: Kind
    low: float | int | None = None
    high: float | int | None = None
    values: tuple[Any, ...] = ()
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    @classmethod
    def from_value(cls, value: Any, name: str) -> Self:
        """A distribution as it is written in a file: a table with its ``type``, or a fixed value.

        Args:
            value: see `Space.from_dict`; "none" is None where the option may be None, as TOML has no None.
            name: the option's name.

        Raises:
            ConfigError: it is not a distribution, or there is no such option; the message says what is wrong.
        """
        check_name(name, option_names())
        given = dict(value) if isinstance(value, Mapping) else {"value": value}
        when = given.pop("when", {})
        if not isinstance(when, Mapping) or not all(isinstance(parent, str) for parent in when):
            raise ConfigError(f'{name}: when is {when!r}, expected a table such as {{"model.name" = "direct"}}')
        conditions = tuple(
            (parent, tuple(allowed) if isinstance(allowed, (list, tuple)) else (allowed,))
            for parent, allowed in when.items()
        )
        kind = given.pop("type", "fixed" if set(given) == {"value"} else None)
        if kind is None:
            raise ConfigError(
                f'{name}: it has no type: write {{ type = "uniform", low = 0.0, high = 0.5 }} for a range (or one of '
                f'{", ".join(KINDS)}), {{ type = "choice", values = [32, 64] }} for some values'
            )
        if kind not in KINDS:
            raise ConfigError(f"{name}: type is {kind!r}, expected one of {', '.join(KINDS)}")
        for key in given:
            check_name(key, [*KINDS[kind], "when"], name)
        for key in KINDS[kind]:
            if key not in given:
                raise ConfigError(f"{name}: {kind} needs {key}")
        if kind in _RANGES:
            _check_range(kind, given["low"], given["high"], name)
            return cls(kind, given["low"], given["high"], when=conditions)
        values = [given["value"]] if kind == "fixed" else given["values"]
        return cls(kind, values=_choices(values, name), when=conditions)

    def to_value(self) -> dict[str, Any]:
        """The table that `from_value` reads."""
        known = {"low": self.low, "high": self.high, "values": list(self.values), "value": (*self.values, None)[0]}
        table = {"type": self.kind} | {key: known[key] for key in KINDS[self.kind]}
        return table | ({"when": {name: list(allowed) for name, allowed in self.when}} if self.when else {})

    def check_type(self, name: str) -> None:
        """Validates the kind against the declared type of an option.

        Raises:
            ConfigError: the option cannot have such values, e.g. a range for an option that is one of some names.
        """
        hint, _ = option_type(name)
        allowed = _OF_TYPE.get(hint, ("choice",))
        if self.kind not in (*allowed, "fixed"):
            named = f"one of {', '.join(typing.get_args(hint))}" if typing.get_origin(hint) is Literal else "text"
            raise ConfigError(
                f"{name}: {self.kind} does not fit an option that is {TYPE_NAMES.get(hint, named)}: "
                f"use {' or '.join(allowed)}"
            )

    @property
    def points(self) -> tuple[Any, ...] | None:
        """All its values; None if they cannot be counted."""
        if self.low is None or self.high is None:
            return self.values
        return tuple(range(int(self.low), int(self.high) + 1)) if self.kind in WHOLE else None

    @property
    def edges(self) -> tuple[Any, ...]:
        """Its least and greatest value, or all of a choice: if an option can have these, it can have the others."""
        return self.values if self.low is None else (self.low, self.high)

    @property
    def searched(self) -> bool:
        """Whether it has more than one value."""
        return len(self.edges) > 1

    def at(self, quantile: float) -> Any:
        """The value at a quantile in [0, 1): evenly spread quantiles give values as the distribution has them."""
        if self.low is None or self.high is None:
            return self.values[min(int(quantile * len(self.values)), len(self.values) - 1)]
        low, high = self.low, self.high
        past = high + 1 if self.kind in WHOLE else high
        if self.kind in LOGARITHMIC:
            value = math.exp(math.log(low) + quantile * (math.log(past) - math.log(low)))
        else:
            value = low + quantile * (past - low)
        # The quantile of a whole number is that number, however the logarithm was rounded. Of others twelve digits are
        # kept, so that a table shows 0.001 where rounding would have 0.0010000000000000002.
        rounded = math.floor(value + 1e-9) if self.kind in WHOLE else float(f"{value:.12g}")
        return min(max(rounded, low), high)


def _choices(values: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(values, (list, tuple)) or not values:
        raise ConfigError(f"{name}: values is {values!r}, expected a list of at least one value")
    hint, optional = option_type(name)
    none = "none" if optional and hint is not str else None
    chosen = tuple(None if v == none else tuple(v) if isinstance(v, list) else v for v in values)
    for value in chosen:
        if sum(type(other) is type(value) and other == value for other in chosen) > 1:
            raise ConfigError(f"{name}: values has {value!r} more than once")
    return chosen


def _check_range(kind: str, low: Any, high: Any, name: str) -> None:
    for key, bound in (("low", low), ("high", high)):
        if isinstance(bound, bool) or not isinstance(bound, (int, float)) or not math.isfinite(bound):
            raise ConfigError(f"{name}: {key} is {bound!r}, expected a finite number")
        if kind in WHOLE and not isinstance(bound, int):
            raise ConfigError(f"{name}: {key} is {bound!r}, and {kind} needs whole numbers: remove the decimal point")
    if low > high:
        raise ConfigError(f"{name}: low ({low}) is above high ({high}): swap them")
    if low == high:
        raise ConfigError(f"{name}: low and high are both {low}: give a fixed value, or widen the range")
    if kind in LOGARITHMIC and low <= 0:
        raise ConfigError(f"{name}: {kind} cannot start at {low} on a logarithmic scale: give a low above 0")
