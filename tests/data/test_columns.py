"""Columns of many series side by side: the numbers are those of a loop over series."""

import numpy as np
import pytest

from lstmjax.data import columns
from lstmjax.data.columns import columns_of_series
from lstmjax.data.scalers import SCALERS, by_series, center_and_scale, each_column
from lstmjax.evaluation.metrics import seasonal_scale
from lstmjax.evaluation.past_scales import past_scales


@pytest.fixture(params=[1 << 20, 64], ids=["one block", "many blocks"], autouse=True)
def size(request, monkeypatch):
    monkeypatch.setattr(columns, "_VALUES", request.param)


def series(channels, *, gaps):
    """Values, offsets and counted rows of series of many lengths: some without rows, constant, or all missing."""
    random = np.random.default_rng(0)
    lengths = random.integers(0, 90, 30)
    lengths[[3, 29]] = 0
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    y = random.normal(5, 3, (offsets[-1], channels))
    if gaps:
        y[random.random(y.shape) < 0.3] = np.nan
    y[offsets[4] : offsets[5]] = 0.1
    y[offsets[6] : offsets[7], 0] = np.nan
    return y, offsets, np.minimum(lengths, random.integers(0, 90, 30))


@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize(("channels", "gaps"), [(1, False), (1, True), (2, True)])
def test_statistics_have_the_bits_of_each_series_alone(scaler, channels, gaps):
    y, offsets, rows = series(channels, gaps=gaps)
    center, scale = by_series(y, offsets, rows, SCALERS[scaler])
    for number, (begin, count) in enumerate(zip(offsets[:-1], rows, strict=True)):
        for channel, column in enumerate(y[begin : begin + count].T):
            observed = column[~np.isnan(column)]
            if len(observed):
                found = (center[number, channel], scale[number, channel])
                assert found == tuple(map(float, center_and_scale(observed, SCALERS[scaler])))
    assert np.isfinite([center, scale]).all()
    alone = [by_series(column[:, None], np.array([0, len(y)]), np.array([len(y)]), SCALERS[scaler]) for column in y.T]
    np.testing.assert_array_equal(each_column(y, SCALERS[scaler]), np.concatenate(alone, axis=-1)[:, 0])


@pytest.mark.parametrize("season", [1, 7])
def test_scales_of_mase_are_those_of_each_series_alone(season):
    y, offsets, rows = series(2, gaps=True)
    found = np.full((len(rows), 2), np.nan)
    for cells, values in columns_of_series(y, offsets, rows, observed=False):
        found.reshape(-1)[cells] = seasonal_scale(values, season)
    alone = [seasonal_scale(y[begin : begin + count], season) for begin, count in zip(offsets, rows, strict=False)]
    np.testing.assert_allclose(found, alone, rtol=1e-14)
    windows = np.flatnonzero(rows)
    past = past_scales(y, offsets, windows, rows[windows], season_length=season)
    constant = found[windows] == 0  # of a series that repeats itself, seasonal_scale takes rounding for 0
    np.testing.assert_allclose(np.where(constant, 0, past), found[windows], rtol=1e-12)


def test_every_row_of_every_series_is_in_one_column():
    y, offsets, _ = series(2, gaps=True)
    y[:, 0] = np.arange(len(y))
    seen = [values for cells, values in columns_of_series(y, offsets, np.diff(offsets)) if cells[0] % 2 == 0]
    np.testing.assert_array_equal(np.sort(np.concatenate([values.reshape(-1) for values in seen])), np.arange(len(y)))
