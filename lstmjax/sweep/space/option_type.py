"""Which distributions an option may have, by its declared type."""

import dataclasses
import types
import typing
from typing import Any, Literal

from lstmjax.config import RunConfig, option_names
from lstmjax.errors import ConfigError
from lstmjax.sweep.space.distribution import Distribution

_ALLOWED_KINDS: dict[Any, tuple[str, ...]] = {
    int: ("int", "logint", "choice"),
    float: ("uniform", "loguniform", "choice"),
}


def _type(name: str) -> tuple[Any, bool]:
    """The declared type of an option, and whether it may also be None."""
    section, option = name.split(".")
    hint = typing.get_type_hints(type(getattr(RunConfig(), section)))[option]
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (hint,) = (argument for argument in typing.get_args(hint) if argument is not type(None))
        return hint, True
    return hint, False


def with_none(name: str, distribution: Distribution) -> Distribution:
    """The distribution with None for "none", if the option may be None: TOML has no None."""
    if name not in option_names() or not _type(name)[1] or _type(name)[0] is str:
        return distribution
    values = tuple(None if value == "none" else value for value in distribution.values)
    return dataclasses.replace(distribution, values=values)


def check_kind(name: str, distribution: Distribution) -> None:
    """Validates a distribution against the type of its option.

    Raises:
        ConfigError: the option cannot have such values, e.g. a range for an option that is one of some names.
    """
    hint, _ = _type(name)
    allowed = _ALLOWED_KINDS.get(hint, ("choice",))
    if distribution.kind not in (*allowed, "fixed"):
        kinds = {int: "a whole number", float: "a number", bool: "true or false"}
        what = f"one of {', '.join(typing.get_args(hint))}" if typing.get_origin(hint) is Literal else None
        raise ConfigError(
            f"{name}: {distribution.kind} does not fit an option that is {what or kinds.get(hint, 'text')}: "
            f"use {' or '.join(allowed)}"
        )
