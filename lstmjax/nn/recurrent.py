"""An LSTM layer over a whole sequence."""

from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from lstmjax import ops
from lstmjax.nn.cell import Carry, CellOptions, LSTMCell
from lstmjax.nn.regularization import Dropout, Rate, Rngs, check_rate, draw_key, is_zero
from lstmjax.ops import recurrence
from lstmjax.ops.lstm import Implementation, check_options
from lstmjax.ops.precision import wide


class LayerOptions(CellOptions, total=False):
    """The options of `LSTM` that `StackedLSTM` passes to each of its layers."""

    input_dropout: Rate
    recurrent_dropout: Rate
    unroll: int | None
    remat: bool | int
    implementation: Implementation


class LSTM(nnx.Module):
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
        implementation: "auto", "scan" (plain autodiff, which has a forward mode) or "cudnn"; see `lstmjax.ops.lstm`.
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

    def __call__(
        self,
        x: Float[Array, "_ _ I"],
        *,
        seq_lengths: Int[Array, " B"] | None = None,
        initial_carry: Carry | None = None,
        return_carry: bool | None = False,
        return_sequence: bool = True,
        keep_order: bool | None = False,
        time_major: bool | None = None,
        reverse: bool | None = None,
        rngs: Rngs | None = None,
        deterministic: bool | None = None,
    ) -> Any:
        """Runs the layer.

        Args:
            x: inputs, shape (B, T, I), or (T, B, I) if `time_major`.
            seq_lengths: steps that count in each sequence, shape (B,); default all. Later steps output zeros, leave the
                state as it is and get no gradient.
            initial_carry: state (c, h) before the first step; default zeros.
            return_carry: return the last state too, before the outputs.
            return_sequence: False for the output of each sequence's last step only, shape (B, H): the outputs of the
                others are then never held in memory. (For a sequence of length 0 it is the initial h.)
            keep_order: with `reverse`, outputs in the order of the inputs; otherwise in the order of computation.
            time_major: default as in the constructor.
            reverse: default as in the constructor.
            rngs: where dropout and zoneout masks come from (stream "dropout").
            deterministic: no dropout; default as set by `train()` or `eval()`.

        Returns:
            Outputs of shape (B, T, H), or ((c, h), outputs) with `return_carry`.

        Raises:
            ValueError: shapes that do not fit each other or the layer.
        """
        time_major = self.time_major if time_major is None else time_major
        reverse = self.reverse if reverse is None else reverse
        self._check_shapes(x, initial_carry, seq_lengths, time_major)
        if not time_major:
            x = jnp.swapaxes(x, 0, 1)  # (T, B, I)
        random: dict[str, Any] = {"rngs": rngs, "deterministic": deterministic}
        batch = x.shape[1]
        input_mask = self.input_dropout.mask((1, batch, x.shape[2]), x.dtype, **random)
        if input_mask is not None:
            x = x * input_mask
        recurrent_mask = self.recurrent_dropout.mask((batch, self.cell.out_features), x.dtype, **random)
        options: dict[str, Any] = {
            "seq_lengths": seq_lengths,
            "recurrent_mask": recurrent_mask,
            "reverse": reverse,
            "return_sequence": return_sequence,
            "remat": self.remat,
            "unroll": self.unroll,
        }
        if self.cell.is_plain:
            options |= {"time_major": True, "dtype": self.cell.dtype, "implementation": self.implementation}
            carry, ys = ops.lstm(self.cell.weights, x, initial_carry, **options)
        else:
            carry, ys = _run_variant(self.cell, x, initial_carry, **options, **random)
        if ys is None:
            ys = carry[1]
        elif reverse and not keep_order:
            ys = recurrence.flip_sequences(ys, seq_lengths)
        if return_sequence and not time_major:
            ys = jnp.swapaxes(ys, 0, 1)  # (B, T, H)
        return (carry, ys) if return_carry else ys

    def _check_shapes(self, x: Any, carry: Any, seq_lengths: Any, time_major: bool) -> None:
        batch = recurrence.batch_size(x, time_major)
        c, h = (None, None) if carry is None else carry
        recurrence.check_shapes(
            x,
            {
                "x": (x, (*x.shape[:2], self.cell.in_features)),
                "initial_carry's c": (c, (batch, self.cell.hidden_features)),
                "initial_carry's h": (h, (batch, self.cell.out_features)),
                "seq_lengths": (seq_lengths, (batch,)),
            },
        )

    def _check_cudnn(self) -> None:
        if not self.cell.is_plain:
            raise ValueError('implementation="cudnn" computes the plain cell only: use "auto" for its variants')
        if not is_zero(self.recurrent_dropout.rate):
            raise ValueError('implementation="cudnn" has no recurrent dropout: use "auto"')
        if self.cell.dtype is not None and jnp.dtype(self.cell.dtype) != jnp.float32:
            raise ValueError(f'implementation="cudnn" computes in float32, not {self.cell.dtype}: use "auto"')


def _run_variant(
    cell: LSTMCell,
    x: Array,
    carry: Carry | None,
    *,
    seq_lengths: Array | None,
    recurrent_mask: Array | None,
    remat: bool | int,
    rngs: Rngs | None,
    deterministic: bool | None,
    **options: Any,
) -> tuple[Carry, Array | None]:
    """Runs a cell that `lstmjax.ops.lstm` does not know; time first, ``options`` those of `recurrence.recur`."""
    steps, dtype = x.shape[0], cell.compute_dtype(x)
    c, h = cell.initialize_carry(x.shape[1:]) if carry is None else carry
    valid = None
    if seq_lengths is not None:
        valid = recurrence.valid_steps(seq_lengths, steps)
        x = recurrence.zero_padding(x, valid)
    keys = None
    if cell.draws(deterministic):
        keys = jax.random.split(draw_key(rngs, "zoneout"), steps)
    carry = recurrence.vary_alike((c.astype(wide(dtype)), h.astype(dtype)), (x, valid, recurrent_mask, nnx.state(cell)))

    def step(carry: Carry, inputs: tuple[Array, Array | None]) -> tuple[Carry, Array]:
        x, key = inputs
        return cell.step(carry, x, recurrent_mask=recurrent_mask, zoneout_key=key, deterministic=deterministic)

    def chunk(carry: Carry, inputs: tuple) -> tuple[Carry, Array | None]:
        xs, valid = inputs
        return recurrence.recur(step, carry, xs, valid=valid, **options)

    return recurrence.in_chunks(chunk, carry, ((x, keys), valid), remat=remat, reverse=options["reverse"])
