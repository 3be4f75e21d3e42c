"""The reversible norm against NumPy, and back again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lstmjax.nn import ReversibleNorm, WindowNorm

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(5.0, 3.0, size=(4, 30, 2)), jnp.float32)
MASK = jnp.asarray(RNG.random((4, 30, 2)) < 0.7).at[3, :, 1].set(False)


def test_windows_come_out_with_mean_zero_and_deviation_one_over_what_was_observed() -> None:
    normalized, statistics = jax.jit(ReversibleNorm(2, affine=False))(X, MASK)
    for b in range(4):
        for c in range(2):
            observed = np.asarray(X)[b, np.asarray(MASK)[b, :, c], c]
            if observed.size == 0:
                continue
            np.testing.assert_allclose(statistics.mean[b, 0, c], observed.mean(), rtol=1e-5)
            np.testing.assert_allclose(statistics.deviation[b, 0, c], observed.std(), rtol=1e-5)
            found = np.asarray(normalized)[b, np.asarray(MASK)[b, :, c], c]
            np.testing.assert_allclose(found, (observed - observed.mean()) / observed.std(), atol=1e-4)
    assert not np.any(np.asarray(normalized)[~np.asarray(MASK)])
    np.testing.assert_array_equal([statistics.mean[3, 0, 1], statistics.deviation[3, 0, 1]], [0.0, 1.0])


@pytest.mark.parametrize("affine", [False, True])
def test_inverse_undoes_it(affine: bool) -> None:
    norm = ReversibleNorm(2, affine=affine)
    if norm.scale is not None and norm.shift is not None:
        norm.scale[...] = jnp.array([2.0, -0.5])
        norm.shift[...] = jnp.array([0.3, 4.0])
    normalized, statistics = norm(X)
    np.testing.assert_allclose(norm.inverse(normalized, statistics), X, rtol=1e-5, atol=1e-5)


def test_a_shifted_and_stretched_window_looks_the_same_and_its_forecast_moves_along() -> None:
    norm = ReversibleNorm(2)
    plain, statistics = norm(X)
    moved, moved_statistics = norm(10.0 * X + 100.0)
    np.testing.assert_allclose(moved, plain, atol=1e-3)
    forecast = norm.inverse(plain[:, :3], statistics)
    np.testing.assert_allclose(norm.inverse(plain[:, :3], moved_statistics), 10 * forecast + 100, rtol=1e-4)


def test_a_constant_window_is_finite_and_comes_back() -> None:
    constant = jnp.full((1, 5, 1), 7.0)
    norm = ReversibleNorm(1)
    normalized, statistics = norm(constant)
    assert not np.any(normalized)
    np.testing.assert_allclose(norm.inverse(normalized, statistics), constant)


def test_no_gradient_flows_through_the_statistics() -> None:
    """With them held still, the derivative of the normalised window is 1 / deviation, as in the paper's code."""
    norm = ReversibleNorm(2)
    _, statistics = norm(X)
    gradient = jax.grad(lambda x: jnp.sum(norm(x)[0]))(X)
    np.testing.assert_allclose(gradient, np.broadcast_to(1 / statistics.deviation, X.shape), rtol=1e-5)


def test_scale_and_shift_are_learned_and_can_be_left_out() -> None:
    assert set(nnx.to_pure_dict(nnx.state(ReversibleNorm(2), nnx.Param))) == {"scale", "shift"}
    assert not nnx.to_pure_dict(nnx.state(ReversibleNorm(2, affine=False), nnx.Param))
    with pytest.raises(ValueError, match="features is 0"):
        ReversibleNorm(0)


@pytest.mark.parametrize("level", [0.1, 7.3, 1e6 + 0.1, 1e9])
def test_rounding_is_no_deviation(level):
    """A constant window comes out of float32 with a mean that is none of its values."""
    noise = np.random.default_rng(0).integers(-1, 2, (3, 50, 1)) * np.spacing(np.float32(level))
    x = jnp.asarray(np.float32(level) + noise.astype(np.float32))
    for norm in (ReversibleNorm(1), *(WindowNorm(center=c, scale=s) for c in ("mean", "last") for s in ("std", "mad"))):
        normalized, statistics = norm(x)
        np.testing.assert_array_equal(normalized, 0.0)
        np.testing.assert_allclose(norm.inverse(normalized, statistics), level, rtol=1e-6)


@pytest.mark.parametrize(("level", "step"), [(1e6, 1.0), (0.0, 1e-12), (1.0, 1e-5)])
def test_small_differences_that_float32_holds_are_not_rounding(level, step):
    x = jnp.asarray(level + step * np.arange(8.0), jnp.float32)[None, :, None]
    normalized, _ = WindowNorm(center="mean", scale="std", epsilon=0.0)(x)
    np.testing.assert_allclose(normalized[0, :, 0], (np.arange(8) - 3.5) / np.std(np.arange(8)), rtol=0.1)
