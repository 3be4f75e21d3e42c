"""What `LSTM` and `StackedLSTM` have in common: how they are called with whole sequences."""

from typing import Any, Generic, Literal, NamedTuple, TypedDict, TypeVar, Unpack, overload

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from lstmjax.nn.regularization import Rngs
from lstmjax.ops import recurrence

Carry = TypeVar("Carry")


class CallOptions(TypedDict, total=False):
    """The arguments of `SequenceModule.__call__`, which explains them, that do not change the type of its result."""

    seq_lengths: Int[Array, " B"] | None
    initial_carry: Any
    return_sequence: bool
    keep_order: bool | None
    time_major: bool | None
    reverse: bool | None
    rngs: Rngs | None
    deterministic: bool | None


class Call(NamedTuple):
    """What a call asks for, with the defaults of the module filled in."""

    seq_lengths: Array | None
    reverse: bool
    return_sequence: bool
    random: dict[str, Any]
    """``rngs`` and ``deterministic``, as all modules with random numbers take them."""


class SequenceModule(nnx.Module, Generic[Carry]):
    """A recurrent module over sequences of shape (B, T, features).

    Attributes:
        in_features: features of the input.
        reverse: run from each sequence's last step to its first.
        time_major: inputs and outputs have time first.
    """

    in_features: int
    reverse: bool
    time_major: bool

    @overload
    def __call__(
        self, x: Float[Array, "_ _ I"], *, return_carry: Literal[True], **options: Unpack[CallOptions]
    ) -> tuple[Carry, Array]: ...

    @overload
    def __call__(
        self, x: Float[Array, "_ _ I"], *, return_carry: Literal[False] | None = False, **options: Unpack[CallOptions]
    ) -> Array: ...

    @overload
    def __call__(
        self, x: Float[Array, "_ _ I"], *, return_carry: bool | None, **options: Unpack[CallOptions]
    ) -> Array | tuple[Carry, Array]: ...

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
    ) -> Array | tuple[Carry, Array]:
        """Runs the module over sequences.

        Args:
            x: inputs, shape (B, T, I), or (T, B, I) if `time_major`.
            seq_lengths: steps that count in each sequence, shape (B,); default all. Later steps output zeros, leave the
                state as it is and get no gradient.
            initial_carry: state before the first step: (c, h) for an `LSTM`; for a `StackedLSTM` one (c, h) per layer,
                or a pair (forward, backward) of them if bidirectional. Default zeros.
            return_carry: return the last state too, before the outputs.
            return_sequence: False for the output of each sequence's last step only, shape (B, features): the outputs of
                the others are then never held in memory. A bidirectional module returns the last step of each
                direction, which has seen the whole sequence. (For a sequence of length 0 it is the initial h.)
            keep_order: with `reverse`, outputs in the order of the inputs, as bidirectional outputs always are;
                otherwise in the order of computation.
            time_major: default as in the constructor.
            reverse: default as in the constructor.
            rngs: where dropout and zoneout masks come from (stream "dropout").
            deterministic: no dropout; default as set by `train()` or `eval()`.

        Returns:
            Outputs of shape (B, T, features), or (state, outputs) with `return_carry`.

        Raises:
            ValueError: shapes that do not fit each other or the module.
        """
        time_major = self.time_major if time_major is None else time_major
        reverse = self.reverse if reverse is None else reverse
        batch = recurrence.batch_size(x, time_major)
        expected = {"x": (x, (*x.shape[:2], self.in_features)), "seq_lengths": (seq_lengths, (batch,))}
        recurrence.check_shapes(expected, x)
        if not time_major:
            x = jnp.swapaxes(x, 0, 1)  # (T, B, I)
        call = Call(seq_lengths, reverse, return_sequence, {"rngs": rngs, "deterministic": deterministic})
        carry, ys = self.run(x, initial_carry, call)
        if return_sequence:
            if reverse and not keep_order:
                ys = recurrence.flip_sequences(ys, seq_lengths)
            if not time_major:
                ys = jnp.swapaxes(ys, 0, 1)  # (B, T, features)
        return (carry, ys) if return_carry else ys

    def run(self, x: Array, carry: Carry | None, call: Call) -> tuple[Carry, Array]:
        """Runs over `x` with time first, (T, B, I); returns the last carry, and the outputs in the order of `x`."""
        raise NotImplementedError
