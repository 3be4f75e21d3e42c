"""Losses of a forecast against the truth, one value per element. The training step masks and averages them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def squared_error(predictions: Float[Array, "..."], targets: Float[Array, "..."]) -> Float[Array, "..."]:
    """The squared error, elementwise.

    Args:
        predictions: forecasts, any shape.
        targets: the truth, of the same shape.

    Returns:
        ``(predictions - targets) ** 2``. Its mean is the MSE; Optax's ``l2_loss`` is half of it.

    Raises:
        ValueError: the shapes differ.

    >>> squared_error(jax.numpy.array([1.0, 2.0]), jax.numpy.array([3.0, 2.0])).tolist()
    [4.0, 0.0]
    """
    _check_shapes(predictions, targets)
    return jnp.square(predictions - targets)


def absolute_error(predictions: Float[Array, "..."], targets: Float[Array, "..."]) -> Float[Array, "..."]:
    """The absolute error, elementwise.

    Args:
        predictions: forecasts, any shape.
        targets: the truth, of the same shape.

    Returns:
        ``|predictions - targets|``.

    Raises:
        ValueError: the shapes differ.

    >>> absolute_error(jax.numpy.array([1.0, 2.0]), jax.numpy.array([3.0, 2.0])).tolist()
    [2.0, 0.0]
    """
    _check_shapes(predictions, targets)
    return jnp.abs(predictions - targets)


def huber(
    predictions: Float[Array, "..."], targets: Float[Array, "..."], *, delta: float | Array = 1.0
) -> Float[Array, "..."]:
    """Huber's loss, elementwise: quadratic near zero, linear beyond ``delta``.

    Args:
        predictions: forecasts, any shape.
        targets: the truth, of the same shape.
        delta: where the quadratic part turns into the linear one; may be traced.

    Returns:
        ``e² / 2`` where ``|e| <= delta``, else ``delta (|e| - delta / 2)``, with ``e = predictions - targets``.

    Raises:
        ValueError: the shapes differ.

    References:
        Huber, `Robust Estimation of a Location Parameter <https://doi.org/10.1214/aoms/1177703732>`_, 1964

    >>> huber(jax.numpy.array([0.5, 3.0]), jax.numpy.zeros(2), delta=1.0).tolist()
    [0.125, 2.5]
    """
    _check_shapes(predictions, targets)
    error = jnp.abs(predictions - targets)
    quadratic = jnp.minimum(error, delta)
    # error - quadratic rather than max(error - delta, 0), whose gradient would be counted twice at the joint
    return 0.5 * jnp.square(quadratic) + delta * (error - quadratic)


def _check_shapes(predictions: jax.Array, targets: jax.Array) -> None:
    # Broadcasting (B, H) against (B, H, 1) would silently train on nonsense.
    if jnp.shape(predictions) != jnp.shape(targets):
        raise ValueError(
            f"predictions and targets must have one shape, got {jnp.shape(predictions)} and {jnp.shape(targets)}"
        )


LOSSES: dict[str, Callable[[Array, Array, float | Array], Array]] = {
    "mse": lambda predictions, targets, delta: squared_error(predictions, targets),
    "mae": lambda predictions, targets, delta: absolute_error(predictions, targets),
    "huber": lambda predictions, targets, delta: huber(predictions, targets, delta=delta),
}
"""Losses by the name ``train.loss`` gives them; the third argument is ``train.huber_delta``."""
