"""The normalisation of a window that all networks apply before they read it, and undo on their forecast."""

from lstmjax import nn
from lstmjax.config import ModelConfig
from lstmjax.nn.normalization import WindowStatistics
from lstmjax.window import Forecast, WindowBatch, WindowSpec

Norm = nn.ReversibleNorm | nn.WindowNorm


def make_norm(spec: WindowSpec, config: ModelConfig) -> Norm | None:
    """The normalisation that ``model.instance_norm`` and ``model.instance_scale`` name; None where both are none."""
    config = config.chosen
    if config.instance_norm == "revin":
        return nn.ReversibleNorm(spec.targets)
    if config.instance_norm == "none" and config.instance_scale == "none":
        return None
    return nn.WindowNorm(center=config.instance_norm, scale=config.instance_scale, rows=config.instance_rows)


def normalize(norm: Norm | None, window: WindowBatch) -> tuple[WindowBatch, WindowStatistics | None]:
    """Normalises the targets of a window; returns the window, and the statistics that `restore` needs."""
    if norm is None:
        return window, None
    y, statistics = norm(window.y, window.y_mask)
    return window._replace(y=y), statistics


def restore(norm: Norm | None, forecast: Forecast, statistics: WindowStatistics | None) -> Forecast:
    """Takes a forecast from normalised units back to the units of the window."""
    if norm is None or statistics is None:
        return forecast
    return forecast.affine(*norm.affine(statistics))
