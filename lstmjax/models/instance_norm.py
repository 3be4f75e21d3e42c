"""What all networks do to a window before they look at it, and undo on their forecast: level, size, and a baseline."""

import dataclasses
from typing import Self

from jaxtyping import Array, Float

from lstmjax import nn
from lstmjax.config import BaselineName, ModelConfig
from lstmjax.errors import ConfigError
from lstmjax.nn.normalization import WindowStatistics
from lstmjax.ops.naive import repeat_last, seasonal_naive
from lstmjax.window import WindowBatch, WindowSpec

Norm = nn.ReversibleNorm | nn.WindowNorm


def make_norm(spec: WindowSpec, config: ModelConfig) -> Norm | None:
    """The normalisation that ``model.instance_norm`` and ``model.instance_scale`` ask for; None for none."""
    if config.instance_norm == "revin":
        return nn.ReversibleNorm(spec.targets)
    if config.instance_norm == "none" and config.instance_scale == "none":
        return None
    return nn.WindowNorm(center=config.instance_norm, scale=config.instance_scale, rows=config.instance_rows)


def normalize(norm: Norm | None, window: WindowBatch) -> tuple[WindowBatch, WindowStatistics | None]:
    """The window with its targets normalised, and what `restore` needs."""
    if norm is None:
        return window, None
    y, statistics = norm(window.y, window.y_mask)
    return window._replace(y=y), statistics


def restore(
    norm: Norm | None, forecast: Float[Array, "B H C"], statistics: WindowStatistics | None
) -> Float[Array, "B H C"]:
    """A forecast in normalised units, in those of the window."""
    if norm is None or statistics is None:
        return forecast
    return norm.inverse(forecast, statistics)


@dataclasses.dataclass(frozen=True)
class Residual:
    """The baseline that a network learns the difference to.

    Attributes:
        name: which baseline.
        h: rows to forecast.
        season: rows in a season.
    """

    name: BaselineName
    h: int
    season: int

    @classmethod
    def of(cls, spec: WindowSpec, config: ModelConfig) -> Self:
        """What ``model.residual`` and ``model.residual_season`` ask for.

        Raises:
            ConfigError: a seasonal residual whose season does not fit into the lookback.
        """
        season = config.residual_season or spec.season_length
        if config.residual == "seasonal_naive" and season > spec.input_size:
            raise ConfigError(
                f"model.residual is seasonal_naive, and a season is {season} rows: "
                f"data.input_size is {spec.input_size}, expected at least a season"
            )
        return cls(config.residual, spec.h, season)

    def __call__(self, window: WindowBatch) -> Float[Array, "B H C"] | float:
        """The baseline's forecast, in the units of ``window.y``."""
        if self.name == "naive":
            return repeat_last(window.y, window.y_mask, self.h)
        if self.name == "seasonal_naive":
            return seasonal_naive(window.y, window.y_mask, self.h, self.season)
        return 0.0
