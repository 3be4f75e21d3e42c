"""Dropout and zoneout: their means, their masks, their rates."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lstmjax.nn import LSTM, Dropout, Hyperparameter, LSTMCell, StackedLSTM

X = jnp.ones((50, 8, 20))


def test_dropout_drops_at_its_rate_and_keeps_the_mean() -> None:
    y = np.asarray(Dropout(0.3)(X, rngs=nnx.Rngs(dropout=0)))
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.7], rtol=1e-6)
    np.testing.assert_allclose((y == 0).mean(), 0.3, atol=0.02)
    np.testing.assert_allclose(y.mean(), 1.0, atol=0.03)


def test_broadcast_dims_share_a_mask() -> None:
    y = np.asarray(Dropout(0.5, broadcast_dims=(1,))(X, rngs=nnx.Rngs(dropout=0)))
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    assert 0 < (y == 0).mean() < 1


def test_a_rate_of_zero_or_evaluation_computes_nothing() -> None:
    assert Dropout(0.0)(X) is X
    assert Dropout(0.5)(X, deterministic=True) is X
    module = Dropout(0.5)
    module.eval()
    assert module(X) is X
    module.train()
    with pytest.raises(ValueError, match=r"Dropout draws random numbers: pass rngs=nnx.Rngs\(dropout=\.\.\.\)"):
        module(X)
    with pytest.raises(ValueError, match="draws random numbers"):
        module(X, rngs=nnx.Rngs(params=0))


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_a_traced_rate_equals_the_same_number_and_compiles_once(rate: float) -> None:
    traces = []

    @nnx.jit
    def run(module: Dropout, x: jax.Array) -> jax.Array:
        traces.append(None)
        return module(x, rngs=nnx.Rngs(dropout=7))

    module = Dropout(Hyperparameter(jnp.float32(0.9)))
    run(module, X)
    module.rate[...] = jnp.float32(rate)
    np.testing.assert_array_equal(run(module, X), Dropout(rate)(X, rngs=nnx.Rngs(dropout=7)))
    assert len(traces) == 1


def test_everything_dropped_has_no_gradient_and_no_nan() -> None:
    gradient = jax.grad(lambda x: jnp.sum(Dropout(1.0)(x, rngs=nnx.Rngs(dropout=0))))(X)
    np.testing.assert_array_equal(gradient, np.zeros(X.shape))


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=f"rate is {rate}"):
        Dropout(rate)


def test_train_and_eval_reach_every_layer_and_no_module_stores_a_stream() -> None:
    stack = StackedLSTM(3, 4, 2, dropout=0.5, recurrent_dropout=0.5, cell_zoneout=0.5, rngs=nnx.Rngs(0))
    x = jnp.ones((2, 3, 3))
    stack.eval()
    np.testing.assert_array_equal(stack(x), stack(x, deterministic=True))
    stack.train()
    with pytest.raises(ValueError, match="draws random numbers"):
        stack(x)
    assert not jax.tree.leaves(nnx.state(stack, nnx.RngState))


def layer_with(**options: Any) -> LSTM:
    return LSTM(3, 64, rngs=nnx.Rngs(0), **options)


@pytest.mark.parametrize("name", ["input_dropout", "recurrent_dropout"])
def test_variational_masks_are_one_a_sequence(name: str) -> None:
    """With all but one input step zero, a mask that changed from step to step would show."""
    layer = layer_with(**{name: 0.5})
    x = jax.random.normal(jax.random.key(1), (4, 6, 3))
    ys = layer(x, rngs=nnx.Rngs(dropout=3))
    stream = nnx.Rngs(dropout=3)
    if name == "input_dropout":
        mask = Dropout(0.5).mask((4, 1, 3), rngs=nnx.Rngs(dropout=3))
        expected = layer(
            x * jnp.reshape(layer.input_dropout.mask((1, 4, 3), rngs=stream), (4, 1, 3)), deterministic=True
        )
        assert mask is not None
    else:
        mask = layer.recurrent_dropout.mask((4, 64), rngs=stream)
        (c, h) = (jnp.zeros((4, 64)), jnp.zeros((4, 64)))
        steps = []
        for t in range(6):
            (c, h), y = layer.cell((c, h * mask), x[:, t])
            steps.append(y)
        expected = jnp.stack(steps, axis=1)
    np.testing.assert_allclose(ys, expected, atol=1e-6)
    assert not np.allclose(ys, layer(x, deterministic=True), atol=1e-3)


def test_zoneout_keeps_old_values_at_its_rate_and_their_mean_in_evaluation() -> None:
    cell = LSTMCell(3, 50, cell_zoneout=0.2, hidden_zoneout=0.6, rngs=nnx.Rngs(0))
    carry = (jnp.full((80, 50), 7.0), jnp.full((80, 50), 5.0))
    x = jnp.ones((80, 3))
    (c, h), y = cell(carry, x, rngs=nnx.Rngs(dropout=0))
    np.testing.assert_allclose(np.mean(np.asarray(c) == 7.0), 0.2, atol=0.03)
    np.testing.assert_allclose(np.mean(np.asarray(h) == 5.0), 0.6, atol=0.03)
    np.testing.assert_array_equal(y, h)
    cell.eval()
    (c, h), _ = cell(carry, x)
    new_c, new_h = plain_step(cell, carry, x)
    np.testing.assert_allclose(c, 0.8 * new_c + 0.2 * 7.0, rtol=1e-5)
    np.testing.assert_allclose(h, 0.4 * new_h + 0.6 * 5.0, rtol=1e-5)


def plain_step(cell: LSTMCell, carry: Any, x: Any) -> Any:
    i, f, g, o = jnp.split(x @ cell.kernel[...] + carry[1] @ cell.recurrent_kernel[...] + cell.bias[...], 4, axis=-1)
    c = jax.nn.sigmoid(f) * carry[0] + jax.nn.sigmoid(i) * jnp.tanh(g)
    return c, jax.nn.sigmoid(o) * jnp.tanh(c)


def test_zoneout_masks_change_from_step_to_step() -> None:
    layer = layer_with(cell_zoneout=1.0)
    (c, _), _ = layer(jnp.ones((1, 5, 3)), return_carry=True, rngs=nnx.Rngs(dropout=0))
    np.testing.assert_array_equal(c, np.zeros((1, 64)))
    half = layer_with(hidden_zoneout=0.5)
    ys = np.asarray(half(jnp.ones((1, 40, 3)), rngs=nnx.Rngs(dropout=0)))[0]
    kept = ys[1:] == ys[:-1]
    np.testing.assert_allclose(kept.mean(), 0.5, atol=0.05)
    assert len({row.tobytes() for row in kept}) == 39
