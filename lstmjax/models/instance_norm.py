"""The normalisation of a window that all networks apply before they read it, and undo on their forecast."""

from lstmjax import nn
from lstmjax.config import ModelConfig
from lstmjax.window import WindowSpec


def make_norm(spec: WindowSpec, config: ModelConfig) -> nn.WindowNorm | None:
    """The normalisation that ``model.instance_norm`` and ``model.instance_scale`` name; None where both are none."""
    if config.instance_norm == "revin":
        return nn.ReversibleNorm(spec.targets)
    if config.instance_norm == "none" and config.instance_scale == "none":
        return None
    return nn.WindowNorm(center=config.instance_norm, scale=config.instance_scale, rows=config.instance_rows)
