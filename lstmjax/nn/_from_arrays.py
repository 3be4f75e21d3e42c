"""Builds layers from arrays of weights: `lstmjax.nn.convert` reads these from the formats of other libraries."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lstmjax.nn import recurrent
from lstmjax.nn.cell import LSTMCell
from lstmjax.nn.recurrent import LSTM
from lstmjax.nn.regularization import Rate
from lstmjax.nn.stacked import StackedLSTM
from lstmjax.ops.recurrence import check_shapes as check_shapes


class LayerRunOptions(recurrent.LayerRunOptions, total=False):
    """Options of a converted layer besides its weights: those of `LSTM` that have no weights."""

    reverse: bool
    time_major: bool


class StackRunOptions(LayerRunOptions, total=False):
    """The same for converted stacks: options of `StackedLSTM`."""

    dropout: Rate
    residual: bool


class Direction(NamedTuple):
    """The arrays of one layer in one direction, in this package's layout."""

    kernel: np.ndarray
    recurrent_kernel: np.ndarray
    bias: np.ndarray
    projection: np.ndarray | None = None


def as_numpy(value: Any) -> np.ndarray:
    """Turns an array, or a tensor of PyTorch, into an array of NumPy."""
    if hasattr(value, "detach"):  # a tensor
        value = value.detach().cpu()
        value = value.float() if value.element_size() < 4 else value  # NumPy has no bfloat16
    return np.asarray(value)


def hidden_features(name: str, gates: np.ndarray, axis: int) -> int:
    """Returns the hidden features of a recurrent kernel with four gates along `axis`."""
    if gates.ndim != 2 or gates.shape[axis] % 4 or gates.size == 0:
        raise ValueError(f"{name} has shape {gates.shape}: expected two axes, four gates along axis {axis}")
    return gates.shape[axis] // 4


def layer_from_arrays(direction: Direction, options: LayerRunOptions, **functions: Any) -> LSTM:
    """Builds a layer with given weights.

    Args:
        direction: arrays of shapes that fit each other.
        options: as given by the user.
        **functions: activations of the cell.
    """
    _check_options(options, LayerRunOptions.__optional_keys__)
    layer = LSTM(**_sizes(direction), **functions, **options)
    _fill(layer.cell, direction)
    return layer


def stack_from_arrays(layers: list[list[Direction]], options: StackRunOptions) -> StackedLSTM:
    """Builds a stack with given weights.

    Args:
        layers: one or two directions per layer, arrays of shapes that fit each other.
        options: as given by the user.
    """
    _check_options(options, StackRunOptions.__optional_keys__)
    bidirectional = len(layers[0]) == 2
    stack = StackedLSTM(num_layers=len(layers), bidirectional=bidirectional, **_sizes(layers[0][0]), **options)
    for number, layer in enumerate(layers):
        for side, direction in zip((stack.forward, stack.backward), layer, strict=False):
            _fill(side[number].cell, direction)
    return stack


def _check_options(options: Mapping[str, Any], allowed: frozenset[str]) -> None:
    if unknown := sorted(set(options) - allowed):
        known = ", ".join(sorted(allowed))
        raise ValueError(f"{unknown[0]} is not an option of a converted layer: expected one of {known}")


def _sizes(direction: Direction) -> dict[str, Any]:
    """Returns the constructor arguments of a layer whose weights are set afterwards."""
    zeros = nnx.initializers.zeros_init()
    return {
        "in_features": direction.kernel.shape[0],
        "hidden_features": direction.kernel.shape[1] // 4,
        "proj_size": 0 if direction.projection is None else direction.projection.shape[1],
        "param_dtype": jax.dtypes.canonicalize_dtype(direction.kernel.dtype),
        "kernel_init": zeros,
        "recurrent_kernel_init": zeros,
        "rngs": nnx.Rngs(0),
    }


def _fill(cell: LSTMCell, direction: Direction) -> None:
    params = (cell.kernel, cell.recurrent_kernel, cell.bias, cell.projection)
    for param, array in zip(params, direction, strict=True):
        if param is not None:
            param[...] = jnp.asarray(array, param[...].dtype)
