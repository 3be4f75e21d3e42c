"""The plain LSTM over time with a backward pass written by hand.

    i, f, g, o = split(x_t W + (m * h_{t-1}) U + b)
    c_t = σ(f) * c_{t-1} + σ(i) * tanh(g)
    h_t = σ(o) * tanh(c_t)

Autodiff of a scan adds up the weight gradients step by step, one small product each. Here the reverse scan only
follows the gradients of the gates back through time; all others are single large products after it. Both passes are
ordinary JAX, so that a second derivative goes through them.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.typing import DTypeLike

from lstmjax.ops.precision import product, wide

State = tuple[jax.Array, jax.Array]


class Arrays(NamedTuple):
    """All that the recurrence depends on, time first."""

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
    dtype: Any


class Kept(NamedTuple):
    """What the backward pass needs of each step, shape (T, B, H) each: the state before it and its gates.

    Six outputs of the scan: joining the gates into one array costs more than it saves.
    """

    c: jax.Array
    h: jax.Array
    i: jax.Array
    f: jax.Array
    g: jax.Array
    o: jax.Array


def project(x: jax.Array, kernel: jax.Array, bias: jax.Array, dtype: DTypeLike) -> jax.Array:
    """The input's part of the pre-activations, ``x W + b``."""
    return product(x, kernel, dtype) + jnp.expand_dims(bias, tuple(range(x.ndim - 1)))


def gates(z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """The gates i, f, g, o of the pre-activations (..., 4H)."""
    i, f, g, o = jnp.split(z, 4, axis=-1)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)


def masked(h: jax.Array, recurrent_mask: jax.Array | None) -> jax.Array:
    """The hidden state as the gates see it."""
    return h if recurrent_mask is None else h * jnp.broadcast_to(recurrent_mask, h.shape).astype(h.dtype)


def forward(options: Options, arrays: Arrays, *, keep: bool) -> tuple[State, jax.Array | None, Kept | None]:
    """The recurrence: the last state, the outputs, and what the backward pass needs if `keep`."""
    run = functools.partial(_forward, options, keep=keep)
    if arrays.kernel.shape[0] >= HOIST_FROM:
        return run(arrays, hoist=True)
    return jax.lax.platform_dependent(
        arrays, cpu=functools.partial(run, hoist=False), default=functools.partial(run, hoist=True)
    )


HOIST_FROM = 512
"""Where the input projection x W leaves the scan: at so many input features on CPU, always elsewhere.

This is the one place where shape and platform decide. Before the scan the projection is one large product, which
keeps an accelerator busy where step after step would start a small one. On a CPU the small product is as fast, and
holding all pre-activations only costs traffic to memory (a tenth to a third of the time), until the inputs are so
wide that both are equal on one core, and the large product can have the others too. The branch is on I (never on B
or T, which may be symbolic in an exported program) and on the platform that is compiled for (not the one that
traces). Activations are stored at every shape: recomputing the gates by large products was slower by a sixth to a
third on CPU; where memory is short, `remat` runs whole chunks again.
"""


def _forward(
    options: Options, arrays: Arrays, *, keep: bool, hoist: bool
) -> tuple[State, jax.Array | None, Kept | None]:
    kernel, recurrent_kernel, bias, x, c, h, recurrent_mask, valid = arrays
    dtype = options.dtype
    stacked = jnp.concatenate([kernel, recurrent_kernel])  # (I + H, 4H)

    def preactivations(x: jax.Array, h: jax.Array) -> jax.Array:
        h = masked(h, recurrent_mask)
        if hoist:
            return x + product(h, recurrent_kernel, dtype)
        # One product rather than two: that of a few input features alone would take as long as the other.
        return product(jnp.concatenate([x, h], axis=-1), stacked, dtype) + bias[None]

    def step(carry: State, inputs: tuple) -> tuple[State, tuple]:
        c, h = carry
        x, valid = inputs
        i, f, g, o = gates(preactivations(x, h))
        c_new = f * c + i * g
        h_new = (o * jnp.tanh(c_new)).astype(dtype)
        y = h_new
        if valid is not None:
            c_new, h_new = jnp.where(valid, c_new, c), jnp.where(valid, h_new, h)
            y = jnp.where(valid, y, jnp.zeros((), dtype))
        kept = Kept(c, h, *(gate.astype(dtype) for gate in (i, f, g, o))) if keep else None
        return (c_new, h_new), (y if options.return_sequence else None, kept)

    xs = (project(x, kernel, bias, dtype) if hoist else x, valid)
    last, (ys, kept) = jax.lax.scan(step, (c, h), xs, reverse=options.reverse, unroll=options.unroll)
    return last, ys, kept


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def recurrence(options: Options, arrays: Arrays) -> tuple[State, jax.Array | None]:
    """The LSTM over time; `lstmjax.ops.lstm` prepares the arrays."""
    last, ys, _ = forward(options, arrays, keep=False)
    return last, ys


