"""The LSTM over time: one function, several implementations of the repetition of `lstmjax.ops.step`."""

import functools
import os
import warnings
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from lstmjax.ops import _backward, _cudnn, _library, _native, recurrence
from lstmjax.ops.precision import wide
from lstmjax.ops.step import Carry, LSTMWeights, lstm_step, weight_shapes

Implementation = Literal["auto", "native", "xla", "scan", "cudnn"]

VARIABLE = "LSTMJAX_LSTM"
"""The environment variable that says what "auto" stands for, read when a program is traced."""


def lstm(
    weights: LSTMWeights,
    x: Float[Array, "_ _ I"],
    carry: tuple[Float[Array, "B H"], Float[Array, "B H"]] | None = None,
    *,
    seq_lengths: Int[Array, " B"] | None = None,
    recurrent_mask: Float[Array, "B H"] | None = None,
    reverse: bool = False,
    time_major: bool = False,
    unroll: int | None = None,
    return_sequence: bool = True,
    remat: bool | int = False,
    dtype: DTypeLike | None = None,
    implementation: Implementation = "auto",
) -> tuple[tuple[Float[Array, "B H"], Float[Array, "B H"]], Float[Array, "_ _ H"] | None]:
    """Runs an LSTM layer over a batch of sequences.

    Args:
        weights: the layer's weights.
        x: inputs, shape (B, T, I), or (T, B, I) if `time_major`.
        carry: state (c, h) before the first step, shape (B, H) each; default zeros.
        seq_lengths: steps that count in each sequence, shape (B,); default all. Later steps output zeros,
            leave the state as it is and get no gradient. A sequence of length 0 returns its initial state.
        recurrent_mask: factor on the hidden state that the next step's gates read, shape (B, H), the same for the
            whole sequence: recurrent dropout (Gal & Ghahramani 2016).
        reverse: run from each sequence's last step to its first; the outputs have the order of the inputs.
        time_major: `x` and the outputs have time first.
        unroll: steps in one iteration of the compiled loop: more of them take longer to compile. Default: 8 on a GPU,
            else 1.
        return_sequence: False to return the last state only, and never hold all outputs in memory.
        remat: True to run the forward pass in chunks of about √T steps, and each of them again in the backward pass,
            so that memory grows as √T; a number sets the steps per chunk.
        dtype: of the products, e.g. `jnp.bfloat16`; default that of `x` and the weights together. The cell state c
            and all sums are float32 at least; h and the outputs are of `dtype`.
        implementation: "auto", the fastest of the next two that applies; "native", the kernel of `docs/cpu_kernel.md`
            (on CPU, in float32), and where it does not apply "xla", with one warning; "xla", JAX code with a backward
            pass written by hand; "scan", plain autodiff, which has a forward mode too; "cudnn", NVIDIA's kernel.
            ``$LSTMJAX_LSTM`` says what "auto" stands for.

    Returns:
        The last state (c, h), shape (B, H) each, and the outputs, shape as `x` with H features, or None.

    Raises:
        ValueError: shapes do not fit each other, an option is unknown, or cuDNN does not support it.

    >>> weights = LSTMWeights(jnp.zeros((3, 8)), jnp.zeros((2, 8)), jnp.ones(8))
    >>> (c, h), ys = lstm(weights, jnp.ones((1, 5, 3)))
    >>> ys.shape, h.shape
    ((1, 5, 2), (1, 2))
    """
    check_options(implementation, remat, unroll)
    run = _IMPLEMENTATIONS[_named(implementation)]
    hidden = weights.recurrent_kernel.shape[0]
    batch = recurrence.batch_size(x, time_major)
    c, h = (None, None) if carry is None else carry
    expected = weight_shapes(weights, x) | {
        "carry's c": (c, (batch, hidden)),
        "carry's h": (h, (batch, hidden)),
        "seq_lengths": (seq_lengths, (batch,)),
        "recurrent_mask": (recurrent_mask, (batch, hidden)),
    }
    recurrence.check_shapes(expected, x)
    if not time_major:
        x = jnp.swapaxes(x, 0, 1)  # (T, B, I)
    arrays, dtype = _prepare(weights, x, carry, seq_lengths, recurrent_mask, dtype)
    options = _backward.Options(
        reverse=reverse, unroll=recurrence.steps_unrolled(unroll), return_sequence=return_sequence, dtype=dtype
    )

    def chunk(carry: Carry, inputs: Any) -> tuple[Carry, jax.Array | None]:
        return run(options, arrays._replace(carry=carry, x=inputs[0], valid=inputs[1]))

    last, ys = recurrence.in_chunks(chunk, arrays.carry, (arrays.x, arrays.valid), remat=remat, reverse=reverse)
    if ys is not None and not time_major:
        ys = jnp.swapaxes(ys, 0, 1)  # (B, T, H)
    return last, ys


