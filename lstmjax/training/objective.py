"""The number by which a sweep ranks its trials: a metric in the table's units, whatever a trial's scaler and loss.

A trial's validation loss is no such number: it is in the trial's own scaled units. So a check turns forecasts and
truth back into the table's units, and weighs each error by its series and target.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Units(NamedTuple):
    """What turns scaled forecasts into a metric: one number a series and target each, float32."""

    center: Float[Array, "N C"] | Float[np.ndarray, "N C"]
    spread: Float[Array, "N C"] | Float[np.ndarray, "N C"]
    """In the table's units a value is ``scaled * spread + center``."""
    weight: Float[Array, "N C"] | Float[np.ndarray, "N C"]
    """By which an error counts."""


class Objective(NamedTuple):
    """A metric of the validation windows, for one panel."""

    metric: str
    """Key of `METRICS`."""
    units: Units


@dataclasses.dataclass(frozen=True)
class Metric:
    """How a metric comes of the errors: their weighted mean over all observed targets.

    Attributes:
        error: of forecast and truth in the table's units, elementwise.
        finish: what is done to the mean.
    """

    error: Callable[[Array, Array], Array]
    finish: Callable[[Array], Array] = lambda mean: mean


def _absolute(forecast: Array, y: Array) -> Array:
    return jnp.abs(forecast - y)


def _squared(forecast: Array, y: Array) -> Array:
    return jnp.square(forecast - y)


def _percentage(forecast: Array, y: Array) -> Array:
    size = jnp.abs(forecast) + jnp.abs(y)
    return jnp.where(size == 0, 0.0, 200.0 * jnp.abs(forecast - y) / jnp.where(size == 0, 1.0, size))


METRICS: dict[str, Metric] = {
    "scaled_mae": Metric(_absolute),
    "mae": Metric(_absolute),
    "mse": Metric(_squared),
    "rmse": Metric(_squared, jnp.sqrt),
    "smape": Metric(_percentage),
    "mase": Metric(_absolute),
}
"""Metrics by the name a sweep gives them. What distinguishes those with the same error is the weights."""
