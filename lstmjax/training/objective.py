"""The number by which a sweep ranks its trials: a metric in the table's units, whatever a trial's scaler and loss.

A trial's validation loss cannot be compared with that of others: it is in the trial's own scaled units. So a check
turns forecasts and truth back into the table's units, and weighs each error by its series and target.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


class Units(NamedTuple):
    """What turns scaled forecasts into a metric: float32, one number per series and target."""

    center: Float[Array, "N C"] | Float[np.ndarray, "N C"]
    spread: Float[Array, "N C"] | Float[np.ndarray, "N C"]
    """In the table's units a value is ``scaled * spread + center``, its transform undone."""
    weight: Float[Array, "N C"] | Float[np.ndarray, "N C"]
    """By which an error counts."""


class Measure(NamedTuple):
    """Which metric, of targets transformed in which way. Hashable: it is compiled in."""

    metric: str
    """Key of `METRICS`."""
    transform: str = "none"
    """Key of `INVERSES`: ``data.transform``."""

    def errors(
        self, forecast: Float[Array, "B H C"], y: Float[Array, "B H C"], units: Units, series: Int[Array, " B"]
    ) -> Float[Array, "B H C"]:
        """The weighted errors of scaled forecasts.

        Args:
            forecast: scaled.
            y: the truth, scaled.
            units: what turns them into the table's units.
            series: (B,) the series of each window.
        """
        center, spread, weight = (jnp.take(column, series, axis=0, mode="clip")[:, None] for column in units)
        forecast, y = (INVERSES[self.transform](values * spread + center) for values in (forecast, y))
        return weight * METRICS[self.metric].error(forecast, y)

    def finish(self, mean: Float[Array, ""]) -> Float[Array, ""]:
        """The metric from the mean of the weighted errors."""
        return METRICS[self.metric].finish(mean)


class Objective(NamedTuple):
    """A metric of the validation windows, for one panel."""

    measure: Measure
    units: Units


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric as a function of the errors: their weighted mean over all observed targets.

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

INVERSES: dict[str, Callable[[Array], Array]] = {"none": lambda values: values, "log": jnp.exp}
"""What undoes a transform of targets, by the name ``data.transform`` gives it."""
