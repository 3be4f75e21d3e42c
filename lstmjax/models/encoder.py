"""The LSTM layers of a forecasting network, with the hyperparameters that a sweep may trace."""

import jax.numpy as jnp
from flax import nnx

from lstmjax import nn
from lstmjax.config import ModelConfig
from lstmjax.models.sizes import hidden_size


def make_encoder(
    in_features: int, config: ModelConfig, *, rngs: nnx.Rngs
) -> tuple[nn.StackedLSTM, nn.Hyperparameter | float, nn.Hyperparameter | None]:
    """LSTM layers as ``config`` describes them.

    A dropout of 0 and a forget bias of 1, the layers' own default, are compiled in. Any other value is a variable.

    Args:
        in_features: features of one step.
        config: hidden size, number of layers, dropout, forget bias.
        rngs: the initial weights come from its stream "params".

    Returns:
        The layers; the dropout rate, one variable for all places of the network that drop; and the forget bias.
    """
    dropout = nn.Hyperparameter(jnp.float32(config.dropout)) if config.dropout > 0.0 else 0.0
    forget_bias = nn.Hyperparameter(jnp.float32(config.forget_bias)) if config.forget_bias != 1.0 else None
    layers = nn.StackedLSTM(
        in_features, hidden_size(config), config.num_layers, dropout=dropout, forget_bias=config.forget_bias, rngs=rngs
    )
    return layers, dropout, forget_bias
