"""Losses of a forecast against the truth, one value per element. The training step masks and averages them."""

import inspect
from collections.abc import Callable

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from lstmjax.errors import ConfigError

OwnLoss = Callable[[Array, Array], Array]
"""A loss of the user's own: of forecast and truth in scaled units, (B, H, C) each, one value per element, in JAX."""

Loss = str | OwnLoss
"""A key of `LOSSES`, or a loss of the user's own."""

LOSSES: dict[str, Callable[[Array, Array, float | Array], Array]] = {
    "mse": lambda forecast, y, delta: optax.losses.squared_error(forecast, y),
    "mae": lambda forecast, y, delta: jnp.abs(forecast - y),
    "huber": lambda forecast, y, delta: optax.losses.huber_loss(forecast, y, delta=delta),
}
"""Losses by the name ``train.loss`` gives them; the third argument is ``train.huber_delta``, which may be traced."""


def elementwise(
    loss: Loss, forecast: Float[Array, "..."], y: Float[Array, "..."], delta: float | Array = 1.0
) -> Float[Array, "..."]:
    """The loss of each element.

    Args:
        loss: which.
        forecast: forecasts, any shape.
        y: the truth, of the same shape.
        delta: of the Huber loss.

    Raises:
        ValueError: the shapes differ: (B, H) against (B, H, 1) would silently train on nonsense.
        ConfigError: a loss of the user's own cannot be called, or returns another shape, such as a mean.

    >>> elementwise("mse", jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0])).tolist()
    [4.0, 0.0]
    """
    if jnp.shape(forecast) != jnp.shape(y):
        raise ValueError(f"forecast and y must have one shape, got {jnp.shape(forecast)} and {jnp.shape(y)}")
    if isinstance(loss, str):
        return LOSSES[loss](forecast, y, delta)
    _check_arguments(loss)
    found = loss(forecast, y)
    if jnp.shape(found) != jnp.shape(y):
        raise ConfigError(
            f"the loss {loss_name(loss)} returned the shape {jnp.shape(found)} for forecasts of the shape "
            f"{jnp.shape(y)}: expected one value per element, which training masks and averages"
        )
    return found


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
