"""What the field of an option says of it: its bounds, where it acts, what a resume and a sweep may do. And checks."""

import dataclasses
import difflib
import itertools
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lstmjax.errors import ConfigError

Resume = Literal["same", "more", "inferred", "free"]
UNCHANGED: Any = object()
"""Of an option that has its default also where a config of format 1 does not name it."""

TYPE_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
"""What messages call the values of an option of this type."""


@dataclass(frozen=True)
class Rules:
    """What an option allows, and where it acts.

    Checks, warnings, what a resumed run may change, what a sweep may search and the table in the docs are derived from
    it.
    """

    low: float | None = None
    """The least number allowed."""
    above: float | None = None
    """A bound that a number must exceed."""
    high: float | None = None
    """The greatest number allowed."""
    only: Mapping[str, tuple[str, ...]] | None = None
    """Other options of the section, and for each the values under which this one acts; where there are several, one of
    them is enough. None: it always acts."""
    resume: Resume = "same"
    """Whether a resumed run may change it. same: no. more: it may only grow. inferred: no, but the run fills it in
    where it is None or auto, so that these are no change. free: yes, since nothing that is trained depends on it."""
    sweep: str = "shape"
    """How a sweep searches it. traced: as an input of the compiled program, so that a new value compiles nothing.
    shape: trials that differ in it are compiled apart. "no: ...": not at all, and why."""
    format_1: Any = UNCHANGED
    """Its value in a config of format 1 that does not name it. Default: its default."""

    @property
    def unsearchable(self) -> str | None:
        """Why a sweep cannot search it; None if it can."""
        return self.sweep.removeprefix("no: ") if self.sweep.startswith("no: ") else None


def option(default: Any, **rules: Any) -> Any:
    """A dataclass field that describes its option.

    Args:
        default: value where none is given.
        rules: see `Rules`.
    """
    return dataclasses.field(default=default, metadata={"rules": Rules(**rules)})


def inert_fields(config: Any, section: str) -> dict[str, str]:
    """The options of a section that have no effect, given the others.

    Args:
        config: the section's dataclass.
        section: its name.

    Returns:
        By dotted name, where the option acts and why it does not act here, for a message.
    """
    only = {named.name: named.metadata["rules"].only for named in dataclasses.fields(config)}

    def acts(name: str) -> bool:
        if only[name] is None:
            return True
        return any(getattr(config, other) in values and acts(other) for other, values in only[name].items())

    found = {}
    for name, others in only.items():
        if not acts(name):
            where = " or ".join(f"{section}.{other} {_either(values)}" for other, values in others.items())
            here = " and ".join(f"{section}.{other} is {getattr(config, other)!r}" for other in others if acts(other))
            found[f"{section}.{name}"] = f"it acts only with {where}, and {here}"
    return found


def _either(values: tuple[str, ...]) -> str:
    return " or ".join(filter(None, [", ".join(values[:-1]), values[-1]]))


def check_name(name: str, known: list[str], source: str | None = None) -> None:
    """Refuses an option that does not exist.

    Args:
        name: what the user calls it.
        known: the names there are; the nearest is suggested.
        source: where the name came from, for the message.

    Raises:
        ConfigError: it is not among the known.
    """
    if name in known:
        return
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f": did you mean {nearest[0]!r}?" if nearest else f": the options are {', '.join(known)}"
    raise ConfigError(f"{source + ': ' if source else ''}unknown option {name!r}{hint}")


def check_fields(config: Any, section: str) -> None:
    """Brings every field of a frozen dataclass to its declared type: lists to tuples, whole floats to ints.

    Args:
        config: the dataclass, just constructed.
        section: what comes before the dot in its options' names.

    Raises:
        ConfigError: a value that its type or its bounds do not allow.
    """
    hints = typing.get_type_hints(type(config))
    for option in dataclasses.fields(config):
        name = f"{section}.{option.name}"
        value = _as_type(getattr(config, option.name), hints[option.name], name)
        object.__setattr__(config, option.name, value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            _check_bounds(value, name, option.metadata["rules"])


def check_names(config: Any, section: str, *options: str) -> None:
    """Refuses names of columns that are empty or blank: a table has no place for them.

    Args:
        config: the section's dataclass.
        section: its name.
        options: those that hold a name or several, or None.

    Raises:
        ConfigError: names the option.
    """
    for option in options:
        value = getattr(config, option)
        for name in (value,) if isinstance(value, str) else value or ():
            if not name.strip():
                raise ConfigError(f"{section}.{option} is {value!r}: expected the name of a column, not an empty one")


def check_quantiles(levels: Sequence[float], name: str) -> None:
    """Refuses levels of quantiles that are not ascending between 0 and 1.

    Args:
        levels: the levels.
        name: the option's dotted name, for the message.

    Raises:
        ConfigError: names the option.
    """
    for level in levels:
        if not 0 < level < 1:
            raise ConfigError(
                f"{name} is {level:.10g}: expected probabilities above 0 and below 1, such as 0.1 0.5 0.9"
            )
    for before, after in itertools.pairwise(levels):
        if before >= after or f"{before:.10g}" == f"{after:.10g}":
            raise ConfigError(
                f"{name} has {after:.10g} after {before:.10g}: expected each probability once, in ascending order"
            )


def check_intervals(levels: Sequence[float], name: str) -> None:
    """Refuses levels of intervals that are not percents, each once.

    Args:
        levels: the levels.
        name: the option's dotted name, for the message.

    Raises:
        ConfigError: names the option.
    """
    for level in levels:
        if not 0 < level < 100:
            raise ConfigError(f"{name} is {level:.10g}: expected a number of percent above 0 and below 100")
    names = [f"{level:.10g}" for level in levels]
    for text in names:
        if names.count(text) > 1:
            raise ConfigError(f"{name} names {text} twice: expected each level once")


def _check_bounds(value: float, name: str, rules: Rules) -> None:
    if not math.isfinite(value):
        raise ConfigError(f"{name} is {value}: expected a finite number")
    if rules.low is not None and value < rules.low:
        raise ConfigError(f"{name} is {value}: expected at least {rules.low}")
    if rules.above is not None and value <= rules.above:
        raise ConfigError(f"{name} is {value}: expected more than {rules.above}")
    if rules.high is not None and value > rules.high:
        raise ConfigError(f"{name} is {value}: expected at most {rules.high}")


def _as_type(value: Any, hint: Any, name: str) -> Any:
    """`value` as the type `hint` says, or a `ConfigError` that says what is allowed."""
    hint, optional = without_none_type(hint)
    if value is None and optional:
        return None
    if typing.get_origin(hint) is Literal:
        if value in typing.get_args(hint):
            return value
        raise ConfigError(f"{name} is {value!r}: expected one of {', '.join(typing.get_args(hint))}")
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if item in (float, int):
            if isinstance(value, (list, tuple)):
                return tuple(_as_type(number, item, name) for number in value)
            raise ConfigError(f"{name} is {value!r}: expected a list of numbers")
        choices = typing.get_args(item)
        if choices and isinstance(value, (list, tuple)):
            return tuple(_as_type(item, Literal[choices], name) for item in value)
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ConfigError(f"{name} is {value!r}: expected a list of names")
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{name} is {value!r}: expected {TYPE_NAMES[hint]}")


def without_none_type(hint: Any) -> tuple[Any, bool]:
    """A declared type without None, and whether None is allowed."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (alone,) = (argument for argument in typing.get_args(hint) if argument is not type(None))
        return alone, True
    return hint, False
