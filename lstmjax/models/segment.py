"""The segment network: an LSTM over segments of the lookback, per channel, and one step for each segment ahead."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lstmjax import nn
from lstmjax.config import ModelConfig
from lstmjax.models.decoder import Decoder
from lstmjax.models.encoder import make_encoder
from lstmjax.models.instance_norm import make_norm, normalize, restore
from lstmjax.models.residual import Residual, at_location
from lstmjax.models.sizes import hidden_size, segment_size
from lstmjax.ops import lstm_step
from lstmjax.window import Forecast, Head, WindowBatch, WindowSpec


class SegmentNetwork(nnx.Module):
    """An LSTM that reads segments of w rows instead of rows, and forecasts all segments of the horizon at once.

    Each channel is a sequence of its own, with the same weights. The lookback is cut into segments of w steps (padded
    on the left with masked steps), each embedded by a linear layer; the LSTM runs over them, L / w steps instead of
    L. Each segment of the horizon is then decoded by one step of the same LSTM from the carry after the *last*
    segment, with a learned query that names the segment; so errors do not add up along the horizon. Covariates of
    the lookback are added to their segments; those known ahead, the static ones and the series' embedding are added to
    the queries.

    Two shortcuts can be added: a linear map from the whole lookback (``model.highway``), and attention that starts each
    segment of the horizon from a mean of those of the lookback (``model.recall``).

    Args:
        spec: sizes of a window.
        config: sizes of the network, and its head.
        head: a head of your own, instead of that of ``config``.
        rngs: the initial weights come from its stream "params".

    Raises:
        ConfigError: the residual is seasonal and its season is longer than the lookback.

    References:
        Lin et al., `SegRNN: Segment Recurrent Neural Network for Long-Term Time Series Forecasting
        <https://arxiv.org/abs/2308.11200>`_, 2023. The highway is that of Lai et al., `Modeling Long- and Short-Term
        Temporal Patterns with Deep Neural Networks <https://arxiv.org/abs/1703.07015>`_, 2018.

    >>> model = ModelConfig(name="segment", segment_size=4, hidden_size=8)
    >>> network = SegmentNetwork(WindowSpec(input_size=10, h=6), model, rngs=nnx.Rngs(0))
    >>> network.position.shape  # two segments cover a horizon of six
    (2, 8)
    """

    def __init__(self, spec: WindowSpec, config: ModelConfig, *, head: Head | None = None, rngs: nnx.Rngs) -> None:
        self.spec = spec
        self.head = nn.HEADS[config.head](config.quantiles) if head is None else head
        self.size = segment_size(config, spec)
        self.segments = -(-spec.h // self.size)
        self.residual = Residual.of(spec, config)
        self.norm = make_norm(spec, config)
        hidden = hidden_size(config)
        shared = spec.hist_exog + spec.futr_exog
        self.embed = nnx.Linear(2 * self.size, hidden, rngs=rngs)  # values and masks
        self.embed_exog = nnx.Linear(2 * self.size * shared, hidden, use_bias=False, rngs=rngs) if shared else None
        self.encoder, self.dropout, self.forget_bias = make_encoder(hidden, config, rngs=rngs)
        self.position = nnx.Param(nnx.initializers.normal(1.0)(rngs.params(), (self.segments, hidden)))
        ahead = 2 * self.size * spec.futr_exog
        self.query_future = nnx.Linear(ahead, hidden, rngs=rngs) if ahead else None
        embedded = config.series_embedding
        self.series = nn.SeriesEmbedding(spec.series, spec.targets, embedded, rngs=rngs) if embedded else None
        static = spec.stat_exog + embedded
        self.query_static = nnx.Linear(static, hidden, use_bias=False, rngs=rngs) if static else None
        self.output_dropout = nn.Dropout(self.dropout)
        dense = config.known_future == "decoder"
        self.decoder = Decoder(hidden, self.size, spec, config, self.dropout, rngs=rngs) if dense else None
        self.output = nnx.Linear(config.decoder_size if dense else hidden, self.size * self.head.size, rngs=rngs)
        zeros = nnx.initializers.zeros
        lookback = -(-spec.input_size // self.size)
        self.recall = nnx.Linear(hidden, lookback, kernel_init=zeros, rngs=rngs) if config.recall else None
        self.highway = nnx.Linear(spec.input_size, spec.h, kernel_init=zeros, rngs=rngs) if config.highway else None

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
        batch, _, channels = window.y.shape
        steps = self._embedded(window).reshape(-1, batch * channels, self.embed.out_features)  # (n, B C, D)
        carries = self.encoder(
            steps, return_carry=True, return_sequence=False, time_major=True, rngs=rngs, deterministic=deterministic
        )[0]
        x = self._queries(window)
        for layer, (c, h) in zip(self.encoder.forward, carries, strict=True):
            if layer is not self.encoder.forward[0]:
                x = self.encoder.dropout(x, rngs=rngs, deterministic=deterministic)
            # From each carry one step for each of S queries. By broadcasting, the product with the state is computed
            # once for all of them, and that of a query that all windows share once for all windows.
            carry = c.reshape(batch, channels, 1, -1), h.reshape(batch, channels, 1, -1)  # (B, C, 1, D) each
            x = lstm_step(layer.cell.weights, carry, x)[1]  # (B, C, S, D)
        x = self.output_dropout(x, rngs=rngs, deterministic=deterministic)
        features = x
        if self.decoder is not None:
            features = self.decoder(x, self._known(window), window, rngs=rngs, deterministic=deterministic)
        raw = self._by_row(self.output(features).reshape(batch, channels, -1, self.head.size))  # (B, H, C, P)
        shortcut = self.residual(window)
        if self.recall is not None:
            shortcut = shortcut + self._by_row(self._recalled(self.recall(x), window).reshape(batch, channels, -1))
        if self.highway is not None:
            shortcut = shortcut + self._by_row(self.highway(jnp.swapaxes(window.y, 1, 2)))
        raw = at_location(raw, shortcut)
        return restore(self.norm, Forecast(self.head.constrain(raw), self.head), statistics)

    def _by_row(self, values: Float[Array, "B C T *P"]) -> Float[Array, "B H C *P"]:
        """Rows of the segments ahead as rows of the horizon, whose end the last segment may exceed."""
        return jnp.swapaxes(values[:, :, : self.spec.h], 1, 2)

    def _embedded(self, window: WindowBatch) -> Float[Array, "n B C D"]:
        """Embeds the segments of the lookback."""
        length = window.y.shape[1]
        embedded = self.embed(self._cut(window.y, window.y_mask))
        if self.embed_exog is not None:
            exog = (
                self._cut(window.hist_exog, window.hist_mask),
                self._cut(window.futr_exog[:, :length], window.futr_mask[:, :length]),
            )
            flat = jnp.concatenate([part.reshape(*embedded.shape[:2], -1) for part in exog], axis=-1)
            embedded = embedded + self.embed_exog(flat)[:, :, None]
        return jax.nn.relu(embedded)

    def _recalled(self, scores: Float[Array, "B C S n"], window: WindowBatch) -> Float[Array, "B C S w"]:
        """Averages the lookback's segments for each of the horizon; segments without observations have no weight."""
        observed = self._cut(window.y_mask).any(axis=-1)  # (n, B, C)
        scores = jnp.where(observed.transpose(1, 2, 0)[:, :, None], scores, jnp.finfo(scores.dtype).min)
        return jnp.einsum("bcsn,nbcw->bcsw", jax.nn.softmax(scores, axis=-1), self._cut(window.y))

    def _queries(self, window: WindowBatch) -> Float[Array, "_ _ S D"]:
        """Returns the query of each segment of the horizon; an axis along which all are equal has length 1."""
        batch = window.y.shape[0]
        queries = self.position[...][None, None]  # (1, 1, S, D)
        if self.query_static is not None:
            static = jnp.broadcast_to(window.stat_exog[:, None], (batch, self.spec.targets, self.spec.stat_exog))
            if self.series is not None:
                static = jnp.concatenate([static, self.series(window.series)], axis=-1)
            queries = queries + self.query_static(static)[:, :, None]  # (B, C, 1, D)
        if self.query_future is not None:
            queries = queries + jax.nn.relu(self.query_future(self._known(window)))[:, None]  # (B, 1, S, D)
        return queries

    def _known(self, window: WindowBatch) -> Float[Array, "B S K"]:
        """The covariates known ahead of each segment of the horizon, and their masks."""
        batch, length = window.y.shape[:2]
        known = self._cut(window.futr_exog[:, length:], window.futr_mask[:, length:], before=False)
        return jnp.moveaxis(known, 0, 1).reshape(batch, self.segments, -1)  # (S, B, Ff, 2w) -> (B, S, Ff * 2w)

    def _cut(self, x: Float[Array, "B T F"] | Array, mask: Array | None = None, *, before: bool = True) -> Array:
        """Cuts segments of w steps, (n, B, F, w), or (n, B, F, 2w) with a mask; pads the first (or the last) with 0."""
        if mask is not None:
            parts = self._cut(x, before=before), self._cut(mask.astype(x.dtype), before=before)
            return jnp.concatenate(parts, axis=-1)
        lack = -x.shape[1] % self.size
        x = jnp.pad(x, ((0, 0), (lack, 0) if before else (0, lack), (0, 0)))
        batch, length, features = x.shape
        return x.reshape(batch, length // self.size, self.size, features).transpose(1, 0, 3, 2)
