"""What very long sequences cost in memory, as the compiler plans it: no such sequence is run here."""

from typing import Any

import jax
import jax.numpy as jnp

from lstmjax.ops import LSTMWeights, lstm

STEPS, BATCH, IN_FEATURES, HIDDEN = 20_000, 8, 1, 128


def planned_bytes(*, return_sequence: bool, **options: Any) -> int:
    """Temporary memory of a gradient with respect to the weights."""

    def loss(weights: LSTMWeights, x: jax.Array) -> jax.Array:
        (_, h), ys = lstm(weights, x, return_sequence=return_sequence, **options)
        return jnp.sum(h) if ys is None else jnp.sum(ys * ys)

    def spec(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.float32)

    weights = LSTMWeights(spec(IN_FEATURES, 4 * HIDDEN), spec(HIDDEN, 4 * HIDDEN), spec(4 * HIDDEN))
    compiled = jax.jit(jax.grad(loss)).lower(weights, spec(BATCH, STEPS, IN_FEATURES)).compile()
    return int(compiled.memory_analysis().temp_size_in_bytes)


def test_all_outputs_of_a_long_sequence_take_a_sixth_of_the_memory() -> None:
    autodiff = planned_bytes(return_sequence=True, implementation="scan")
    assert planned_bytes(return_sequence=True, remat=True) <= autodiff / 6


def test_the_last_state_of_a_long_sequence_takes_a_fiftieth_of_the_memory() -> None:
    autodiff = planned_bytes(return_sequence=False, implementation="scan")
    assert planned_bytes(return_sequence=False, remat=True) <= autodiff / 50
