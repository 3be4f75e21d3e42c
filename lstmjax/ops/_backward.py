"""The plain LSTM over time with a backward pass written by hand.

    i, f, g, o = split(x_t W + (m * h_{t-1}) U + b)
    c_t = σ(f) * c_{t-1} + σ(i) * tanh(g)
    h_t = σ(o) * tanh(c_t)

Autodiff of a scan adds up the weight gradients step by step, one small product each. Here the reverse scan only
follows the gradients of the gates back through time; all others are single large products after it.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike


class Arrays(NamedTuple):
    """All arrays that the recurrence depends on, time first."""

    kernel: jax.Array
    recurrent_kernel: jax.Array
    bias: jax.Array
    x: jax.Array
    c: jax.Array
    h: jax.Array
    recurrent_mask: jax.Array | None
    valid: jax.Array | None


class Options(NamedTuple):
    """What the compiled program depends on."""

    reverse: bool
    unroll: int
    return_sequence: bool
    dtype: DTypeLike


class Activations(NamedTuple):
    """What the backward pass needs of each step, shape (T, B, H) each: the carry before it and its gates."""

    c: jax.Array
    h: jax.Array
    i: jax.Array
    f: jax.Array
    g: jax.Array
    o: jax.Array


def product(a: jax.Array, b: jax.Array, dtype: DTypeLike) -> jax.Array:
    """``a @ b`` with factors of `dtype` and the sum in at least float32."""
    return jnp.matmul(a.astype(dtype), b.astype(dtype), preferred_element_type=jnp.promote_types(dtype, jnp.float32))


def gates(z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """The gates i, f, g, o of the pre-activations (..., 4H)."""
    i, f, g, o = jnp.split(z, 4, axis=-1)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)


def _forward(options: Options, arrays: Arrays, *, keep: bool) -> tuple:
    kernel, recurrent_kernel, bias, x, c, h, recurrent_mask, valid = arrays
    dtype = options.dtype

    def step(carry: tuple, inputs: tuple) -> tuple[tuple, Any]:
        c, h = carry
        x, valid = inputs
        h_in = h if recurrent_mask is None else h * recurrent_mask
        i, f, g, o = gates(product(x, kernel, dtype) + product(h_in, recurrent_kernel, dtype) + bias)
        c_new = f * c + i * g
        h_new = (o * jnp.tanh(c_new)).astype(h.dtype)
        y = h_new
        if valid is not None:
            c_new, h_new = jnp.where(valid, c_new, c), jnp.where(valid, h_new, h)
            y = jnp.where(valid, y, jnp.zeros((), y.dtype))
        kept = Activations(c, h, *(gate.astype(dtype) for gate in (i, f, g, o))) if keep else None
        return (c_new, h_new), (y if options.return_sequence else None, kept)

    carry, (ys, kept) = jax.lax.scan(step, (c, h), (x, valid), reverse=options.reverse, unroll=options.unroll)
    return carry, ys, kept


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def recurrence(options: Options, arrays: Arrays) -> tuple[tuple[jax.Array, jax.Array], jax.Array | None]:
    """The LSTM over time; see `lstmjax.ops.lstm`, which prepares the arrays."""
    carry, ys, _ = _forward(options, arrays, keep=False)
    return carry, ys


def _recurrence_fwd(options: Options, arrays: Arrays) -> tuple:
    carry, ys, kept = _forward(options, arrays, keep=True)
    return (carry, ys), (arrays, kept, carry[0])


def _recurrence_bwd(options: Options, residuals: tuple, cotangents: tuple) -> tuple[Arrays]:
    arrays, kept, c_last = residuals
    (dc, dh), dys = cotangents
    dtype, dc_dtype = options.dtype, dc.dtype
    recurrent_mask, transposed = arrays.recurrent_mask, arrays.recurrent_kernel.T

    def step(carry: tuple, inputs: tuple) -> tuple[tuple, Any]:
        dc, dh, c_new = carry
        dy, valid, (c, _, i, f, g, o) = inputs
        dh_new = dh if dy is None else dh + dy.astype(dh.dtype)
        tanh_c = jnp.tanh(c_new)
        dc_new = dc + dh_new * o * (1 - tanh_c * tanh_c)
        di = dc_new * g * i * (1 - i)
        df = dc_new * c * f * (1 - f)
        dg = dc_new * i * (1 - g * g)
        do = dh_new * tanh_c * o * (1 - o)
        dz = jnp.concatenate([di, df, dg, do], axis=-1)
        dc_old = dc_new * f
        if valid is not None:
            dz = jnp.where(valid, dz, jnp.zeros((), dz.dtype))
            dc_old = jnp.where(valid, dc_old, dc)
        dz = dz.astype(dtype)
        dh_old = product(dz, transposed, dtype)
        if recurrent_mask is not None:
            dh_old = dh_old * recurrent_mask
        if valid is not None:
            dh_old = jnp.where(valid, dh_old, dh)
        return (dc_old.astype(dc_dtype), dh_old.astype(dc_dtype), c), dz

    (dc, dh, _), dz = jax.lax.scan(
        step,
        (dc, dh.astype(dc_dtype), c_last),
        (dys, arrays.valid, kept),
        reverse=not options.reverse,
        unroll=options.unroll,
    )
    return (_gradients(arrays, kept.h, dz, dc, dh, dtype),)


def _gradients(arrays: Arrays, h: jax.Array, dz: jax.Array, dc: jax.Array, dh: jax.Array, dtype: DTypeLike) -> Arrays:
    """The gradients of all arrays from those of the gates, as single large products.

    Written as einsums over time and batch, not as a reshape to T*B rows: with the batch split over devices the
    compiler then adds up each weight gradient in place and exchanges nothing else.
    """
    total = jnp.promote_types(dtype, jnp.float32)
    weight_gradient = functools.partial(jnp.einsum, "tbi,tbg->ig", preferred_element_type=total)
    recurrent_mask = arrays.recurrent_mask
    h_in, dmask = h, None
    if recurrent_mask is not None:
        h_in = h * recurrent_mask
        dmask = jnp.einsum("tbh,tbh->bh", h.astype(total), product(dz, arrays.recurrent_kernel.T, dtype))
        dmask = dmask.astype(recurrent_mask.dtype)
    return Arrays(
        kernel=weight_gradient(arrays.x.astype(dtype), dz).astype(arrays.kernel.dtype),
        recurrent_kernel=weight_gradient(h_in.astype(dtype), dz).astype(arrays.recurrent_kernel.dtype),
        bias=jnp.sum(dz, axis=(0, 1), dtype=total).astype(arrays.bias.dtype),
        x=product(dz, arrays.kernel.T, dtype).astype(arrays.x.dtype),
        c=dc.astype(arrays.c.dtype),
        h=dh.astype(arrays.h.dtype),
        recurrent_mask=dmask,
        valid=None,
    )


recurrence.defvjp(_recurrence_fwd, _recurrence_bwd)
