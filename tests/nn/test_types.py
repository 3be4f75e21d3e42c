"""The types of the layers' results: mypy reads `assert_type` in this file (see ``files`` in pyproject.toml)."""

from typing import Any, assert_type

import jax
import jax.numpy as jnp
from flax import nnx

from lstmjax.nn import LSTM, StackedLSTM
from lstmjax.nn.cell import Carry

X = jnp.ones((2, 5, 3))


def test_the_result_of_a_layer_depends_on_return_carry() -> None:
    layer = LSTM(3, 4, rngs=nnx.Rngs(0))
    assert assert_type(layer(X), jax.Array).shape == (2, 5, 4)
    assert assert_type(layer(X, return_carry=False, return_sequence=False), jax.Array).shape == (2, 4)
    (_, h), ys = assert_type(layer(X, return_carry=True), tuple[Carry, jax.Array])
    assert (h.shape, ys.shape) == ((2, 4), (2, 5, 4))
    for flag in (False, True):
        result = assert_type(layer(X, return_carry=flag), jax.Array | tuple[Carry, jax.Array])
        assert isinstance(result, tuple) == flag


def test_the_result_of_a_stack_depends_on_return_carry() -> None:
    stack = StackedLSTM(3, 4, 2, rngs=nnx.Rngs(0))
    assert assert_type(stack(X), jax.Array).shape == (2, 5, 4)
    carries, ys = assert_type(stack(X, return_carry=True), tuple[tuple[Any, ...], jax.Array])
    assert (len(carries), ys.shape) == (2, (2, 5, 4))
