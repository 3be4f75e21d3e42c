"""The number by which a sweep ranks its trials: a metric in the table's units, whatever a trial's scaler and loss.

A trial's validation loss cannot be compared with that of others: it is in the trial's own scaled units. So a check
turns forecasts and truth back into the table's units, and weighs each error by its series and target.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lstmjax.data.unscaling import in_units
from lstmjax.evaluation.metrics import METRICS, Metric
from lstmjax.ops.pinball import pinball
from lstmjax.window import Forecast, Point

SCALED_MAE = "scaled_mae"
"""The mean absolute error over the deviation of the training rows, which only a sweep has: weights make it."""


PROBABILISTIC = ("crps", "wql", "sql")
"""Metrics of distributions that a sweep can rank by: means of the pinball loss over `LEVELS`, in different units."""

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


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
    """`SCALED_MAE`, one of `PROBABILISTIC`, or a key of `lstmjax.evaluation.metrics.METRICS`."""
    transform: str = "none"
    """``data.transform``."""
    clip_min: float | None = None
    """``data.clip_min``."""

    def errors(
        self, forecast: Forecast, y: Float[Array, "B H C"], units: Units, series: Int[Array, " B"]
    ) -> Float[Array, "B H C"]:
        """The weighted errors of scaled forecasts; of the metrics of distributions, the mean over `LEVELS`.

        Args:
            forecast: scaled. A point forecast has all its quantiles at one place.
            y: the truth, scaled.
            units: what turns them into the table's units.
            series: (B,) the series of each window.
        """
        center, spread, weight = (jnp.take(column, series, axis=0, mode="clip")[:, None] for column in units)
        y = in_units(y, center, spread, self.transform)
        if self.metric in PROBABILISTIC and not isinstance(forecast.head, Point):
            values = [in_units(forecast.quantile(q), center, spread, self.transform, self.clip_min) for q in LEVELS]
            return weight * sum(pinball(y, value, q) for value, q in zip(values, LEVELS, strict=True)) / len(LEVELS)
        return weight * self._entry.error(y, in_units(forecast.point(), center, spread, self.transform, self.clip_min))

    def finish(self, mean: Float[Array, ""]) -> Float[Array, ""]:
        """The metric from the mean of the weighted errors."""
        return self._entry.finish(mean)

    @property
    def _entry(self) -> Metric:
        return METRICS["mae" if self.metric in (SCALED_MAE, *PROBABILISTIC) else self.metric]


class Objective(NamedTuple):
    """A metric of the validation windows, for one panel."""

    measure: Measure
    units: Units
