"""What the forecasting networks share."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lstmjax import nn
from lstmjax.config import ModelConfig
from lstmjax.models.instance_norm import make_norm
from lstmjax.models.residual import Residual
from lstmjax.window import Forecast, WindowBatch, WindowSpec


class Network(nnx.Module):
    """LSTM layers between the normalisation of a window and its undoing on the forecast, and a baseline beside them.

    A dropout of 0 and a forget bias of 1, the layers' own default, are compiled in. Any other value is a variable that
    a sweep may trace; that of the dropout is one for all places of the network that drop.

    Args:
        spec: sizes of a window.
        config: sizes of the network.

    Raises:
        ConfigError: the residual is seasonal and its season is longer than the lookback.
    """

    encoder: nn.StackedLSTM

    def __init__(self, spec: WindowSpec, config: ModelConfig) -> None:
        self.spec = spec
        self.residual = Residual.of(spec, config)
        self.norm = make_norm(spec, config)
        self.dropout = nn.Hyperparameter(jnp.float32(config.dropout)) if config.dropout > 0.0 else 0.0
        self.forget_bias = nn.Hyperparameter(jnp.float32(config.forget_bias)) if config.forget_bias != 1.0 else None

    def lstm_layers(self, in_features: int, config: ModelConfig, *, rngs: nnx.Rngs) -> nn.StackedLSTM:
        """Builds the LSTM layers as ``config`` describes them.

        Args:
            in_features: features of one step.
            config: hidden size, number of layers, forget bias.
            rngs: the initial weights come from its stream "params".
        """
        sizes = in_features, config.hidden_size, config.num_layers
        return nn.StackedLSTM(*sizes, dropout=self.dropout, forget_bias=config.forget_bias, rngs=rngs)

    def begin(self) -> None:
        """Sets the first weights that depend on hyperparameters; called again where these are traced."""
        if self.forget_bias is not None:
            self.encoder.set_forget_bias(self.forget_bias[...])

    def __call__(
        self, window: WindowBatch, *, rngs: nnx.Rngs | None = None, deterministic: bool | None = None
    ) -> Forecast:
        """Forecasts a batch of windows.

        Args:
            window: the data up to the cut-offs.
            rngs: where dropout masks come from (stream "dropout").
            deterministic: no dropout; default as set by `train()` or `eval()`.

        Returns:
            A point forecast, parameters of shape (B, H, C, 1), scaled units.
        """
        random = {"rngs": rngs, "deterministic": deterministic}
        if self.norm is None:
            return Forecast((self.decoded(window, random) + self.residual(window))[..., None])
        y, statistics = self.norm(window.y, window.y_mask)
        window = window._replace(y=y)
        values = self.decoded(window, random) + self.residual(window)
        return Forecast(self.norm.inverse(values, statistics)[..., None])

    def decoded(self, window: WindowBatch, random: dict[str, Any]) -> Float[Array, "B H C"]:
        """Returns the forecast, or its difference to the residual, for a normalised window.

        Args:
            window: the data up to the cut-offs.
            random: ``rngs`` and ``deterministic``, as `__call__` got them.
        """
        raise NotImplementedError
