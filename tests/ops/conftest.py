"""What the tests of the recurrence share: float64, random problems, the equations in plain NumPy."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstmjax.ops import LSTMWeights


@pytest.fixture
def x64() -> Iterator[None]:
    """Everything in the test in float64."""
    with jax.enable_x64(True):
        yield


class Problem(NamedTuple):
    """A random layer, its input and what turns its outputs into a number."""

    weights: LSTMWeights
    x: jax.Array
    carry: tuple[jax.Array, jax.Array]
    recurrent_mask: jax.Array
    seq_lengths: jax.Array
    cotangent: jax.Array

    def loss(self, run: Any, weights: LSTMWeights, x: jax.Array, carry: Any, recurrent_mask: Any) -> jax.Array:
        """Every output and the last state, weighted at random."""
        (c, h), ys = run(weights, x, carry, recurrent_mask=recurrent_mask)
        (c, h), ys = jax.tree.map(lambda leaf: leaf.astype(self.x.dtype), ((c, h), ys))
        total = jnp.sum(jnp.sin(c) * self.cotangent[:, 0]) + jnp.sum(h * self.cotangent[:, 1])
        return total if ys is None else total + jnp.sum(ys * self.cotangent)


@pytest.fixture
def make_problem() -> Any:
    """Makes a `Problem` of the given sizes, its numbers in the default float type."""

    def make(batch: int = 5, steps: int = 7, in_features: int = 3, hidden: int = 4, seed: int = 0) -> Problem:
        rng = np.random.default_rng(seed)

        def draw(*shape: int) -> jax.Array:
            return jnp.asarray(rng.normal(scale=0.7, size=shape))

        return Problem(
            weights=LSTMWeights(draw(in_features, 4 * hidden), draw(hidden, 4 * hidden), draw(4 * hidden)),
            x=draw(batch, steps, in_features),
            carry=(draw(batch, hidden), draw(batch, hidden)),
            recurrent_mask=draw(batch, hidden),
            seq_lengths=jnp.asarray(np.resize([steps, 0, 1, steps - 2, 2], batch)),
            cotangent=draw(batch, steps, hidden),
        )

    return make


def numpy_lstm(
    weights: Any, x: Any, carry: Any, lengths: Any, *, reverse: bool = False, recurrent_mask: Any = 1.0
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The equations, one sequence and one step after the other."""
    kernel, recurrent_kernel, bias = (np.asarray(part) for part in weights)
    c, h = (np.array(part) for part in carry)
    mask = np.broadcast_to(recurrent_mask, h.shape)
    ys = np.zeros((*x.shape[:2], h.shape[1]))

    def sigmoid(z: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-z))

    for b, length in enumerate(lengths):
        for t in reversed(range(length)) if reverse else range(length):
            i, f, g, o = np.split(np.asarray(x)[b, t] @ kernel + (mask[b] * h[b]) @ recurrent_kernel + bias, 4)
            c[b] = sigmoid(f) * c[b] + sigmoid(i) * np.tanh(g)
            h[b] = sigmoid(o) * np.tanh(c[b])
            ys[b, t] = h[b]
    return (c, h), ys


@pytest.fixture(name="numpy_lstm")
def numpy_lstm_fixture() -> Any:
    """The recurrence in plain NumPy."""
    return numpy_lstm
