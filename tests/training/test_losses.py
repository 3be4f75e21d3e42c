import types
import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lstmjax import config
from lstmjax.config import LOSS_OF_HEAD
from lstmjax.errors import ConfigError
from lstmjax.nn.heads import HEADS
from lstmjax.training.losses import LOSSES, loss_values
from lstmjax.window import Forecast, Target

PREDICTIONS = jnp.linspace(-3.0, 3.0, 13)
TARGETS = jnp.roll(PREDICTIONS, 4) * 0.7


def test_every_loss_of_the_config_is_there():
    assert set(LOSSES) == set(typing.get_args(config.LossName))


OF_POINTS = [name for name in LOSSES if name not in ("auto", *LOSS_OF_HEAD.values())]


def forecast(values):
    return Forecast(jnp.reshape(values, (1, -1, 1, 1)))


def target(values):
    y = jnp.reshape(values, (1, -1, 1))
    return Target(y, jnp.ones(y.shape, bool))


def values(name, predictions, targets, delta=1.0):
    hyper = types.SimpleNamespace(huber_delta=delta)
    return loss_values(name, forecast(predictions), target(targets), hyper).reshape(-1)


def test_squared_and_absolute_error_are_numpys():
    error = np.asarray(PREDICTIONS) - np.asarray(TARGETS)
    np.testing.assert_allclose(values("mse", PREDICTIONS, TARGETS), error**2, rtol=1e-6)
    np.testing.assert_allclose(values("mae", PREDICTIONS, TARGETS), np.abs(error), rtol=1e-6)


@pytest.mark.parametrize("delta", [0.3, 1.0, 2.5])
def test_huber_and_its_gradient_are_optaxs(delta):
    ours = jax.jit(lambda p: values("huber", p, TARGETS, delta).sum())
    theirs = lambda p: optax.huber_loss(p, TARGETS, delta=delta).sum()  # noqa: E731
    np.testing.assert_allclose(ours(PREDICTIONS), theirs(PREDICTIONS), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(ours)(PREDICTIONS), jax.grad(theirs)(PREDICTIONS), rtol=1e-6)


def test_delta_reaches_huber_and_may_be_traced():
    three, zero = jnp.array([3.0]), jnp.array([0.0])
    loss = jax.jit(lambda delta: values("huber", three, zero, delta))
    np.testing.assert_allclose(loss(2.0), [4.0])
    np.testing.assert_allclose(loss(1.0), [2.5])


@pytest.mark.parametrize("name", ["auto", *OF_POINTS])
def test_gradients_are_those_of_finite_differences(name):
    step = 1e-2
    ends = [values(name, PREDICTIONS + sign * step, TARGETS) for sign in (1, -1)]
    gradient = jax.grad(lambda p: values(name, p, TARGETS).sum())(PREDICTIONS)
    np.testing.assert_allclose(gradient, (ends[0] - ends[1]) / (2 * step), atol=1e-2, err_msg=name)


@pytest.mark.parametrize("head", typing.get_args(config.HeadName))
def test_auto_is_the_loss_of_the_head_and_others_do_not_fit(head):
    made = HEADS[head]((0.1, 0.5, 0.9))
    parameters = made.constrain(jax.random.normal(jax.random.key(0), (2, 3, 1, made.size)))
    whole = Target(jnp.ones((2, 3, 1)), jnp.ones((2, 3, 1), bool))
    auto = loss_values("auto", Forecast(parameters, made), whole)
    own = LOSS_OF_HEAD.get(head, "mae")
    np.testing.assert_array_equal(loss_values(own, Forecast(parameters, made), whole), auto)
    assert made.loss_name == own
    for name in set(LOSSES) - {"auto", *([own] if head in LOSS_OF_HEAD else OF_POINTS)}:
        with pytest.raises(ConfigError, match=f"does not fit the head {type(made).__name__}"):
            loss_values(name, Forecast(parameters, made), whole)
        with pytest.raises(ConfigError, match=r"train\.loss is .* which does not fit model\.head"):
            config.RunConfig().replace({"model.head": head, "train.loss": name})


@pytest.mark.parametrize("name", ["auto", *OF_POINTS])
def test_shapes_that_would_broadcast_are_refused(name):
    y = jnp.ones((4, 1, 1))
    with pytest.raises(ValueError, match=r"one shape, got \(4, 3, 1\) and \(4, 1, 1\)"):
        loss_values(name, Forecast(jnp.ones((4, 3, 1, 1))), Target(y, y > 0))


def test_a_loss_of_ones_own_is_called_and_must_give_a_value_per_element():
    def above(forecast, y):
        return jnp.maximum(forecast - y, 0.0)

    np.testing.assert_array_equal(values(above, PREDICTIONS, TARGETS), above(PREDICTIONS, TARGETS))
    with pytest.raises(ConfigError, match=r"<lambda> returned the shape \(\) for forecasts of the shape \(1, 13, 1\)"):
        values(lambda forecast, y: jnp.mean(forecast - y), PREDICTIONS, TARGETS)


@pytest.mark.parametrize("loss", [lambda forecast: forecast, lambda forecast, y, weight: y, lambda: None])
def test_a_loss_of_ones_own_takes_forecast_and_truth(loss):
    with pytest.raises(ConfigError, match=r"cannot be called: .*; it takes \(forecast, y\)"):
        values(loss, PREDICTIONS, TARGETS)
