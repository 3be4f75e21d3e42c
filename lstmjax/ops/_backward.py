"""The plain LSTM over time, with a hand-written backward pass; `lstmjax.ops.step` has the equations.

Autodiff of a scan sums the weight gradients step by step, with one small product each. Here the reverse scan computes
only the gradients of the gates; all others are single large products after it. Both passes are ordinary JAX, so that
second derivatives work.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.typing import DTypeLike
from jaxtyping import Array

from lstmjax.ops.precision import product, wide
from lstmjax.ops.recurrence import hold
from lstmjax.ops.step import Carry, Gates, LSTMWeights, masked, next_state, next_state_gradient


class Arrays(NamedTuple):
    """All arrays that the recurrence depends on, time first."""

    weights: LSTMWeights
    x: Array
    carry: Carry
    recurrent_mask: Array | None
    valid: Array | None


class Options(NamedTuple):
    """The options that the compiled program depends on."""

    reverse: bool
    unroll: int
    return_sequence: bool
    dtype: Any


class Kept(NamedTuple):
    """The values of each step that the backward pass needs, shape (T, B, H) each: the state before it and its gates.

    They are six outputs of the scan: joining the gates into one array costs more than it saves.
    """

    carry: Carry
    gates: Gates


def forward(options: Options, arrays: Arrays, *, keep: bool) -> tuple[Carry, Array | None, Kept | None]:
    """Runs the recurrence; returns the last state, the outputs, and with `keep` the values for the backward pass."""
    run = functools.partial(_forward, options, keep=keep)
    if arrays.weights.kernel.shape[0] >= HOIST_FROM:
        return run(arrays, hoist=True)
    return jax.lax.platform_dependent(
        arrays, cpu=functools.partial(run, hoist=False), default=functools.partial(run, hoist=True)
    )


HOIST_FROM = 512
"""From this number of input features on, the input projection x W is computed before the scan on CPU; elsewhere always.

