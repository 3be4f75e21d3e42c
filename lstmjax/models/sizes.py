"""Sizes of a network where the user gives none: by the season, the window and the amount of data."""

import dataclasses
import math

from lstmjax.config import ModelConfig
from lstmjax.window import WindowSpec

FEW_WINDOWS = 1_000
"""With fewer training windows the smaller network is the default."""


def with_sizes(config: ModelConfig, spec: WindowSpec, windows: int) -> ModelConfig:
    """The network's options with its sizes filled in.

    Args:
        config: the options.
        spec: sizes of a window.
        windows: windows to train on.
    """
    return dataclasses.replace(
        config, hidden_size=hidden_size(config, windows), segment_size=segment_size(config, spec)
    )


def hidden_size(config: ModelConfig, windows: int | None = None) -> int:
    """Hidden features of the LSTM.

    Args:
        config: the network's options.
        windows: windows to train on; None where they are not known, which counts as many.
    """
    if config.hidden_size is not None:
        return config.hidden_size
    return 32 if windows is not None and windows < FEW_WINDOWS else 128


def segment_size(config: ModelConfig, spec: WindowSpec) -> int:
    """Rows of a segment.

    By default it is a part of the season, so that the same hours of other days meet: the largest one that divides the
    horizon too, if it has six rows at least; else the largest one of which the lookback holds four. Without a season it
    is an eighth of the lookback.

    Args:
        config: the network's options.
        spec: sizes of a window.

    >>> segment_size(ModelConfig(), WindowSpec(input_size=168, h=24, season_length=24))  # hours
    24
    >>> segment_size(ModelConfig(), WindowSpec(input_size=336, h=96, season_length=336))  # half-hours, two days
    48
    >>> segment_size(ModelConfig(), WindowSpec(input_size=24, h=8, season_length=12))  # months
    6
    """
    if config.segment_size is not None:
        return config.segment_size
    shared = math.gcd(spec.season_length, spec.h)
    if 6 <= shared <= spec.input_size:
        return shared
    if spec.season_length == 1:
        return max(1, spec.input_size // 8)
    parts = (size for size in range(1, max(1, spec.input_size // 4) + 1) if spec.season_length % size == 0)
    return max(parts)
