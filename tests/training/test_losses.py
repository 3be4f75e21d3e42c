import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lstmjax import config
from lstmjax.errors import ConfigError
from lstmjax.training.losses import LOSSES, elementwise

PREDICTIONS = jnp.linspace(-3.0, 3.0, 13)
TARGETS = jnp.roll(PREDICTIONS, 4) * 0.7


def test_every_loss_of_the_config_is_there():
    assert set(LOSSES) == set(typing.get_args(config.LossName))


def test_squared_and_absolute_error_are_numpys():
    error = np.asarray(PREDICTIONS) - np.asarray(TARGETS)
    np.testing.assert_allclose(elementwise("mse", PREDICTIONS, TARGETS), error**2, rtol=1e-6)
    np.testing.assert_allclose(elementwise("mae", PREDICTIONS, TARGETS), np.abs(error), rtol=1e-6)


@pytest.mark.parametrize("delta", [0.3, 1.0, 2.5])
def test_huber_and_its_gradient_are_optaxs(delta):
    ours = jax.jit(lambda p: elementwise("huber", p, TARGETS, delta).sum())
    theirs = lambda p: optax.huber_loss(p, TARGETS, delta=delta).sum()  # noqa: E731
    np.testing.assert_allclose(ours(PREDICTIONS), theirs(PREDICTIONS), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(ours)(PREDICTIONS), jax.grad(theirs)(PREDICTIONS), rtol=1e-6)


def test_delta_reaches_huber_through_the_dict_and_may_be_traced():
    loss = jax.jit(LOSSES["huber"])
    np.testing.assert_allclose(loss(np.float32([3.0]), np.float32([0.0]), 2.0), [4.0])
    np.testing.assert_allclose(loss(np.float32([3.0]), np.float32([0.0]), 1.0), [2.5])


def test_gradients_are_those_of_finite_differences():
    step = 1e-2
    for name, loss in LOSSES.items():
        ends = [loss(PREDICTIONS + sign * step, TARGETS, 1.0) for sign in (1, -1)]
        gradient = jax.grad(lambda p, loss=loss: loss(p, TARGETS, 1.0).sum())(PREDICTIONS)
        np.testing.assert_allclose(gradient, (ends[0] - ends[1]) / (2 * step), atol=1e-2, err_msg=name)


@pytest.mark.parametrize("name", LOSSES)
def test_shapes_that_would_broadcast_are_refused(name):
    with pytest.raises(ValueError, match=r"one shape, got \(4, 3\) and \(4, 1\)"):
        elementwise(name, jnp.ones((4, 3)), jnp.ones((4, 1)), 1.0)


def test_a_loss_of_ones_own_is_called_and_must_give_a_value_per_element():
    def above(forecast, y):
        return jnp.maximum(forecast - y, 0.0)

    np.testing.assert_array_equal(elementwise(above, PREDICTIONS, TARGETS), above(PREDICTIONS, TARGETS))
    with pytest.raises(ConfigError, match=r"<lambda> returned the shape \(\) for forecasts of the shape \(13,\)"):
        elementwise(lambda forecast, y: jnp.mean(forecast - y), PREDICTIONS, TARGETS)


@pytest.mark.parametrize("loss", [lambda forecast: forecast, lambda forecast, y, weight: y, lambda: None])
def test_a_loss_of_ones_own_takes_forecast_and_truth(loss):
    with pytest.raises(ConfigError, match=r"cannot be called: .*; it takes \(forecast, y\)"):
        elementwise(loss, PREDICTIONS, TARGETS)
