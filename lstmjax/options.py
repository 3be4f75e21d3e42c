"""How an option declares what it allows, and how a value is checked against that, in the user's words."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from lstmjax.errors import ConfigError


def option(
    default: Any,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    only: Mapping[str, tuple[str, ...]] | None = None,
) -> Any:
    """A dataclass field that says what its option allows, and where it acts.

    Args:
        default: value where none is given.
        low: the least number allowed.
        above: a bound that a number must exceed.
        high: the greatest number allowed.
        only: other options of the section, and for each the values under which this one acts; where there are several,
            one of them is enough. None: it always acts.
    """
    return dataclasses.field(default=default, metadata={"bounds": (low, above, high), "only": only})


def inert_fields(config: Any, section: str) -> dict[str, str]:
    """The options of a section that have no effect, given the others.

    Args:
        config: the section's dataclass.
        section: its name.

    Returns:
        By dotted name, where the option acts and why it does not act here, for a message.
    """
    found = {}
    for named in dataclasses.fields(config):
        only = named.metadata.get("only")
        if only is None or any(getattr(config, name) in values for name, values in only.items()):
            continue
        acts = " or ".join(f"{section}.{name} {_either(values)}" for name, values in only.items())
        here = " and ".join(f"{section}.{name} is {getattr(config, name)!r}" for name in only)
        found[f"{section}.{named.name}"] = f"it acts only with {acts}, and {here}"
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
            _check_bounds(value, name, *option.metadata.get("bounds", (None, None, None)))


def _check_bounds(value: float, name: str, low: float | None, above: float | None, high: float | None) -> None:
    if not math.isfinite(value):
        raise ConfigError(f"{name} is {value}: expected a finite number")
    if low is not None and value < low:
        raise ConfigError(f"{name} is {value}: expected at least {low}")
    if above is not None and value <= above:
        raise ConfigError(f"{name} is {value}: expected more than {above}")
    if high is not None and value > high:
        raise ConfigError(f"{name} is {value}: expected at most {high}")


def _as_type(value: Any, hint: Any, name: str) -> Any:
    """`value` as the type `hint` says, or a `ConfigError` that says what is allowed."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        if value is None and type(None) in typing.get_args(hint):
            return None
        (hint,) = (argument for argument in typing.get_args(hint) if argument is not type(None))
    if typing.get_origin(hint) is Literal:
        if value in typing.get_args(hint):
            return value
        raise ConfigError(f"{name} is {value!r}: expected one of {', '.join(typing.get_args(hint))}")
    if typing.get_origin(hint) is tuple:
        choices = typing.get_args(typing.get_args(hint)[0])
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
    kinds = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    raise ConfigError(f"{name} is {value!r}: expected {kinds[hint]}")
