"""Stacked LSTM layers, in one direction or in both."""

from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lstmjax.nn.initializers import with_forget_gate
from lstmjax.nn.recurrent import LSTM, LayerOptions
from lstmjax.nn.regularization import Dropout, Rate, check_rate
from lstmjax.nn.sequence import Call, SequenceModule


class StackedLSTM(SequenceModule[tuple[Any, ...]]):
    """Several LSTM layers: each reads the outputs of the layer below.

    Args:
        in_features: features of the input.
        hidden_features: features of every layer, in each direction.
        num_layers: number of layers.
        bidirectional: every layer runs in both directions; the outputs are joined, forward first.
        dropout: probability of dropping a feature between layers.
        residual: from the second layer on, add a layer's input to its output (Wu et al. 2016).
        reverse: all layers run from each sequence's last step to its first.
        time_major: inputs and outputs have time first.
        rngs: the initial weights come from its stream "params".
        **layer_options: the options of `LSTM` and of `LSTMCell`, for every layer.

    >>> from flax import nnx
    >>> stack = StackedLSTM(3, 8, num_layers=2, bidirectional=True, rngs=nnx.Rngs(0))
    >>> stack(jnp.ones((2, 5, 3))).shape
    (2, 5, 16)
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        num_layers: int,
        *,
        bidirectional: bool = False,
        dropout: Rate = 0.0,
        residual: bool = False,
        reverse: bool = False,
        time_major: bool = False,
        rngs: nnx.Rngs,
        **layer_options: Unpack[LayerOptions],
    ) -> None:
        if num_layers < 1:
            raise ValueError(f"num_layers is {num_layers}: expected at least 1")
        if bidirectional and reverse:
            raise ValueError("bidirectional layers run in both directions: leave reverse out")
        self.in_features = in_features
        self.bidirectional = bidirectional
        self.residual = residual
        self.reverse = reverse
        self.time_major = time_major
        self.forward = nnx.List[LSTM]()
        self.backward = nnx.List[LSTM]()
        features = in_features
        for _ in range(num_layers):
            self.forward.append(LSTM(features, hidden_features, time_major=True, rngs=rngs, **layer_options))
            if bidirectional:
                self.backward.append(LSTM(features, hidden_features, time_major=True, rngs=rngs, **layer_options))
            features = self.forward[-1].cell.out_features * (2 if bidirectional else 1)
        self.out_features = features
        self.dropout = Dropout(check_rate(dropout, "dropout"))

    def run(self, x: Array, carry: tuple[Any, ...] | None, call: Call) -> tuple[tuple[Any, ...], Array]:
        """As `SequenceModule.run`; the layers run from the lowest to the top."""
        if call.reverse and self.bidirectional:
            raise ValueError("bidirectional layers run in both directions: leave reverse out")
        count = len(self.forward)
        carries = (None,) * count if carry is None else carry
        if len(carries) != count:
            raise ValueError(f"initial_carry has {len(carries)} parts: expected one for each of {count} layers")
        last = []
        for number, before in enumerate(carries):
            top = number == count - 1
            whole = call.return_sequence or not top
            after, y = self._layer(number, x, before, call._replace(return_sequence=whole))
            if self.residual and number > 0:
                y = y + (x if whole else self._last_inputs(x, call.seq_lengths, call.reverse))
            x = y if top else self.dropout(y, **call.random)
            last.append(after)
        return tuple(last), x

    def set_forget_bias(self, value: Float[Array, ""] | float) -> None:
        """Sets the bias of every forget gate.

        Args:
            value: as ``forget_bias`` of `LSTMCell`; it may be traced.
        """
        for layer in (*self.forward, *self.backward):
            layer.cell.bias[...] = with_forget_gate(layer.cell.bias[...], layer.cell.hidden_features, value)

    def _layer(self, number: int, x: Array, carry: Any, call: Call) -> tuple[Any, Array]:
        if not self.bidirectional:
            return self.forward[number].run(x, carry, call)
        carry_f, carry_b = (None, None) if carry is None else carry
        carry_f, ys_f = self.forward[number].run(x, carry_f, call)
        carry_b, ys_b = self.backward[number].run(x, carry_b, call._replace(reverse=True))
        return (carry_f, carry_b), jnp.concatenate([ys_f, ys_b], axis=-1)

    def _last_inputs(self, x: Array, seq_lengths: Array | None, reverse: bool) -> Array:
        """Returns the term that the residual connection adds to each direction's last step, shape (B, features)."""
        steps, batch, features = x.shape
        lengths = jnp.full(batch, steps) if seq_lengths is None else seq_lengths
        last = x[jnp.maximum(lengths - 1, 0), jnp.arange(batch)]
        ends = x[0] if reverse else last
        if self.bidirectional:
            ends = jnp.concatenate([last[:, : features // 2], x[0, :, features // 2 :]], axis=-1)
        return jnp.where((lengths > 0)[:, None], ends, jnp.zeros((), x.dtype))
