"""The network of a forecaster: that of ``config.model``, or one of the user's own."""

import functools
from collections.abc import Callable

import jax
from flax import nnx

from lstmjax import models, nn
from lstmjax.config import RunConfig
from lstmjax.errors import CheckpointError, ConfigError
from lstmjax.forecaster.checkpoints import weights_template
from lstmjax.models.user_network import OwnBuilder, own_name, some_window
from lstmjax.training import Network, Weights, functional
from lstmjax.window import Head, WindowSpec

UserNetwork = nnx.Module | Callable[..., nnx.Module]
"""A module with its weights, or a function ``(spec: WindowSpec, *, rngs: nnx.Rngs) -> module``."""


def network_for(network: UserNetwork | None, config: RunConfig, spec: WindowSpec) -> Network:
    """What `training.train` draws networks from; equal for equal arguments, so that compiled programs are shared."""
    if network is None:
        return models.Builder(spec, config.model)
    return network if isinstance(network, nnx.Module) else OwnBuilder(network, spec)


@functools.lru_cache(maxsize=64)
def _traced_head(network: Network, spec: WindowSpec) -> Head:
    structure, first = functional(network)
    weights = first if isinstance(first, Weights) else jax.eval_shape(first, jax.random.key(0))
    heads: list[Head] = []
    jax.eval_shape(lambda w: heads.append(structure.forecast(w, some_window(spec, 1)).head), weights)  # traced only
    return heads[0]


def head_of(network: UserNetwork | None, config: RunConfig, spec: WindowSpec) -> Head:
    """The head of the network's forecasts.

    Args:
        network: a network of the user's own, which is asked for a forecast; None for that of ``config.model``.
        config: all options.
        spec: sizes of a window.
    """
    if network is None:
        return nn.HEADS[config.model.head](config.model.quantiles)
    made = network_for(network, config, spec)
    try:
        hash(made)
    except TypeError:
        return _traced_head.__wrapped__(made, spec)
    return _traced_head(made, spec)


def network_name(network: UserNetwork | None, config: RunConfig) -> str:
    """What a checkpoint calls the network."""
    return config.model.name if network is None else own_name(network)


def check_start(start: Weights, network: Network) -> None:
    """Refuses to start a network with the weights of another.

    Raises:
        ConfigError: names an array that does not fit.
    """
    theirs, ours = (
        {name: leaf.shape for group in weights for name, leaf in group.items()}
        for weights in (start, weights_template(network))
    )
    for name in sorted(theirs.keys() | ours.keys()):
        if theirs.get(name) != ours.get(name):
            raise ConfigError(
                f"the trained network's {name} has shape {theirs.get(name)}, the new one's has {ours.get(name)}: leave "
                "data.h, data.target_cols, the covariates and model.* as they were"
            )


def check_network(theirs: str, network: UserNetwork | None, config: RunConfig, source: object) -> None:
    """Refuses to put the weights of one network into another.

    Args:
        theirs: name of the network that was trained, from `network_name`.
        network: the one at hand.
        config: its options.
        source: what was trained, for the message.

    Raises:
        CheckpointError: names what was trained.
    """
    ours = network_name(network, config)
    if theirs != ours:
        hint = "pass it as network=" if network is None else f"not with {ours}"
        raise CheckpointError(f"{source} was trained with the network {theirs}: {hint}")