def _recurrence_fwd(options: Options, arrays: Arrays) -> tuple[tuple[State, jax.Array | None], tuple]:
    last, ys, kept = forward(options, arrays, keep=True)
    return (last, ys), (arrays, kept, last[0])


def _recurrence_bwd(
    options: Options, residuals: tuple[Arrays, Kept, jax.Array], cotangents: tuple[State, jax.Array | None]
) -> tuple[Arrays]:
    arrays, kept, c_last = residuals
    (dc, dh), dys = cotangents
    dtype, recurrent_mask = options.dtype, arrays.recurrent_mask
    transposed = arrays.recurrent_kernel.T

    def step(carry: tuple, inputs: tuple) -> tuple[tuple, jax.Array]:
        dc, dh, c_new = carry
        dy, valid, kept = inputs
        c, i, f, g, o = (a.astype(c_new.dtype) for a in (kept.c, kept.i, kept.f, kept.g, kept.o))
        dh_new = dh if dy is None else dh + dy.astype(dh.dtype)
        tanh_c = jnp.tanh(c_new)
        dc_new = dc + dh_new * o * (1 - tanh_c * tanh_c)
        di = dc_new * g * i * (1 - i)
        df = dc_new * c * f * (1 - f)
        dg = dc_new * i * (1 - g * g)
        do = dh_new * tanh_c * o * (1 - o)
        dz = jnp.concatenate([di, df, dg, do], axis=-1).astype(dtype)
        dc_old = dc_new * f
        if valid is not None:
            dz = jnp.where(valid, dz, jnp.zeros((), dtype))
            dc_old = jnp.where(valid, dc_old, dc)
        dh_old = masked(product(dz, transposed, dtype), recurrent_mask)
        if valid is not None:
            dh_old = jnp.where(valid, dh_old, dh)
        return (dc_old, dh_old, c), dz

    (dc, dh, _), dz = jax.lax.scan(
        step,
        (dc, dh.astype(dc.dtype), c_last),
        (dys, arrays.valid, kept),
        reverse=not options.reverse,
        unroll=options.unroll,
    )
    return (_gradients(arrays, kept.h, dz, dc, dh, dtype),)


def _gradients(arrays: Arrays, h: jax.Array, dz: jax.Array, dc: jax.Array, dh: jax.Array, dtype: DTypeLike) -> Arrays:
    """The gradients of all arrays from those of the gates; what nobody asks for, the compiler leaves out."""
    recurrent_mask = arrays.recurrent_mask
    features = arrays.x.shape[-1]
    inputs = jnp.concatenate([arrays.x, masked(h, recurrent_mask), jnp.ones_like(dz[..., :1])], axis=-1)
    weights = _sum_of_products(inputs, dz)  # (I + H + 1, 4H)
    dmask = None
    if recurrent_mask is not None:
        dh_in = product(dz, arrays.recurrent_kernel.T, dtype)
        dmask = jnp.sum(h.astype(dh_in.dtype) * dh_in, axis=0).astype(recurrent_mask.dtype)
    return Arrays(
        kernel=weights[:features].astype(arrays.kernel.dtype),
        recurrent_kernel=weights[features:-1].astype(arrays.recurrent_kernel.dtype),
        bias=weights[-1].astype(arrays.bias.dtype),
        x=product(dz, arrays.kernel.T, dtype).astype(arrays.x.dtype),
        c=dc,
        h=dh.astype(arrays.h.dtype),
        recurrent_mask=dmask,
        valid=None,
    )


def _sum_of_products(a: jax.Array, b: jax.Array) -> jax.Array:
    """The sum over time and batch of the outer products of a (T, B, M) and b (T, B, N).

    As rows of one matrix product it needs no array to be transposed, and is a quarter to a half faster on CPU. But
    merging time and batch into rows breaks up a batch that the compiler may have split over devices, which it would
    first have to gather: where it may, the sum is left over two dimensions, and costs one all-reduce.
    """
    wanted = wide(a.dtype)
    if _compiler_may_split(a):
        # In the order of memory: `einsum` would sum in alphabetical order, and have `b` transposed for it.
        return jnp.tensordot(a, b, axes=((0, 1), (0, 1)), preferred_element_type=wanted)
    return jnp.matmul(a.reshape(-1, a.shape[-1]).T, b.reshape(-1, b.shape[-1]), preferred_element_type=wanted)


def _compiler_may_split(a: jax.Array) -> bool:
    """False where an array is certainly whole: within `jax.shard_map`, and where there is but one device."""
    axes = jax.typeof(a).sharding.mesh.axis_types
    return any(axis != AxisType.Manual for axis in axes) if axes else jax.device_count() > 1


recurrence.defvjp(_recurrence_fwd, _recurrence_bwd)
