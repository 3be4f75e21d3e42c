"""Which options are traced and which are compiled in: the one place that says which trials can share a program.

Traced options only scale arithmetic. Their values are inputs of the compiled program, one per member, so that a
new value compiles nothing. All other options are compiled in: trials that differ in them belong to different
populations.
"""

from collections.abc import Collection
from typing import Any

from lstmjax.config import RunConfig, option_fields, option_names, rules
from lstmjax.forecaster.resumed_options import flat
from lstmjax.sweep.space.distribution import Distribution
from lstmjax.training import Hyperparameters

TRACED = frozenset(name for name in option_names() if rules(name).sweep == "traced")
"""Dotted names of the options that are traced, as their fields in `lstmjax.config` say."""

NETWORK_OPTIONS = {name: name.removeprefix("model.") for name in sorted(TRACED) if name.startswith("model.")}
"""Those that the networks hold as `nn.Hyperparameter` variables, and these variables' paths."""

_STAND_IN = 0.5
"""What a network is built with in place of a traced option: with 0.5 it holds a variable, while a dropout of 0 would be
compiled in as no dropout at all, and a forget bias of 1 as nothing to set."""


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
    values: dict[str, Any] = {name: _STAND_IN for name in NETWORK_OPTIONS if name in searched}
    for name, value in flat(config).items():
        if name in TRACED and name not in NETWORK_OPTIONS and value is not None:
            default = option_fields()[name].default
            values[name] = 1.0 if default is None else default
    return config.replace(values)


def numbers(config: RunConfig, searched: Collection[str], *, seed: int) -> Hyperparameters:
    """The traced options of one member.

    Args:
        config: its trial's config.
        searched: as for `static_part`.
        seed: the member's seed.
    """
    values = flat(config)
    network = {variable: values[name] for name, variable in NETWORK_OPTIONS.items() if name in searched}
    return Hyperparameters.from_config(config.optimizer, config.train, seed=seed, network=network)
