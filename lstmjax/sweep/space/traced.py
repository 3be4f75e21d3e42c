"""Which options are traced and which are compiled in: the one place that says which trials can share a program.

Traced options only scale arithmetic. Their values are inputs of the compiled program, one per member, so that a
new value compiles nothing. All other options are compiled in: trials that differ in them belong to different
populations.
"""

from collections.abc import Collection, Mapping
from typing import Any

from lstmjax.config import RunConfig, option_names, rules
from lstmjax.sweep.space.distribution import Distribution
from lstmjax.training import Hyperparameters

TRACED = frozenset(name for name in option_names() if rules(name).sweep == "traced")
"""Dotted names of the options that are traced, as their fields in `lstmjax.config` say."""

NETWORK_OPTIONS = {name: name.removeprefix("model.") for name in sorted(TRACED) if name.startswith("model.")}
"""Those that the networks hold as `nn.Hyperparameter` variables, and these variables' paths."""

_STAND_IN = dict.fromkeys(NETWORK_OPTIONS, 0.5)
"""The values that a network is built with where they are traced: with 0.5 the network holds a variable, while a dropout
of 0 would be compiled in as no dropout at all, and a forget bias of 1 as nothing to set."""


def is_traced(name: str, distribution: Distribution) -> bool:
    """Whether trials that differ only in this option share a compiled program.

    Args:
        name: the option's name.
        distribution: its values. Where an option may also be switched off (no clipping: None), programs differ.
    """
    return name in TRACED and None not in distribution.values


def static_part(config: RunConfig, searched: Collection[str]) -> RunConfig:
    """A config in which every traced option has one fixed value: equal for trials that share a compiled program.

    Args:
        config: a trial's config.
        searched: names of the sweep's searched options. An option of the network is compiled in if it is not searched.
    """
    defaults = RunConfig()
    values: dict[str, Any] = {}
    for name in TRACED:
        section, option = name.split(".")
        if name in NETWORK_OPTIONS:
            if name in searched:
                values[name] = _STAND_IN[name]
        elif getattr(getattr(config, section), option) is not None:
            default = getattr(getattr(defaults, section), option)
            values[name] = 1.0 if default is None else default
    return config.replace(values)


def numbers(config: RunConfig, searched: Collection[str], *, seed: int) -> Hyperparameters:
    """The traced options of one member.

    Args:
        config: its trial's config.
        searched: as for `static_part`.
        seed: the member's seed.
    """
    network: Mapping[str, float] = {
        variable: getattr(config.model, name.split(".")[1])
        for name, variable in NETWORK_OPTIONS.items()
        if name in searched
    }
    return Hyperparameters.from_config(config.optimizer, config.train, seed=seed, network=network)
