"""The direct network: it decodes all steps of the horizon at once from the state after the last input."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lstmjax import nn
from lstmjax.config import ModelConfig
from lstmjax.models.encoder import make_encoder
from lstmjax.models.instance_norm import make_norm, normalize, restore
from lstmjax.models.residual import Residual, at_location
from lstmjax.window import Forecast, Head, WindowBatch, WindowSpec, lookback_features

STEP_FEATURES = 16
"""Smallest number of features of one step of the horizon before that step is decoded."""


class DirectNetwork(nnx.Module):
    """LSTM layers over the lookback, and dense layers from their last state to the whole horizon.

    So every forecast depends on the last input. This is not so in libraries that decode step k from the hidden state k
    steps before the end of a padded sequence. Where covariates are known ahead, those of the whole horizon are joined
    to the state, and those of each step again where that step is decoded (Das et al. 2023).

    Args:
        spec: sizes of a window.
        config: sizes of the network, and its head.
        head: a head of your own, instead of that of ``config``.
        rngs: the initial weights come from its stream "params".

    Raises:
        ConfigError: the residual is seasonal and its season is longer than the lookback.

    References:
        Das et al., `Long-term Forecasting with TiDE <https://arxiv.org/abs/2304.08424>`_, 2023

    >>> network = DirectNetwork(WindowSpec(input_size=8, h=3), ModelConfig(hidden_size=4), rngs=nnx.Rngs(0))
    >>> network.horizon.out_features
    3
    """

    def __init__(self, spec: WindowSpec, config: ModelConfig, *, head: Head | None = None, rngs: nnx.Rngs) -> None:
        self.spec = spec
        self.head = nn.HEADS[config.head](config.quantiles) if head is None else head
        self.residual = Residual.of(spec, config)
        self.norm = make_norm(spec, config)
        self.encoder, self.dropout, self.forget_bias = make_encoder(spec.in_features, config, rngs=rngs)
        self.state_dropout = nn.Dropout(self.dropout)
        future = 2 * spec.futr_exog
        embedded = config.series_embedding
        self.series = nn.SeriesEmbedding(spec.series, spec.targets, embedded, rngs=rngs) if embedded else None
        features = self.encoder.out_features + spec.stat_exog + spec.targets * embedded + spec.h * future
        self.hidden = nnx.Linear(features, config.head_size, rngs=rngs) if config.head_size else None
        features = config.head_size or features
        if not future:
            self.horizon = nnx.Linear(features, spec.h * spec.targets * self.head.size, rngs=rngs)
            self.step_hidden = self.step = None
            return
        step_features = max(STEP_FEATURES, 2 * spec.targets)
        self.horizon = nnx.Linear(features, spec.h * step_features, rngs=rngs)
        self.step_hidden = nnx.Linear(step_features + future, config.head_size, rngs=rngs) if config.head_size else None
        outputs = spec.targets * self.head.size
        self.step = nnx.Linear(config.head_size or step_features + future, outputs, rngs=rngs)

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
            The head's forecast, parameters of shape (B, H, C, P), scaled units.
        """
        window, statistics = normalize(self.norm, window)
        steps = lookback_features(window)
        state = self.encoder(steps, return_sequence=False, rngs=rngs, deterministic=deterministic)  # (B, hidden)
        return restore(self.norm, self.decode(state, window, rngs=rngs, deterministic=deterministic), statistics)

    def decode(
        self,
        state: Float[Array, "B hidden"],
        window: WindowBatch,
        *,
        rngs: nnx.Rngs | None = None,
        deterministic: bool | None = None,
    ) -> Forecast:
        """Forecasts from the state after the last row: the second half of a call.

        Args:
            state: of the top layer.
            window: normalised; without a residual only its horizon and what does not change with time are read.
            rngs: as in a call.
            deterministic: as in a call.
        """
        state = self.state_dropout(state, rngs=rngs, deterministic=deterministic)
        future = _future_features(window)  # (B, H, 2 Ff)
        batch = state.shape[0]
        known = [state, window.stat_exog, future.reshape(batch, -1)]
        if self.series is not None:
            known.append(self.series(window.series).reshape(batch, -1))
        context = jnp.concatenate(known, axis=-1)
        if self.hidden is not None:
            context = jax.nn.relu(self.hidden(context))
        steps = self.horizon(context).reshape(batch, self.spec.h, -1)  # (B, H, C P or step features)
        if self.step is not None:
            steps = jnp.concatenate([steps, future], axis=-1)
            if self.step_hidden is not None:
                steps = jax.nn.relu(self.step_hidden(steps))
            steps = self.step(steps)
        raw = steps.reshape(batch, self.spec.h, self.spec.targets, self.head.size)
        raw = at_location(raw, self.residual(window))
        return Forecast(self.head.constrain(raw), self.head)


def _future_features(window: WindowBatch) -> Float[Array, "B H F"]:
    """Joins the values and masks of the horizon's known-future covariates."""
    length = window.y.shape[1]
    mask = window.futr_mask[:, length:].astype(window.y.dtype)
    return jnp.concatenate([window.futr_exog[:, length:], mask], axis=-1)
