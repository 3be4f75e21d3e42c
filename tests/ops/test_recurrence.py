"""Order and chunks of time, for any step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.nnx.nn.recurrent import flip_sequences as flax_flip
from hypothesis import given
from hypothesis import strategies as st

from lstmjax.ops import recurrence


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_flipping_is_flaxs(lengths: list[int]) -> None:
    xs = jnp.arange(6.0 * len(lengths) * 2).reshape(6, len(lengths), 2)
    expected = flax_flip(xs, jnp.array(lengths), num_batch_dims=1, time_major=True)
    found = recurrence.flip_sequences(xs, jnp.array(lengths))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(recurrence.flip_sequences(found, jnp.array(lengths)), xs)


def test_without_lengths_flipping_turns_everything_around() -> None:
    xs = jnp.arange(12.0).reshape(3, 2, 2)
    np.testing.assert_array_equal(recurrence.flip_sequences(xs, None), xs[::-1])


@given(st.integers(1, 100_000))
def test_chunks_are_about_the_root_of_the_steps(steps: int) -> None:
    length = recurrence.chunk_length(steps)
    root = int(steps**0.5)
    assert (root + 1) // 2 <= length <= 2 * root
    nearby = range((root + 1) // 2, 2 * root + 1)
    assert steps % length == 0 or all(steps % other for other in nearby)


def test_twenty_thousand_steps_need_no_remainder() -> None:
    assert 20_000 % recurrence.chunk_length(20_000) == 0


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("remat", [True, 1, 4, 10, 99])
def test_chunks_change_nothing(reverse: bool, remat: Any) -> None:
    """A sum that forgets: where a chunk began or ended wrongly, it would show."""
    xs = jnp.arange(1.0, 11.0)[:, None, None]

    def run(carry: jax.Array, xs: jax.Array) -> Any:
        return recurrence.recur(lambda c, x: (0.5 * c + x, 0.5 * c + x), carry, xs, reverse=reverse)

    found = recurrence.in_chunks(run, jnp.ones((1, 1)), xs, remat=remat, reverse=reverse)
    expected = run(jnp.ones((1, 1)), xs)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert float(expected[0][0, 0]) == float(expected[1][0 if reverse else -1, 0, 0])


def test_a_gpu_takes_more_steps_at_a_time(monkeypatch):
    assert recurrence.steps_unrolled(None) == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert recurrence.steps_unrolled(None) == 8
    assert recurrence.steps_unrolled(2) == 2
