"""Repeats a step over time, time first: masks, direction and chunks, for every kind of cell."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Carry = TypeVar("Carry")
Tree = TypeVar("Tree")


def batch_size(x: Any, time_major: bool) -> Any:
    """Returns the number of sequences in `x`: an int, or a symbolic dimension in an export for any batch.

    Raises:
        ValueError: `x` is not a batch of sequences.
    """
    if x.ndim != 3:
        raise ValueError(f"x has shape {x.shape}: expected (B, T, I), or (T, B, I) if time_major")
    return x.shape[1] if time_major else x.shape[0]


def check_shapes(expected: Mapping[str, tuple[Any, tuple[Any, ...]]], x: Any = None) -> None:
    """Requires the expected shapes; JAX would broadcast some other shapes without an error.

    Args:
        expected: by name an array, or None, and its shape.
        x: the inputs that they must fit, for the message.

    Raises:
        ValueError: the first array that has another shape.
    """
    for name, (array, wanted) in expected.items():
        if array is not None and jnp.shape(array) != wanted:
            beside = "" if x is None or array is x else f" for x of shape {jnp.shape(x)}"
            raise ValueError(f"{name} has shape {jnp.shape(array)}: expected {wanted}{beside}")


def pad(xs: Float[Array, "T B F"], seq_lengths: Int[Array, " B"] | None) -> tuple[Array, Bool[Array, "T B 1"] | None]:
    """Returns `xs` with zeros after the end of each sequence, and True at the steps before it; None: no padding."""
    if seq_lengths is None:
        return xs, None
    valid = (jnp.arange(xs.shape[0])[:, None] < seq_lengths[None, :])[..., None]
    return zero_padding(xs, valid), valid


def zero_padding(xs: Float[Array, "*T B F"], valid: Bool[Array, "*T B 1"]) -> Float[Array, "*T B F"]:
    """Sets `xs` to zero at the steps that belong to no sequence, also where it is NaN."""
    return jnp.where(valid, xs, jnp.zeros((), xs.dtype))


def flip_sequences(xs: Float[Array, "T B F"], seq_lengths: Int[Array, " B"] | None) -> Float[Array, "T B F"]:
    """Reverses each sequence; its padding stays at the end (as in `flax.nnx.nn.recurrent.flip_sequences`)."""
    if seq_lengths is None or xs.shape[0] == 0:
        return jnp.flip(xs, axis=0)
    steps = xs.shape[0]
    lengths = jnp.minimum(seq_lengths, steps)
    backwards = (jnp.arange(steps - 1, -1, -1)[:, None] + lengths[None, :]) % steps
    return jnp.take_along_axis(xs, backwards[..., None], axis=0)


def steps_unrolled(unroll: int | None) -> int:
    """Returns the steps in one iteration of a compiled loop: where none are asked for, by the platform.

    On a GPU an iteration has a cost of its own, about that of a small step: 8 steps in one are up to twice as fast
    (`scripts/bench_lstm.py`). On a CPU they only take longer to compile.
    """
    if unroll is not None:
        return unroll
    return 8 if jax.default_backend() == "gpu" else 1


def hold(valid: Bool[Array, "B 1"] | None, before: Carry, after: Carry, y: Array) -> tuple[Carry, Array]:
    """Returns the carry and output of a step; where it is not `valid`, the carry before it and zeros."""
    if valid is None:
        return after, y
    return jax.tree.map(lambda new, old: jnp.where(valid, new, old), after, before), zero_padding(y, valid)


def recur(
    step: Callable[[Carry, Any], tuple[Carry, Array]],
    carry: Carry,
    xs: Any,
    *,
    valid: Bool[Array, "T B 1"] | None = None,
    reverse: bool = False,
    unroll: int | None = None,
    return_sequence: bool = True,
) -> tuple[Carry, Array | None]:
    """Runs `jax.lax.scan`; steps that are not `valid` keep the carry and output zeros.

    Args:
        step: maps (carry, inputs of one step) to (carry, output of shape (B, features)).
        carry: pytree of arrays of shape (B, ...).
        xs: pytree of arrays of shape (T, ...).
        valid: which steps count, shape (T, B, 1); default all.
        reverse: from the last step to the first; outputs have the order of the inputs.
        unroll: steps in one iteration of the compiled loop; default `steps_unrolled`.
        return_sequence: whether to keep the outputs.

    Returns:
        The last carry and the outputs, shape (T, B, features), or None.
    """

    def held(carry: Carry, inputs: Any) -> tuple[Carry, Array | None]:
        x, valid_now = inputs
        after, y = hold(valid_now, carry, *step(carry, x))
        return after, y if return_sequence else None

    return jax.lax.scan(held, carry, (xs, valid), reverse=reverse, unroll=steps_unrolled(unroll))


def chunk_length(steps: int) -> int:
    """Returns a divisor of `steps` within a factor of two of √steps, if there is one, else √steps.

    A remainder costs a copy of all outputs, so a divisor near the root is better than the root itself.
    """
    root = max(1, math.isqrt(steps))
    divisors = [length for length in range((root + 1) // 2, 2 * root + 1) if steps % length == 0]
    return min(divisors, key=lambda length: abs(length - root), default=root)


def in_chunks(
    run: Callable[[Carry, Any], tuple[Carry, Array | None]],
    carry: Carry,
    xs: Any,
    *,
    remat: bool | int,
    reverse: bool,
) -> tuple[Carry, Array | None]:
    """Runs chunks of time one after the other, and keeps only the carries between them.

    The backward pass runs every chunk again (Chen et al. 2016, "Training deep nets with sublinear memory cost"): it
    needs T / length carries and the activations of one chunk, so memory grows as √T where length is √T.

    Args:
        run: maps (carry, inputs of shape (length, ...)) to (carry, outputs or None).
        carry: pytree of arrays.
        xs: pytree of arrays of shape (T, ...).
        remat: steps per chunk, True for about √T, False for all steps at once; the remainder is a separate chunk, the
            last in the direction of time.
        reverse: from the last chunk to the first.
    """
    if remat is False:
        return run(carry, xs)
    steps = jax.tree.leaves(xs)[0].shape[0]
    length = chunk_length(steps) if remat is True else max(1, min(remat, steps))
    count, rest = divmod(steps, length)
    start = rest if reverse else 0  # the chunks of full length come first in the direction of time
    whole = jax.tree.map(
        lambda a: jax.lax.slice_in_dim(a, start, start + count * length).reshape(count, length, *a.shape[1:]), xs
    )
    carry, ys = jax.lax.scan(jax.checkpoint(run, prevent_cse=False), carry, whole, reverse=reverse)
    if ys is not None:
        ys = ys.reshape(count * length, *ys.shape[2:])
    if not rest:
        return carry, ys
    remainder = jax.tree.map(lambda a: a[:rest] if reverse else a[count * length :], xs)
    carry, tail = jax.checkpoint(run)(carry, remainder)
    if ys is None or tail is None:
        return carry, None
    return carry, jnp.concatenate([tail, ys] if reverse else [ys, tail])


def vary_alike(tree: Tree, like: Any = ()) -> Tree:
    """Lets `tree` vary over all mesh axes that any leaf of it or of `like` varies over.

    In `jax.shard_map` the carry of a scan must vary over the same axes before and after a step.
    """
    axes = frozenset().union(*(jax.typeof(leaf).mat.varying for leaf in jax.tree.leaves((tree, like))))

    def vary(leaf: Array) -> Array:
        missing = tuple(axes - jax.typeof(leaf).mat.varying)
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(vary, tree)
