"""Losses of a forecast against the truth, one value per element. The training step masks and averages them."""

import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lstmjax.errors import ConfigError
from lstmjax.window import Forecast, Point, Target

OwnLoss = Callable[[Array, Array], Array]
"""A loss of the user's own: of forecast and truth in scaled units, (B, H, C) each, one value per element, in JAX."""

Loss = str | OwnLoss
"""A key of `LOSSES`, or a loss of the user's own."""

LossFunction = Callable[[Forecast, Target, Any], Array]
"""Of forecast, truth and hyperparameters: one value per element, (B, H, C)."""


def _of_points(error: Callable[[Array, Array, float | Array], Array]) -> LossFunction:
    """A loss of point forecasts from an error of forecast and truth."""

    def loss(forecast: Forecast, target: Target, hyper: Any) -> Array:
        _require(isinstance(forecast.head, Point), forecast)
        return error(_same_shape(forecast.point(), target.y), target.y, 1.0 if hyper is None else hyper.huber_delta)

    return loss


def _own(name: str) -> LossFunction:
    """The loss of the forecast's head, where that has this name."""

    def loss(forecast: Forecast, target: Target, hyper: Any) -> Array:
        _require(forecast.head.loss_name == name, forecast)
        return forecast.loss(target, hyper)

    return loss


LOSSES: dict[str, LossFunction] = {
    "auto": lambda forecast, target, hyper: forecast.loss(target, hyper),
    "mse": _of_points(lambda forecast, y, delta: optax.losses.squared_error(forecast, y)),
    "mae": _of_points(lambda forecast, y, delta: jnp.abs(forecast - y)),
    "huber": _of_points(lambda forecast, y, delta: optax.losses.huber_loss(forecast, y, delta=delta)),
    "pinball": _own("pinball"),
    "nll": _own("nll"),
}
"""Losses by the name that ``train.loss`` gives them."""


def loss_values(loss: Loss, forecast: Forecast, target: Target, hyper: Any = None) -> Float[Array, "B H C"]:
    """The loss of each element; what is missing is not masked yet.

    Args:
        loss: which.
        forecast: the forecast of a batch.
        target: the truth.
        hyper: hyperparameters, of which huber needs ``huber_delta``; None: 1.

    Raises:
        ValueError: the shapes differ: (B, H) against (B, H, 1) would silently train on nonsense.
        ConfigError: the loss does not fit the forecast's head; or a loss of the user's own cannot be called, or returns
            another shape, such as a mean.

    >>> target = Target(jnp.array([[[3.0], [2.0]]]), jnp.ones((1, 2, 1), bool))
    >>> loss_values("mse", Forecast(jnp.array([[[[1.0]], [[2.0]]]])), target).ravel().tolist()
    [4.0, 0.0]
    """
    if isinstance(loss, str):
        return _same_shape(LOSSES[loss](forecast, target, hyper), target.y)
    _check_arguments(loss)
    found = loss(_same_shape(forecast.point(), target.y), target.y)
    if jnp.shape(found) != jnp.shape(target.y):
        raise ConfigError(
            f"the loss {loss_name(loss)} returned the shape {jnp.shape(found)} for forecasts of the shape "
            f"{jnp.shape(target.y)}: expected one value per element, which training masks and averages"
        )
    return found


def _same_shape(values: Array, y: Array) -> Array:
    if jnp.shape(values) != jnp.shape(y):
        raise ValueError(f"forecast and y must have one shape, got {jnp.shape(values)} and {jnp.shape(y)}")
    return values


def _require(fits: bool, forecast: Forecast) -> None:
    if not fits:
        raise ConfigError(
            f"train.loss does not fit the head {type(forecast.head).__name__}, whose loss is "
            f"{forecast.head.loss_name}: leave train.loss at auto"
        )


def _check_arguments(loss: OwnLoss) -> None:
    try:
        inspect.signature(loss).bind(None, None)
    except TypeError as error:
        raise ConfigError(
            f"the loss {loss_name(loss)} cannot be called: {error}; it takes (forecast, y), two arrays of one shape"
        ) from None
    except ValueError:  # it has no signature that could be read
        return


def loss_name(loss: Loss) -> str:
    """What a checkpoint calls the loss: its name, or that of the user's function."""
    return loss if isinstance(loss, str) else getattr(loss, "__qualname__", type(loss).__qualname__)
