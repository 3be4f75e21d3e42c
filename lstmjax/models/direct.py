"""The direct network: it decodes all steps of the horizon at once from the state after the last input."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lstmjax import nn
from lstmjax.config import ModelConfig
from lstmjax.models.network import Network
from lstmjax.window import WindowBatch, WindowSpec, lookback_features

STEP_FEATURES = 16
"""Smallest number of features of one step of the horizon before that step is decoded."""


class DirectNetwork(Network):
    """LSTM layers over the lookback, and dense layers from their last state to the whole horizon.

    So every forecast depends on the last input. This is not so in libraries that decode step k from the hidden state k
    steps before the end of a padded sequence. Where covariates are known ahead, those of the whole horizon are joined
    to the state, and those of each step again where that step is decoded (Das et al. 2023).

    Args:
        spec: sizes of a window.
        config: sizes of the network.
        rngs: the initial weights come from its stream "params".

    Raises:
        ConfigError: the residual is seasonal and its season is longer than the lookback.

    References:
        Das et al., `Long-term Forecasting with TiDE <https://arxiv.org/abs/2304.08424>`_, 2023

    >>> network = DirectNetwork(WindowSpec(input_size=8, h=3), ModelConfig(hidden_size=4), rngs=nnx.Rngs(0))
    >>> network.horizon.out_features
    3
    """

    def __init__(self, spec: WindowSpec, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        super().__init__(spec, config)
        self.encoder = self.lstm_layers(spec.in_features, config, rngs=rngs)
        self.state_dropout = nn.Dropout(self.dropout)
        future = 2 * spec.futr_exog
        embedded = config.series_embedding
        self.series = nn.SeriesEmbedding(spec.series, spec.targets, embedded, rngs=rngs) if embedded else None
        features = self.encoder.out_features + spec.stat_exog + spec.targets * embedded + spec.h * future
        self.hidden = nnx.Linear(features, config.head_size, rngs=rngs) if config.head_size else None
        features = config.head_size or features
        if not future:
            self.horizon = nnx.Linear(features, spec.h * spec.targets, rngs=rngs)
            self.step_hidden = self.step = None
            return
        step_features = max(STEP_FEATURES, 2 * spec.targets)
        self.horizon = nnx.Linear(features, spec.h * step_features, rngs=rngs)
        self.step_hidden = nnx.Linear(step_features + future, config.head_size, rngs=rngs) if config.head_size else None
        self.step = nnx.Linear(config.head_size or step_features + future, spec.targets, rngs=rngs)

    def decoded(self, window: WindowBatch, random: dict[str, Any]) -> Float[Array, "B H C"]:
        """As `Network.decoded`."""
        steps = lookback_features(window)
        state = self.encoder(steps, return_sequence=False, **random)  # (B, hidden)
        state = self.state_dropout(state, **random)
        future = _future_features(window)  # (B, H, 2 Ff)
        batch = state.shape[0]
        known = [state, window.stat_exog, future.reshape(batch, -1)]
        if self.series is not None:
            known.append(self.series(window.series).reshape(batch, -1))
        context = jnp.concatenate(known, axis=-1)
        if self.hidden is not None:
            context = jax.nn.relu(self.hidden(context))
        steps = self.horizon(context).reshape(batch, self.spec.h, -1)  # (B, H, C or step features)
        if self.step is not None:
            steps = jnp.concatenate([steps, future], axis=-1)
            if self.step_hidden is not None:
                steps = jax.nn.relu(self.step_hidden(steps))
            steps = self.step(steps)
        return steps


def _future_features(window: WindowBatch) -> Float[Array, "B H F"]:
    """Joins the values and masks of the horizon's known-future covariates."""
    length = window.y.shape[1]
    mask = window.futr_mask[:, length:].astype(window.y.dtype)
    return jnp.concatenate([window.futr_exog[:, length:], mask], axis=-1)
