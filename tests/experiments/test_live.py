"""The replay of November: its scores, on forecasts whose errors are known; nothing is trained here."""

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="module")
def live(experiments_on_path):
    import live_elecdemand

    return live_elecdemand


def test_scores_of_a_month_with_a_shift(live):
    rows, h, day = 30 * 48, 3, pd.Timestamp("2014-11-15")
    y = np.where(np.arange(rows) < 14 * 48, 5.0, 6.0)
    point = np.full((rows + 1, h), 5.0)
    # Wide half a day after the shift.
    half = np.where(np.arange(rows + 1)[:, None] < 14 * 48 + 24, 0.5, 1.5) * np.ones(h)
    alarm = np.arange(rows) >= 14 * 48 + 10
    found = live.scored(y, point, point - half, point + half, alarm, day)["said"]
    assert found["adaptive, week 1"] == found["split, week 1"] == found["adaptive, week 2"] == 1.0
    assert found["split, week 3"] == found["split, week 4"] == 0.0
    assert found["adaptive, week 4"] == 1.0
    assert 0.9 < found["adaptive, week 3"] < 1.0
    assert found["alarm after hours"] == 5.0
    assert found["false alarms, hours"] == 0.0
    assert found["mae"] == pytest.approx(16 / 30, abs=1e-3)


def test_an_alarm_before_the_shift_is_false_and_none_is_not_a_number(live):
    rows = 30 * 48
    point = np.full((rows + 1, 2), 5.0)
    never, early = np.zeros(rows, bool), np.arange(rows) < 10
    bounds = (point, point - 1, point + 1)
    shifted = pd.Timestamp("2014-11-08")
    assert live.scored(np.full(rows, 5.0), *bounds, early, shifted)["said"]["false alarms, hours"] == 5.0
    assert np.isnan(live.scored(np.full(rows, 5.0), *bounds, never, shifted)["said"]["alarm after hours"])
