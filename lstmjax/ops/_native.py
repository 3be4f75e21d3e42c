"""The plain LSTM on the native CPU kernel, as functions that JAX transforms; `docs/cpu_kernel.md` describes it.

The kernel is two primitives, the forward and the backward pass. `vmap` gives their arrays leading axes, of models,
which the kernel knows. The JAX code (`lstmjax.ops._backward`) is their derivative, so that second derivatives work, and
what they are compiled to where the call of a library has no place: for other platforms, for `jax.export`, and where the
compiler may split the batch over devices, as it could not split the call and would gather the batch.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import AxisType, PartitionSpec
from jaxtyping import Array

from lstmjax.ops import _backward, _library
from lstmjax.ops._backward import Arrays, Options
from lstmjax.ops.recurrence import vary_alike
from lstmjax.ops.step import Carry, LSTMWeights

RANKS = (3, 2, 2, 1, 2, 2, 2, 1)
"""Of what both primitives read first: x (B, T, I), W, U, b, c, h, mask, lengths; the last two may have no elements."""


def why_not(options: Options, arrays: Arrays) -> str | None:
    """Returns why the kernel does not apply; None: it does."""
    if jax.default_backend() != "cpu":
        return f"it runs on CPU, and this is {jax.default_backend()}"
    dtypes = {options.dtype, *(leaf.dtype for leaf in jax.tree.leaves(arrays[:4]))}
    if dtypes != {jnp.dtype(jnp.float32)}:
        return f"it computes in float32, found {', '.join(sorted(str(jnp.dtype(dtype)) for dtype in dtypes))}"
    if not all(isinstance(size, int) for size in arrays.x.shape):
        return f"it needs sizes that are numbers, found {arrays.x.shape}"
    if AxisType.Explicit in jax.typeof(arrays.x).sharding.mesh.axis_types:
        return "it has no rule for a mesh with explicit axes"
    library = _library.load()
    return library if isinstance(library, str) else None


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def recurrence(options: Options, arrays: Arrays) -> tuple[Carry, Array | None]:
    """As `lstmjax.ops._backward.recurrence`, where `why_not` is None."""
    c, h, y, _ = _forward(options, _inputs(arrays), sequence=options.return_sequence, keep=False)
    return (c, h), jnp.swapaxes(y, 0, 1) if options.return_sequence else None


def _recurrence_fwd(options: Options, arrays: Any) -> tuple[tuple[Carry, Array | None], tuple]:
    wants_dx = arrays.x.perturbed
    inputs = _inputs(jax.tree.map(lambda leaf: leaf.value, arrays))
    c, h, y, kept = _forward(options, inputs, sequence=True, keep=True)
    ys = jnp.swapaxes(y, 0, 1) if options.return_sequence else None
    # The structure of the residuals says what is static: that dx is wanted.
    return ((c, h), ys), (inputs, y, kept, () if wants_dx else None)


def _recurrence_bwd(options: Options, residuals: tuple, cotangents: tuple[tuple[Any, Any], Any]) -> tuple[Any]:
    inputs, y, kept, wants_dx = residuals
    (dc, dh), dys = cotangents  # each may be a symbolic zero
    dc, dh = (jnp.zeros_like(inputs[4]) if isinstance(d, SymbolicZero) else d for d in (dc, dh))
    no_dy = dys is None or isinstance(dys, SymbolicZero)
    dy = _nothing(3) if no_dy else jnp.swapaxes(dys, 0, 1)
    operands = vary_alike((*inputs, y, kept, dc, dh, dy))
    static = {"reverse": options.reverse, "wants_dx": wants_dx is not None}
    dkernel, drecurrent, dbias, dc0, dh0, dmask, dx = _backward_p.bind(*operands, **static)
    dweights = LSTMWeights(dkernel, drecurrent, dbias)
    dxs: Any = None if wants_dx is None else jnp.swapaxes(dx, 0, 1)
    return (Arrays(dweights, dxs, (dc0, dh0), dmask if inputs[6].size else None, None),)


recurrence.defvjp(_recurrence_fwd, _recurrence_bwd, symbolic_zeros=True)


def _forward(options: Options, inputs: tuple[Array, ...], *, sequence: bool, keep: bool) -> list[Array]:
    library = _library.load()
    width = library.width if keep and not isinstance(library, str) else 0
    return _forward_p.bind(*inputs, reverse=options.reverse, sequence=sequence, width=width)


def _inputs(arrays: Arrays) -> tuple[Array, ...]:
    """Returns the arrays as the primitives read them: see `RANKS`."""
    (kernel, recurrent_kernel, bias), x, (c, h), mask, valid = arrays
    lengths = _nothing(1, jnp.int32) if valid is None else jnp.sum(valid[..., 0], axis=0, dtype=jnp.int32)
    mask = _nothing(2) if mask is None else mask
    return vary_alike((jnp.swapaxes(x, 0, 1), kernel, recurrent_kernel, bias, c, h, mask, lengths))


def _nothing(rank: int, dtype: Any = jnp.float32) -> Array:
    return jnp.zeros((0,) * rank, dtype)


# The same in JAX, for one model.


def _jax_forward(*inputs: Array, reverse: bool, sequence: bool, width: int) -> list[Array]:
    options, arrays = _as_arrays(inputs, reverse=reverse, sequence=sequence)
    (c, h), ys, _ = _backward.forward(options, arrays, keep=False)
    y = _nothing(3) if ys is None else jnp.swapaxes(ys, 0, 1)
    *_, kept = _forward_shapes(inputs, sequence=sequence, width=width)
    return [c, h, y, jnp.zeros(kept, c.dtype)]  # the JAX backward pass does not read what was kept


def _jax_backward(*operands: Array, reverse: bool, wants_dx: bool) -> list[Array]:
    inputs, (_, _, dc, dh, dy) = operands[:8], operands[8:]
    options, arrays = _as_arrays(inputs, reverse=reverse, sequence=dy.size > 0)

    def run(weights: LSTMWeights, x: Array, carry: Carry, mask: Array | None) -> Any:
        return _backward.recurrence(options, Arrays(weights, x, carry, mask, arrays.valid))

    _, pull = jax.vjp(run, *arrays[:4])
    dweights, dx, (dc0, dh0), dmask = pull(((dc, dh), jnp.swapaxes(dy, 0, 1) if dy.size else None))
    dx = jnp.swapaxes(dx, 0, 1) if wants_dx else _nothing(3)
    return [*dweights, dc0, dh0, _nothing(2) if dmask is None else dmask, dx]


def _as_arrays(inputs: Sequence[Array], *, reverse: bool, sequence: bool) -> tuple[Options, Arrays]:
    x, kernel, recurrent_kernel, bias, c, h, mask, lengths = inputs
    valid = (jnp.arange(x.shape[1])[:, None] < lengths[None])[..., None] if lengths.size else None
    weights = LSTMWeights(kernel, recurrent_kernel, bias)
    arrays = Arrays(weights, jnp.swapaxes(x, 0, 1), (c, h), mask if mask.size else None, valid)
    return Options(reverse=reverse, unroll=1, return_sequence=sequence, dtype=x.dtype), arrays


# The shapes of the results, for one model.


def _forward_shapes(inputs: Sequence[Any], *, sequence: bool, width: int, **_: bool) -> list[tuple[int, ...]]:
    (batch, steps, _), hidden = inputs[0].shape[-3:], inputs[2].shape[-2]
    y = (batch, steps, hidden) if sequence else (0, 0, 0)
    kept = (steps, -(-hidden // width), batch, 5 * width) if width else (0, 0, 0, 0)
    return [(batch, hidden), (batch, hidden), y, kept]


def _backward_shapes(operands: Sequence[Any], *, wants_dx: bool, **_: bool) -> list[tuple[int, ...]]:
    x, kernel, recurrent_kernel, bias, c, h, mask, _ = (
        operand.shape[operand.ndim - rank :] for operand, rank in zip(operands[:8], RANKS, strict=True)
    )
    return [kernel, recurrent_kernel, bias, c, h, mask, x if wants_dx else (0, 0, 0)]


# What makes them primitives.


def _over_models(function: Callable[..., list[Array]], operands: Sequence[Array]) -> list[Array]:
    """Runs a function of one model over the leading axes of the operands; those of length 1 are shared."""
    if operands[0].ndim == RANKS[0]:
        return function(*operands)
    shared = [operand.shape[0] == 1 for operand in operands]
    if all(shared):
        shared = [False] * len(operands)
    inner = [operand[0] if one else operand for operand, one in zip(operands, shared, strict=True)]
    axes = [None if one else 0 for one in shared]
    return jax.vmap(lambda *operands: _over_models(function, operands), in_axes=axes)(*inner)


def _devices_beside(context: mlir.ModuleContext) -> int | None:
    """Returns the devices of this process that run the call at once; None where it is not to be called.

    Beside other devices the kernel stays on one thread: they use the others.
    """
    if context.lowering_parameters.for_export:
        return None
    axes = context.axis_context
    if isinstance(axes, mlir.SPMDAxisContext):  # in `jax.shard_map`
        whole = axes.manual_axes == frozenset(axes.mesh.axis_names)
        return min(axes.mesh.size, jax.local_device_count()) if whole else None
    return 1 if axes.num_devices == 1 else None


def _make(name: str, shapes: Callable[..., list[tuple[int, ...]]], one_model: Callable[..., list[Array]]) -> Primitive:
    """Makes a primitive with all its rules; ``lstmjax_{name}`` is the library's call."""
    primitive = Primitive(f"lstm_{name}")
    primitive.multiple_results = True

    def in_jax(*operands: Array, **static: Any) -> list[Array]:
        return _over_models(functools.partial(one_model, **static), operands)

    def abstract(*operands: Any, **static: Any) -> list[Any]:
        x = operands[0]
        models = tuple(max(sizes) for sizes in zip(*(a.shape[: x.ndim - 3] for a in operands), strict=True))
        return [
            x.update(shape=shape, sharding=x.sharding.update(spec=PartitionSpec(*[None] * len(shape))))
            for shape in ((*models, *core) for core in shapes(operands, **static))
        ]

    def batch(operands: Sequence[Array], axes: Sequence[int | None], **static: Any) -> tuple[list[Array], list[int]]:
        moved = [a[None] if axis is None else jnp.moveaxis(a, axis, 0) for a, axis in zip(operands, axes, strict=True)]
        results = primitive.bind(*moved, **static)
        return results, [0] * len(results)

    def derivative(
        operands: Sequence[Array], tangents: Sequence[Any], **static: Any
    ) -> tuple[list[Array], list[Array]]:
        varied = [number for number, tangent in enumerate(tangents) if not isinstance(tangent, ad.Zero)]

        def function(*values: Array) -> list[Array]:
            replaced = list(operands)
            for number, value in zip(varied, values, strict=True):
                replaced[number] = value
            return in_jax(*replaced, **static)

        _, out = jax.jvp(function, [operands[n] for n in varied], [tangents[n] for n in varied])
        return primitive.bind(*operands, **static), out

    @functools.cache
    def compiled(**static: Any) -> Callable[..., list[Array]]:
        return jax.jit(functools.partial(primitive.bind, **static))

    as_jax_code = mlir.lower_fun(in_jax, multiple_results=True)
    as_call = jax.ffi.ffi_lowering(f"lstmjax_{name}")

    def on_cpu(context: mlir.LoweringRuleContext, *operands: Any, **static: Any) -> Any:
        devices = _devices_beside(context.module_context)
        if devices is None:
            return as_jax_code(context, *operands, **static)
        return as_call(context, *operands, reverse=static["reverse"], alone=devices > 1)

    primitive.def_impl(lambda *operands, **static: compiled(**static)(*operands))
    primitive.def_abstract_eval(abstract)
    batching.primitive_batchers[primitive] = batch
    ad.primitive_jvps[primitive] = derivative
    mlir.register_lowering(primitive, as_jax_code)
    mlir.register_lowering(primitive, on_cpu, platform="cpu")
    return primitive


_forward_p = _make("forward", _forward_shapes, _jax_forward)
_backward_p = _make("backward", _backward_shapes, _jax_backward)
