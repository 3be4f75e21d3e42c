"""The baseline that a network learns the difference to."""

import dataclasses
from typing import Self

import jax.numpy as jnp
from jaxtyping import Array, Float

from lstmjax.config import BaselineName, ModelConfig
from lstmjax.errors import ConfigError
from lstmjax.ops.naive import repeat_last, seasonal_naive
from lstmjax.window import WindowBatch, WindowSpec


def at_location(raw: Float[Array, "B H C P"], shortcut: Float[Array, "B H C"] | float) -> Float[Array, "B H C P"]:
    """Adds a shortcut to the location, the first of what a head makes its parameters of."""
    if isinstance(shortcut, float):
        return raw
    return jnp.concatenate([raw[..., :1] + shortcut[..., None], raw[..., 1:]], axis=-1)


@dataclasses.dataclass(frozen=True)
class Residual:
    """A baseline forecast that is added to what a network computes, so that the network learns the difference.

    Attributes:
        name: which baseline.
        h: rows to forecast.
        season: rows in one season.
    """

    name: BaselineName
    h: int
    season: int

    @classmethod
    def of(cls, spec: WindowSpec, config: ModelConfig) -> Self:
        """The baseline that ``model.residual`` and ``model.residual_season`` name.

        Raises:
            ConfigError: the residual is seasonal and its season is longer than the lookback.
        """
        season = config.residual_season or spec.season_length
        if config.residual == "seasonal_naive" and season > spec.input_size:
            raise ConfigError(
                f"model.residual is seasonal_naive, and a season is {season} rows: "
                f"data.input_size is {spec.input_size}, expected at least a season"
            )
        return cls(config.residual, spec.h, season)

    def __call__(self, window: WindowBatch) -> Float[Array, "B H C"] | float:
        """Forecasts the baseline, in the units of ``window.y``."""
        if self.name == "naive":
            return repeat_last(window.y, window.y_mask, self.h)
        if self.name == "seasonal_naive":
            return seasonal_naive(window.y, window.y_mask, self.h, self.season)
        return 0.0
