"""Naive baselines against values by hand, and against a plain loop over rows."""

import typing

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lstmjax.config import BaselineName
from lstmjax.evaluation import baselines
from lstmjax.evaluation.baselines import BASELINES, naive, past_deviations, seasonal_naive

NAN = np.nan


def column(values):
    return np.asarray(values, float)[:, None]


def forecast(baseline, y, origin, **options):
    """The one window of the one series `y`, as a list."""
    y = column(y)
    return baseline(y, np.array([0, len(y)]), np.array([0]), np.array([origin]), **options)[0, :, 0].tolist()


def test_names_are_those_of_the_config():
    assert {"none", *BASELINES} == set(typing.get_args(BaselineName))


def test_naive_repeats_the_last_observed_value():
    assert forecast(naive, [1, 2, NAN, NAN, 9], origin=4, h=2) == [2, 2]


def test_seasonal_naive_repeats_the_last_season():
    assert forecast(seasonal_naive, [1, 2, 3, 4, 5, 6, 7], origin=6, h=4, season_length=3) == [4, 5, 6, 4]


def test_missing_value_comes_from_the_nearest_earlier_season_that_has_one():
    assert forecast(seasonal_naive, [1, 2, 3, NAN, NAN, 6], origin=6, h=3, season_length=2) == [3, 6, 3]


def test_place_never_observed_falls_back_to_the_last_observed_value():
    assert forecast(seasonal_naive, [NAN, 2, NAN, 4], origin=4, h=2, season_length=2) == [4, 4]


def test_history_shorter_than_a_season_falls_back_to_the_last_observed_value():
    assert forecast(seasonal_naive, [1, 2, 3], origin=2, h=3, season_length=24) == [2, 2, 2]


@pytest.mark.parametrize("y", [[1, 2, 3], [NAN, NAN, NAN]])
def test_nothing_observed_before_the_cutoff_is_missing(y):
    origin = 0 if y[0] == 1 else 3
    assert np.isnan(forecast(seasonal_naive, y, origin=origin, h=2, season_length=2)).all()


def test_series_do_not_leak_into_one_another():
    y, offsets = column([1, 2, 3, 4, NAN, NAN]), np.array([0, 4, 6])
    assert np.isnan(naive(y, offsets, np.array([1]), np.array([2]), h=1)).all()
    np.testing.assert_array_equal(naive(y, offsets, np.array([0]), np.array([4]), h=1), [[[4.0]]])


def by_loop(y, offsets, series, origin, h, season_length):
    """The definition, row by row."""
    out = np.full((len(series), h, y.shape[1]), NAN)
    for w, (s, o) in enumerate(zip(series, origin, strict=True)):
        past = y[offsets[s] : offsets[s] + o]
        for k in range(h):
            for c in range(y.shape[1]):
                same_place = [past[t, c] for t in range(o) if (o + k - t) % season_length == 0]
                candidates = [v for v in same_place if v == v] or [v for v in past[:, c] if v == v]
                out[w, k, c] = candidates[-1] if candidates else NAN
    return out


@hypothesis.given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=3),
    h=st.integers(1, 5),
    season_length=st.integers(1, 6),
    seed=st.integers(0, 2**20),
)
@hypothesis.settings(max_examples=60)
def test_equal_to_the_definition_and_blind_to_the_future(lengths, h, season_length, seed):
    random = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    y = np.where(random.random((offsets[-1], 2)) < 0.4, NAN, random.normal(size=(offsets[-1], 2)))
    pairs = [(s, o) for s, length in enumerate(lengths) for o in range(length + 1)]
    series, origin = np.array(pairs).T
    hypothesis.assume(len(y) > 0)

    options = {"h": h, "season_length": season_length}
    np.testing.assert_array_equal(
        seasonal_naive(y, offsets, series, origin, **options), by_loop(y, offsets, series, origin, **options)
    )
    last = series == series[-1]
    changed = y.copy()
    cutoff = int(random.integers(0, lengths[-1] + 1))
    changed[offsets[-2] + cutoff :] = 1e9
    seen = last & (origin <= cutoff)
    for baseline in BASELINES.values():
        before, after = (baseline(values, offsets, series[seen], origin[seen], **options) for values in (y, changed))
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("rows", [1, 7, 40, 1000])
def test_a_few_series_at_a_time_give_the_same(rows, monkeypatch):
    rng = np.random.default_rng(0)
    lengths = np.array([12, 5, 30, 9, 21])
    offsets = np.append(0, np.cumsum(lengths))
    y = np.where(rng.random((offsets[-1], 2)) < 0.2, np.nan, rng.normal(size=(offsets[-1], 2)))
    series = np.array([0, 0, 2, 2, 2, 4], np.int32)
    origin = np.array([3, 12, 1, 17, 30, 20], np.int32)
    where = (y, offsets, series, origin)
    whole = seasonal_naive(*where, h=3, season_length=4)
    deviations = past_deviations(*where, season_length=4)
    monkeypatch.setattr(baselines, "PART_ROWS", rows)
    np.testing.assert_array_equal(seasonal_naive(*where, h=3, season_length=4), whole)
    for name, found in past_deviations(*where, season_length=4).items():
        np.testing.assert_array_equal(found, deviations[name])