Only here do shape and platform decide. Before the scan the projection is one large product, which keeps an accelerator
busy; in the scan every step would start a small one. On a CPU the small product is as fast, and storing all
pre-activations only costs memory traffic (a tenth to a third of the time), until the inputs are so wide that both are
equal on one core, and the large product can also use the other cores. The branch depends on I (never on B or T, which
may be symbolic in an exported program) and on the platform of the compiled program (not the one that traces).
Activations are stored at every shape: recomputing the gates by large products was slower by a sixth to a third on CPU;
where memory is short, `remat` runs whole chunks again.
"""


def _forward(options: Options, arrays: Arrays, *, keep: bool, hoist: bool) -> tuple[Carry, Array | None, Kept | None]:
    (kernel, recurrent_kernel, bias), x, carry, recurrent_mask, valid = arrays
    dtype = options.dtype
    stacked = jnp.concatenate([kernel, recurrent_kernel])  # (I + H, 4H)

    def preactivations(x: Array, h: Array) -> Array:
        h = masked(h, recurrent_mask)
        if hoist:
            return x + product(h, recurrent_kernel, dtype)
        # One product instead of two: a product of only a few input features would take as long as the other.
        return product(jnp.concatenate([x, h], axis=-1), stacked, dtype) + bias[None]

    def step(carry: Carry, inputs: tuple) -> tuple[Carry, tuple]:
        x, valid = inputs
        (c, h), gates = next_state(carry[0], preactivations(x, carry[1]))
        after, y = hold(valid, carry, (c, h.astype(dtype)), h.astype(dtype))
        kept = Kept(carry, jax.tree.map(lambda gate: gate.astype(dtype), gates)) if keep else None
        return after, (y if options.return_sequence else None, kept)

    xs = (product(x, kernel, dtype) + bias[None, None] if hoist else x, valid)
    last, (ys, kept) = jax.lax.scan(step, carry, xs, reverse=options.reverse, unroll=options.unroll)
    return last, ys, kept


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def recurrence(options: Options, arrays: Arrays) -> tuple[Carry, Array | None]:
    """Runs the LSTM over time; `lstmjax.ops.lstm` prepares the arrays."""
    last, ys, _ = forward(options, arrays, keep=False)
    return last, ys


def _recurrence_fwd(options: Options, arrays: Arrays) -> tuple[tuple[Carry, Array | None], tuple]:
    last, ys, kept = forward(options, arrays, keep=True)
    return (last, ys), (arrays, kept, last[0])


def _recurrence_bwd(
    options: Options, residuals: tuple[Arrays, Kept, Array], cotangents: tuple[Carry, Array | None]
) -> tuple[Arrays]:
    arrays, kept, c_last = residuals
    (dc, dh), dys = cotangents
    dtype, transposed = options.dtype, arrays.weights.recurrent_kernel.T

    def step(carry: tuple, inputs: tuple) -> tuple[tuple, Array]:
        (dc, dh), c_new = carry
        dy, valid, kept = inputs
        c, gates = jax.tree.map(lambda a: a.astype(c_new.dtype), (kept.carry[0], kept.gates))
        dh_new = dh if dy is None else dh + dy.astype(dh.dtype)
        dc_old, dz = next_state_gradient(c, c_new, gates, dc, dh_new)
        dz = dz.astype(dtype)
        dh_old = masked(product(dz, transposed, dtype), arrays.recurrent_mask)
        before, dz = hold(valid, (dc, dh), (dc_old, dh_old), dz)
        return (before, c), dz

    carry, xs = ((dc, dh.astype(dc.dtype)), c_last), (dys, arrays.valid, kept)
    (before, _), dz = jax.lax.scan(step, carry, xs, reverse=not options.reverse, unroll=options.unroll)
    return (_gradients(arrays, kept.carry[1], dz, before, dtype),)


def _gradients(arrays: Arrays, h: Array, dz: Array, before: Carry, dtype: DTypeLike) -> Arrays:
    """Computes the gradients of all arrays from those of the gates; the compiler removes those that are not used."""
    (kernel, recurrent_kernel, _), x, _, recurrent_mask, _ = arrays
    inputs = jnp.concatenate([x, masked(h, recurrent_mask), jnp.ones_like(dz[..., :1])], axis=-1)
    weights = _sum_of_products(inputs, dz)  # (I + H + 1, 4H)
    dmask = None
    if recurrent_mask is not None:
        dh_in = product(dz, recurrent_kernel.T, dtype)
        dmask = jnp.sum(h.astype(dh_in.dtype) * dh_in, axis=0)
    features = x.shape[-1]
    dweights = LSTMWeights(weights[:features], weights[features:-1], weights[-1])
    gradients = Arrays(dweights, product(dz, kernel.T, dtype), before, dmask, None)
    return jax.tree.map(lambda gradient, array: gradient.astype(array.dtype), gradients, arrays._replace(valid=None))


def _sum_of_products(a: Array, b: Array) -> Array:
    """Sums the outer products of a (T, B, M) and b (T, B, N) over time and batch.

    As rows of one matrix product no array is transposed, which is a quarter to a half faster on CPU. But to merge time
    and batch into rows, a batch that the compiler split over devices must first be gathered. Where the compiler may
    split it, the sum stays over two dimensions, and costs one all-reduce.
    """
    wanted = wide(a.dtype)
    if _compiler_may_split(a):
        # In the order of memory: `einsum` sums in alphabetical order, and transposes `b` for it.
        return jnp.tensordot(a, b, axes=((0, 1), (0, 1)), preferred_element_type=wanted)
    return jnp.matmul(a.reshape(-1, a.shape[-1]).T, b.reshape(-1, b.shape[-1]), preferred_element_type=wanted)


def _compiler_may_split(a: Array) -> bool:
    """Returns False where an array is certainly whole: in `jax.shard_map`, and with a single device."""
    axes = jax.typeof(a).sharding.mesh.axis_types
    return any(axis != AxisType.Manual for axis in axes) if axes else jax.device_count() > 1


recurrence.defvjp(_recurrence_fwd, _recurrence_bwd)