def _scan(options: _backward.Options, arrays: _backward.Arrays) -> tuple[Carry, jax.Array | None]:
    """Runs the same recurrence in a form that JAX differentiates."""
    reverse, unroll, return_sequence, dtype = options
    step = functools.partial(lstm_step, arrays.weights, recurrent_mask=arrays.recurrent_mask, dtype=dtype)
    carry, xs, valid = arrays.carry, arrays.x, arrays.valid
    return recurrence.recur(
        step, carry, xs, valid=valid, reverse=reverse, unroll=unroll, return_sequence=return_sequence
    )


def _native_or_jax(
    options: _backward.Options, arrays: _backward.Arrays, *, by_name: bool
) -> tuple[Carry, jax.Array | None]:
    """Runs the native kernel where it applies, else the JAX code; asked for by name it says so."""
    reason = _native.why_not(options, arrays)
    if reason is not None and by_name:
        warn_not_native(reason)
    return (_native if reason is None else _backward).recurrence(options, arrays)


@functools.cache
def warn_not_native(reason: str) -> None:
    """Warns, once per reason, that the native kernel was asked for by name and does not run."""
    warnings.warn(f'implementation="native": the JAX code runs instead: {reason}', RuntimeWarning, stacklevel=4)


_IMPLEMENTATIONS: dict[str, Any] = {
    "auto": functools.partial(_native_or_jax, by_name=False),
    "native": functools.partial(_native_or_jax, by_name=True),
    "xla": _backward.recurrence,
    "scan": _scan,
    "cudnn": _cudnn.cudnn,
}


def _named(implementation: str) -> str:
    """Returns the implementation to run: where it is "auto", the one that `VARIABLE` names.

    Raises:
        ValueError: the variable names none.
    """
    if implementation != "auto":
        return implementation
    named = os.environ.get(VARIABLE) or "auto"
    if named not in _IMPLEMENTATIONS:
        raise ValueError(f"{VARIABLE} is {named!r}: expected one of {', '.join(_IMPLEMENTATIONS)}")
    return named


def chosen() -> tuple[str, str]:
    """Returns what "auto" stands for on this machine, such as "native avx512" or "xla", and why.

    Raises:
        ValueError: an environment variable has an unknown value.
    """
    named = _named("auto")
    if named not in ("auto", "native"):
        return named, f"{VARIABLE} says so"
    if jax.default_backend() != "cpu":
        return "xla", "the native kernel runs on CPU"
    library = _library.load()
    if isinstance(library, str):
        return "xla", library
    return f"native {library.instructions}", str(library.path)


def check_options(name: str, remat: bool | int, unroll: int | None) -> None:
    """Validates options of `lstm`.

    Args:
        name: of the implementation.
        remat: as in `lstm`.
        unroll: as in `lstm`.

    Raises:
        ValueError: an option is unknown, or cuDNN does not support it.
    """
    if name not in _IMPLEMENTATIONS:
        raise ValueError(f"implementation is {name!r}: expected one of {', '.join(_IMPLEMENTATIONS)}")
    if remat is not False and remat < 1:
        raise ValueError(f"remat is {remat}: expected True, False or a number of steps")
    if unroll is not None and unroll < 1:
        raise ValueError(f"unroll is {unroll}: expected at least 1")
    if name == "cudnn" and remat is not False:
        raise ValueError('implementation="cudnn" has its own storage of activations: leave remat out, or use "auto"')


def _prepare(
    weights: LSTMWeights, x: Any, carry: Any, seq_lengths: Any, recurrent_mask: Any, dtype: Any
) -> tuple[_backward.Arrays, DTypeLike]:
    """Returns all arrays time first, in the dtypes of the computation, varying over the same mesh axes."""
    batch, hidden = x.shape[1], weights.recurrent_kernel.shape[0]
    dtype = jnp.dtype(jnp.result_type(x, *weights) if dtype is None else dtype)
    if carry is None:
        carry = jnp.zeros((batch, hidden)), jnp.zeros((batch, hidden))
    x, valid = recurrence.pad(x, seq_lengths)
    if recurrent_mask is not None:
        recurrent_mask = recurrent_mask.astype(dtype)
    carry = carry[0].astype(wide(dtype)), carry[1].astype(dtype)
    weights = weights._replace(bias=weights.bias.astype(wide(dtype)))
    return recurrence.vary_alike(_backward.Arrays(weights, x.astype(dtype), carry, recurrent_mask, valid)), dtype
