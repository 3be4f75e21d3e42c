"""Sizes that are derived where none are given."""

import pytest

from lstmjax.config import ModelConfig
from lstmjax.models.sizes import FEW_WINDOWS, hidden_size, segment_size, with_sizes
from lstmjax.window import WindowSpec


@pytest.mark.parametrize(
    ("input_size", "h", "season", "size"),
    [
        (168, 24, 24, 24),  # hours: a day
        (96, 96, 24, 24),
        (96, 48, 24, 24),
        (336, 96, 336, 48),  # half-hours of weekly season, two days: the day that both share
        (96, 24, 336, 24),
        (24, 18, 12, 6),  # months
        (48, 8, 12, 12),  # two years do not share a part of six rows: a year, four of which the lookback holds
        (28, 14, 7, 7),  # days
        (28, 30, 7, 7),
        (96, 13, 1, 12),  # no season: an eighth of the lookback
        (3, 5, 1, 1),
        (2, 24, 24, 1),  # a lookback of less than a part
        (1, 1, 1, 1),
    ],
)
def test_a_segment_is_a_part_of_the_season(input_size, h, season, size):
    spec = WindowSpec(input_size=input_size, h=h, season_length=season)
    assert segment_size(ModelConfig(), spec) == size
    assert season == 1 or season % size == 0
    assert segment_size(ModelConfig(segment_size=5), spec) == 5  # what is given counts


def test_few_windows_get_a_smaller_network():
    spec = WindowSpec(input_size=96, h=24, season_length=24)
    assert hidden_size(ModelConfig()) == 128
    assert with_sizes(ModelConfig(), spec, FEW_WINDOWS - 1).hidden_size == 32
    assert with_sizes(ModelConfig(), spec, FEW_WINDOWS) == ModelConfig(hidden_size=128, segment_size=24)
    given = ModelConfig(hidden_size=7, segment_size=3)
    assert with_sizes(given, spec, 10) == given
