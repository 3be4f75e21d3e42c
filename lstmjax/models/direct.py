"""The direct network: every step of the horizon decoded at once from the state after the last input."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lstmjax import nn
from lstmjax.config import ModelConfig
from lstmjax.models.instance_norm import Residual, make_norm, normalize, restore
from lstmjax.window import Forecast, WindowBatch, WindowSpec, lookback_features

STEP_FEATURES = 16
"""Features that describe one step of the horizon to the decoder of steps, at least."""


class DirectNetwork(nnx.Module):
    """LSTM layers over the lookback, and dense layers from their last state to the whole horizon.

    All that is said of the horizon has seen the last input: decoding step k from the hidden state k steps before the
    end of some padded sequence, as other libraries do, has not. Where covariates are known ahead, the whole
    horizon's enter beside the state, and each step's own once more where that step is decoded (Das et al. 2023).

    Args:
        spec: sizes of a window.
        config: sizes of the network.
        rngs: the initial weights come from its stream "params".

    Raises:
        ConfigError: a seasonal residual whose season does not fit into the lookback.

    References:
        Das et al., `Long-term Forecasting with TiDE <https://arxiv.org/abs/2304.08424>`_, 2023

    >>> network = DirectNetwork(WindowSpec(input_size=8, h=3), ModelConfig(hidden_size=4), rngs=nnx.Rngs(0))
    >>> network.horizon.out_features
    3
    """

    def __init__(self, spec: WindowSpec, config: ModelConfig, *, rngs: nnx.Rngs) -> None:
        self.spec = spec
        self.residual = Residual.of(spec, config)
        self.norm = make_norm(spec, config)
        # One variable for all places that drop, so that a sweep can trace it. A rate of 0 is compiled in: no masks.
        self.dropout = nn.Hyperparameter(jnp.float32(config.dropout)) if config.dropout > 0.0 else 0.0
        self.encoder = nn.StackedLSTM(
            spec.in_features, config.hidden_size, config.num_layers, dropout=self.dropout, rngs=rngs
        )
        # As the dropout: 1, the layers' own default, is compiled in.
        self.forget_bias = nn.Hyperparameter(jnp.float32(config.forget_bias)) if config.forget_bias != 1.0 else None
        self.begin()
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

    def begin(self) -> None:
        """Gives the first weights what they owe to hyperparameters; called again where those are traced."""
        if self.forget_bias is not None:
            self.encoder.set_forget_bias(self.forget_bias[...])

    def __call__(
        self, window: WindowBatch, *, rngs: nnx.Rngs | None = None, deterministic: bool | None = None
    ) -> Forecast:
        """Forecasts a batch of windows.

        Args:
            window: what is known at the cut-offs.
            rngs: where dropout masks come from (stream "dropout").
            deterministic: no dropout; default as `train()` or `eval()` said.

        Returns:
            A point forecast, parameters of shape (B, H, C, 1), scaled units.
        """
        window, statistics = normalize(self.norm, window)
        steps = lookback_features(window)
        state = self.encoder(steps, return_sequence=False, rngs=rngs, deterministic=deterministic)  # (B, hidden)
        state = self.state_dropout(state, rngs=rngs, deterministic=deterministic)
        future = _future_features(window)  # (B, H, 2 Ff)
        batch = state.shape[0]
        known = [state, window.stat_exog, future.reshape(batch, -1)]
        if self.series is not None:
            if window.series is None:
                raise ValueError("window.series is None: a series embedding needs the series' numbers")
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
        return Forecast(restore(self.norm, steps + self.residual(window), statistics)[..., None])


def _future_features(window: WindowBatch) -> Float[Array, "B H F"]:
    """Known-future covariates of the horizon, values and masks side by side."""
    length = window.y.shape[1]
    mask = window.futr_mask[:, length:].astype(window.y.dtype)
    return jnp.concatenate([window.futr_exog[:, length:], mask], axis=-1)
