"""The decoder of the segment network: dense layers that read, beside the state, what is known of the rows ahead."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from lstmjax import nn
from lstmjax.config import ModelConfig
from lstmjax.errors import ConfigError
from lstmjax.window import WindowBatch, WindowSpec


class Decoder(nnx.Module):
    """Two dense layers from the state of each segment ahead, and all that is known of its rows, to features of it.

    What is known of a row: the covariates known ahead, and, of the rows ``model.lags`` before it, the targets and the
    same covariates. All rows of a segment are read together, so that each may depend on those around it.

    Args:
        in_features: of a segment's state.
        size: w, rows of a segment.
        spec: sizes of a window.
        config: ``lags`` and ``decoder_size``.
        dropout: rate after each layer.
        rngs: the initial weights come from its stream "params".

    Raises:
        ConfigError: a lag is longer than the lookback.
    """

    def __init__(
        self,
        in_features: int,
        size: int,
        spec: WindowSpec,
        config: ModelConfig,
        dropout: nn.Hyperparameter | float,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        for lag in config.lags:
            if lag > spec.input_size:
                raise ConfigError(f"model.lags has {lag}, and data.input_size is {spec.input_size}: expected no more")
        self.size = size
        self.segments = -(-spec.h // size)
        self.lags = config.lags
        row = 2 * (spec.futr_exog + len(config.lags) * (1 + spec.futr_exog))  # values and masks
        self.first = nnx.Linear(in_features + size * row, config.decoder_size, rngs=rngs)
        self.second = nnx.Linear(config.decoder_size, config.decoder_size, rngs=rngs)
        self.dropout = nn.Dropout(dropout)

    def __call__(
        self,
        state: Float[Array, "B C S D"],
        known: Float[Array, "B S K"],
        window: WindowBatch,
        *,
        rngs: nnx.Rngs | None = None,
        deterministic: bool | None = None,
    ) -> Float[Array, "B C S E"]:
        """Decodes a batch of windows.

        Args:
            state: of each channel and segment ahead.
            known: the covariates known ahead of each segment, and their masks.
            window: normalised.
            rngs: where dropout masks come from (stream "dropout").
            deterministic: no dropout.

        Returns:
            ``model.decoder_size`` features of each channel and segment.
        """
        x = self.features(state, known, window)
        for layer in (self.first, self.second):
            x = self.dropout(jax.nn.relu(layer(x)), rngs=rngs, deterministic=deterministic)
        return x

    def features(
        self, state: Float[Array, "B C S D"], known: Float[Array, "B S K"], window: WindowBatch
    ) -> Float[Array, "B C S F"]:
        """What the first layer reads: the state, what is known ahead, and the rows before; arguments as in a call."""
        parts = [state, known[:, None]]
        for lag in self.lags:
            rows = rows_before(window.y.shape[1], self.segments * self.size, lag)
            targets = self._segments(window.y[:, rows], window.y_mask[:, rows])  # (B, C, S, 2 w)
            covariates = self._segments(window.futr_exog[:, rows], window.futr_mask[:, rows])  # (B, Ff, S, 2 w)
            batch, features = covariates.shape[:2]
            parts += [targets, covariates.swapaxes(1, 2).reshape(batch, 1, self.segments, features * 2 * self.size)]
        return jnp.concatenate([jnp.broadcast_to(part, (*state.shape[:3], part.shape[3])) for part in parts], axis=-1)

    def _segments(self, values: Float[Array, "B T F"], mask: Array) -> Float[Array, "B F S V"]:
        """Rows as segments, each with its values and masks."""
        batch, _, features = values.shape
        joined = jnp.stack([values, mask.astype(values.dtype)], axis=-1)  # (B, S w, F, 2)
        return joined.transpose(0, 2, 1, 3).reshape(batch, features, self.segments, 2 * self.size)


def rows_before(length: int, steps: int, lag: int) -> Int[np.ndarray, " steps"]:
    """The rows that lie a lag before each step ahead, or as many whole lags as it takes to have been observed.

    Args:
        length: rows of the lookback.
        steps: ahead.
        lag: rows.

    >>> rows_before(6, 5, 3)
    array([3, 4, 5, 3, 4])
    """
    return length - lag + np.arange(steps) % lag
