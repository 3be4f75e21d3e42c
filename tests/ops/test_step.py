"""One step: its values against plain NumPy, its derivative against JAX's, and the same numbers inside `lax.scan`."""

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lstmjax.ops import lstm, lstm_step
from lstmjax.ops.step import next_state, next_state_gradient


@pytest.mark.usefixtures("x64")
def test_a_step_has_the_values_of_the_equations(make_problem: Any, numpy_lstm: Any) -> None:
    weights, x, carry, mask, *_ = make_problem()
    expected, ys = numpy_lstm(weights, x[:, :1], carry, [1] * 5, recurrent_mask=mask)
    for run in (lstm_step, jax.jit(lstm_step)):
        found, y = run(weights, carry, x[:, 0], recurrent_mask=mask)
        for a, b in zip((*found, y), (*expected, ys[:, 0]), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)


@pytest.mark.usefixtures("x64")
def test_its_derivative_is_that_of_autodiff() -> None:
    c, z, dc, dh = (
        jax.random.normal(key, (3, size))
        for key, size in zip(jax.random.split(jax.random.key(0), 4), (4, 16, 4, 4), strict=True)
    )
    (new, gates), pullback = jax.vjp(next_state, c, z)
    zeros = jax.tree.map(jnp.zeros_like, gates)
    for found, expected in zip(next_state_gradient(c, new[0], gates, dc, dh), pullback(((dc, dh), zeros)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("implementation", ["auto", "scan"])
def test_scanned_it_is_the_layer(make_problem: Any, implementation: Any) -> None:
    weights, x, carry, *_ = make_problem()
    (c, h), ys = jax.lax.scan(functools.partial(lstm_step, weights), carry, jnp.swapaxes(x, 0, 1))
    (expected_c, expected_h), expected = lstm(weights, x, carry, time_major=False, implementation=implementation)
    np.testing.assert_allclose(jnp.swapaxes(ys, 0, 1), expected, atol=1e-6)
    np.testing.assert_allclose(c, expected_c, atol=1e-6)
    np.testing.assert_allclose(h, expected_h, atol=1e-6)


def test_one_state_serves_many_inputs_by_broadcasting(make_problem: Any) -> None:
    weights, x, (c, h), *_ = make_problem()
    _, found = lstm_step(weights, (c[:, None], h[:, None]), x)
    for step in range(x.shape[1]):
        _, expected = lstm_step(weights, (c, h), x[:, step])
        np.testing.assert_allclose(found[:, step], expected, atol=1e-6)


def test_the_state_keeps_its_dtypes_in_mixed_precision(make_problem: Any) -> None:
    weights, x, (c, h), *_ = make_problem()
    (c, h), y = lstm_step(weights, (c, h.astype(jnp.bfloat16)), x[:, 0], dtype=jnp.bfloat16)
    assert (c.dtype, h.dtype, y.dtype) == (jnp.float32, jnp.bfloat16, jnp.bfloat16)


def test_weights_that_do_not_fit_are_refused(make_problem: Any) -> None:
    weights, x, carry, *_ = make_problem()
    call = inspect.unwrap(lstm_step)  # as users have it: without the run-time check of annotations
    with pytest.raises(ValueError, match=r"weights.kernel has shape \(3, 16\): expected \(2, 16\) for x"):
        call(weights, carry, x[:, 0, :2])
    with pytest.raises(ValueError, match=r"weights.bias has shape \(1,\): expected \(16,\)"):
        call(weights._replace(bias=weights.bias[:1]), carry, x[:, 0])  # it would have been broadcast
