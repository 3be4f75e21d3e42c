"""One step of the LSTM: its equations and their derivative. All code that computes a plain LSTM calls these.

References:
    Hochreiter & Schmidhuber (1997), "Long short-term memory", Neural Computation 9(8).
    Gers, Schmidhuber & Cummins (2000), "Learning to forget", Neural Computation 12(10): the forget gate.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from lstmjax.ops.precision import product
from lstmjax.ops.recurrence import check_shapes

Carry = tuple[Float[Array, "..."], Float[Array, "..."]]
"""The state (c, h)."""
Gates = tuple[Array, Array, Array, Array]
"""The gates i, f, g, o of a step after their activations, shape (..., H) each."""


class LSTMWeights(NamedTuple):
    """The weights of one LSTM layer, the gates in the order i, f, g, o along the last axis."""

    kernel: Float[Array, "I 4*H"]
    """W, input to gates, shape (I, 4H)."""
    recurrent_kernel: Float[Array, "H 4*H"]
    """U, hidden state to gates, shape (H, 4H)."""
    bias: Float[Array, " 4*H"]
    """b, shape (4H,)."""


def weight_shapes(weights: LSTMWeights, x: Array) -> dict[str, tuple[Array, tuple[int, ...]]]:
    """Returns the weights by name with the shapes that fit inputs (..., I) and each other, for `check_shapes`."""
    hidden = weights.recurrent_kernel.shape[0]
    wanted = (x.shape[-1], 4 * hidden), (hidden, 4 * hidden), (4 * hidden,)
    names = (f"weights.{name}" for name in weights._fields)
    return dict(zip(names, zip(weights, wanted, strict=True), strict=True))


def next_state(c: Array, z: Array) -> tuple[Carry, Gates]:
    """The equations of the LSTM.

    Args:
        c: cell state before the step, shape (..., H).
        z: pre-activations x W + h U + b of all gates, shape (..., 4H).

    Returns:
        The state (c, h) after the step, and the gates.
    """
    i, f, g, o = jnp.split(z, 4, axis=-1)
    i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
    c = f * c + i * g
    h = o * jnp.tanh(c)
    return (c, h), (i, f, g, o)


def next_state_gradient(c: Array, c_new: Array, gates: Gates, dc_new: Array, dh_new: Array) -> tuple[Array, Array]:
    """The derivative of `next_state`: the gradients of its arguments from those of its results.

    Args:
        c: cell state before the step.
        c_new: cell state after the step.
        gates: as `next_state` returned them.
        dc_new: gradient of c_new.
        dh_new: gradient of h after the step.

    Returns:
        The gradients of c, shape (..., H), and of z, shape (..., 4H).
    """
    i, f, g, o = gates
    tanh_c = jnp.tanh(c_new)
    dc_new = dc_new + dh_new * o * (1 - tanh_c * tanh_c)
    di = dc_new * g * i * (1 - i)
    df = dc_new * c * f * (1 - f)
    dg = dc_new * i * (1 - g * g)
    do = dh_new * tanh_c * o * (1 - o)
    dz = jnp.concatenate([di, df, dg, do], axis=-1)
    return dc_new * f, dz


def lstm_step(
    weights: LSTMWeights, carry: Carry, x: Array, *, recurrent_mask: Array | None = None, dtype: DTypeLike | None = None
) -> tuple[Carry, Array]:
    """One step of an LSTM, in the form that `jax.lax.scan` repeats.

    Args:
        weights: W, U and b.
        carry: state (c, h) before the step, shape (..., H) each.
        x: input, shape (..., I).
        recurrent_mask: factor on the h that the gates read.
        dtype: of the products; default that of `x` and the weights together.

    Returns:
        The state (c, h) after the step, in the dtypes that it had before, and h.

    Raises:
        ValueError: the weights do not fit `x` or each other.

    >>> weights = LSTMWeights(jnp.zeros((3, 8)), jnp.zeros((2, 8)), jnp.ones(8))
    >>> carry, y = lstm_step(weights, (jnp.zeros((1, 2)), jnp.zeros((1, 2))), jnp.ones((1, 3)))
    >>> y.shape
    (1, 2)
    """
    check_shapes(weight_shapes(weights, x), x)
    c, h = carry
    dtype = jnp.result_type(x, *weights) if dtype is None else dtype
    h_in = masked(h, recurrent_mask)
    z = product(x, weights.kernel, dtype) + product(h_in, weights.recurrent_kernel, dtype)
    z = z + jnp.expand_dims(weights.bias, tuple(range(z.ndim - 1)))
    (c_new, h_new), _ = next_state(c, z)
    h_new = h_new.astype(h.dtype)
    return (c_new.astype(c.dtype), h_new), h_new


def masked(h: Array, recurrent_mask: Array | None) -> Array:
    """Returns the hidden state that the gates read."""
    return h if recurrent_mask is None else h * jnp.broadcast_to(recurrent_mask, h.shape).astype(h.dtype)
