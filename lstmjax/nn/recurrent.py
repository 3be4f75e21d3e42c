"""An LSTM layer over a whole sequence."""

from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from lstmjax import ops
from lstmjax.nn.cell import Carry, CellOptions, CellRunOptions, LSTMCell
from lstmjax.nn.regularization import Dropout, Rate, check_rate, draw_key, is_zero
from lstmjax.nn.sequence import Call, SequenceModule
from lstmjax.ops import recurrence
from lstmjax.ops.lstm import Implementation, check_options, warn_not_native
from lstmjax.ops.precision import wide


class LayerRunOptions(CellRunOptions, total=False):
    """The options of `LSTM` that have no weights, and that `StackedLSTM` passes to each of its layers."""

    input_dropout: Rate
    recurrent_dropout: Rate
    unroll: int | None
    remat: bool | int
    implementation: Implementation


class LayerOptions(LayerRunOptions, CellOptions, total=False):
    """All options of `LSTM` that `StackedLSTM` passes to each of its layers."""


class LSTM(SequenceModule[Carry]):
    """An LSTM over sequences of shape (B, T, I).

    The plain cell runs on `lstmjax.ops.lstm`, with its hand-written backward pass; variants of the cell (peepholes,
    projection, layer norm, zoneout, coupled gates, other activations) run on a scan that JAX differentiates.

    Args:
        in_features: features of the input.
        hidden_features: features of the cell state and, unless projected, of the output.
        reverse: run from each sequence's last step to its first.
        time_major: inputs and outputs have time first, (T, B, features).
        input_dropout: variational dropout of the input, one mask per sequence (Gal & Ghahramani 2016).
        recurrent_dropout: the same for the hidden state on its way into the next step's gates.
        unroll: steps in one iteration of the compiled loop; default 8 on a GPU, else 1.
        remat: keep only the states between chunks of about √T steps (or of this many), and run each chunk again in
            the backward pass: for sequences whose activations do not fit into memory.
        implementation: "auto", "native", "xla", "scan" (plain autodiff, which has a forward mode) or "cudnn"; see
            `lstmjax.ops.lstm`.
        rngs: initial weights come from its stream "params".
        **cell_options: the options of `LSTMCell`.

    >>> from flax import nnx
    >>> layer = LSTM(3, 8, rngs=nnx.Rngs(0))
    >>> layer(jnp.ones((2, 5, 3))).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        reverse: bool = False,
        time_major: bool = False,
        input_dropout: Rate = 0.0,
        recurrent_dropout: Rate = 0.0,
        unroll: int | None = None,
        remat: bool | int = False,
        implementation: Implementation = "auto",
        rngs: nnx.Rngs,
        **cell_options: Unpack[CellOptions],
    ) -> None:
        self.cell = LSTMCell(in_features, hidden_features, rngs=rngs, **cell_options)
        self.in_features = in_features
        self.reverse = reverse
        self.time_major = time_major
        self.input_dropout = Dropout(check_rate(input_dropout, "input_dropout"))
        self.recurrent_dropout = Dropout(check_rate(recurrent_dropout, "recurrent_dropout"))
        self.unroll = unroll
        self.remat = remat
        self.implementation = implementation
        check_options(implementation, remat, unroll)
        if implementation == "cudnn":
            self._check_cudnn()
        if implementation == "native" and not self.cell.is_plain:
            warn_not_native("the kernel computes the plain cell only")

    def run(self, x: Array, carry: Any, call: Call) -> tuple[Carry, Array]:
        """As `SequenceModule.run`."""
        cell, batch = self.cell, x.shape[1]
        if carry is not None:
            c, h = (carry[0], (batch, cell.hidden_features)), (carry[1], (batch, cell.out_features))
            recurrence.check_shapes({"initial_carry's c": c, "initial_carry's h": h})
        input_mask = self.input_dropout.mask((1, *x.shape[1:]), x.dtype, **call.random)
        if input_mask is not None:
            x = x * input_mask
        mask = self.recurrent_dropout.mask((batch, cell.out_features), x.dtype, **call.random)
        if not cell.is_plain:
            last, ys = self._run_variant(x, carry, mask, call)
        else:
            last, ys = ops.lstm(
                cell.weights,
                x,
                carry,
                seq_lengths=call.seq_lengths,
                recurrent_mask=mask,
                reverse=call.reverse,
                time_major=True,
                unroll=self.unroll,
                return_sequence=call.return_sequence,
                remat=self.remat,
                dtype=cell.dtype,
                implementation=self.implementation,
            )
        return last, last[1] if ys is None else ys

    def _run_variant(self, x: Array, carry: Any, mask: Array | None, call: Call) -> tuple[Carry, Array | None]:
        """Runs a cell that `lstmjax.ops.lstm` does not know."""
        cell, deterministic = self.cell, call.random["deterministic"]
        dtype = cell.compute_dtype(x)
        c, h = cell.initialize_carry(x.shape[1:]) if carry is None else carry
        x, valid = recurrence.pad(x, call.seq_lengths)
        keys = None
        if cell.draws(deterministic):
            keys = jax.random.split(draw_key(call.random["rngs"], "zoneout"), x.shape[0])
        carry = recurrence.vary_alike((c.astype(wide(dtype)), h.astype(dtype)), (x, valid, mask, nnx.state(cell)))

        def step(carry: Carry, inputs: tuple[Array, Array | None]) -> tuple[Carry, Array]:
            x, key = inputs
            return cell.step(carry, x, recurrent_mask=mask, zoneout_key=key, deterministic=deterministic)

        def chunk(carry: Carry, inputs: tuple) -> tuple[Carry, Array | None]:
            xs, valid = inputs
            return recurrence.recur(
                step,
                carry,
                xs,
                valid=valid,
                reverse=call.reverse,
                unroll=self.unroll,
                return_sequence=call.return_sequence,
            )

        return recurrence.in_chunks(chunk, carry, ((x, keys), valid), remat=self.remat, reverse=call.reverse)

    def _check_cudnn(self) -> None:
        if not self.cell.is_plain:
            raise ValueError('implementation="cudnn" computes the plain cell only: use "auto" for its variants')
        if not is_zero(self.recurrent_dropout.rate):
            raise ValueError('implementation="cudnn" has no recurrent dropout: use "auto"')
        if self.cell.dtype is not None and jnp.dtype(self.cell.dtype) != jnp.float32:
            raise ValueError(f'implementation="cudnn" computes in float32, not {self.cell.dtype}: use "auto"')
