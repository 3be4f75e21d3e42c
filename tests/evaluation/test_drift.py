"""The drift alarm: a sum of what errors exceed their usual size by."""

import numpy as np

from lstmjax.evaluation.drift import LEAST_THRESHOLD, MARGIN, SLACK, Alarm, calibrated, cusum


def test_the_sum_is_that_of_page():
    z = np.random.default_rng(0).normal(size=200)
    total, expected = np.zeros(1), 0.0
    for value in z:
        total = cusum(total, np.array([value]), np.array([1e9]))
        expected = max(0.0, expected + value - SLACK)
        assert total[0] == expected


def test_it_would_not_have_rung_on_the_held_out_rows_and_rings_after_a_shift():
    random = np.random.default_rng(1)
    errors = abs(random.normal(size=1500))
    held, before, after = errors[:500], errors[500:1000], errors[1000:] * 6
    mean, deviation, threshold = calibrated([held])
    assert (mean, deviation) == (held.mean(), held.std())

    def rung(values):
        alarm = Alarm(*(np.array([v]) for v in (mean, deviation, threshold, 0.0)))
        found = []
        for value in values:
            alarm = alarm._replace(total=cusum(alarm.total, (value - alarm.mean) / alarm.deviation, alarm.threshold))
            found.append(bool(alarm.rings[0]))
        return found

    assert not any(rung(held))
    assert not any(rung(before))
    shifted = rung(after)
    assert any(shifted[:40])
    assert all(shifted[100:])
    recovered = rung([*after, *before])
    assert not any(recovered[-300:])  # and stops when the errors are usual again


def test_the_threshold_is_what_the_held_out_rows_reached_and_a_margin():
    quiet, burst = np.tile([1.0, 1.2], 100), np.concatenate([np.ones(50), np.full(20, 2.0), np.ones(50)])
    assert calibrated([quiet])[2] == LEAST_THRESHOLD
    mean, deviation, threshold = calibrated([burst])
    assert np.isclose(threshold, MARGIN * 20 * ((2.0 - mean) / deviation - SLACK))
    # Each series begins anew.
    assert calibrated([burst[:60], burst[60:]])[2] < threshold


def test_missing_errors_and_too_few():
    assert np.isnan(calibrated([np.full(100, np.nan)])).all()
    assert np.isnan(calibrated([np.arange(9.0)])).all()
    assert np.isnan(calibrated([np.ones(50)])).all()
    assert cusum(np.array([2.0]), np.array([np.nan]), np.array([5.0])).item() == 2.0
    unknown = Alarm(*(np.array([np.nan]) for _ in range(3)), cusum(np.zeros(1), np.array([np.nan]), np.array([np.nan])))
    assert not unknown.rings.any()
