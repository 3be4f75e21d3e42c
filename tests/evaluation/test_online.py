"""Rolling scores against plain means of the same errors."""

import numpy as np

from lstmjax.evaluation.online import BUCKETS, Rolling

N, H, C, K, SIZE = 2, 3, 2, 1, 10


def added(rows, seed=0, missing=0.2):
    """Errors of some rows of both series, and the rolling sums."""
    random = np.random.default_rng(seed)
    rolling = Rolling.begin(N, H, C, K)
    errors = random.normal(size=(N, rows, 3, H, C))
    errors[random.random(errors.shape) < missing] = np.nan
    errors[:, :, 1:][np.isnan(np.broadcast_to(errors[:, :, :1], (N, rows, 2, H, C)))] = np.nan
    inside = np.where(random.random((N, rows, K, H, C)) < 0.1, np.nan, random.random((N, rows, K, H, C)) < 0.7)
    for row in range(rows):
        rolling.add(SIZE, np.array([0]), np.array([row]), errors[[0], row], inside[[0], row])
        rolling.add(SIZE, np.array([1]), np.array([row]), errors[[1], row], inside[[1], row])
    return errors, inside, rolling


def test_short_streams_have_plain_means():
    errors, inside, rolling = added(27)
    found = rolling.means((-4, -3, -2, -1))
    for place, model in enumerate(("model", "naive", "seasonal_naive")):
        known = errors[:, :, place][~np.isnan(errors[:, :, place])]
        np.testing.assert_allclose(found[model]["mae"], abs(known).mean())
        np.testing.assert_allclose(found[model]["mse"], (known**2).mean())
        np.testing.assert_allclose(found[model]["rmse"], np.sqrt((known**2).mean()))
        assert found[model]["n"] == len(known)
    np.testing.assert_allclose(rolling.coverage(0, (-4, -3, -2, -1)), np.nanmean(inside))
    by_step = rolling.means((-4, -3, -1))["model"]["mae"]
    np.testing.assert_allclose(by_step, np.nanmean(abs(errors[:, :, 0]), axis=(0, 1, 3)))
    by_series = rolling.means((-3, -2, -1))["naive"]["mae"]
    np.testing.assert_allclose(by_series, np.nanmean(abs(errors[:, :, 1]), axis=(1, 2, 3)))


def test_long_streams_forget_the_oldest_part():
    errors, _, rolling = added(97)
    kept = errors[:, (97 // SIZE - BUCKETS + 1) * SIZE :]
    found = rolling.means((-4, -3, -2, -1))
    np.testing.assert_allclose(found["model"]["mae"], np.nanmean(abs(kept[:, :, 0])))


def test_a_gap_longer_than_all_parts_forgets_everything_before_it():
    _, _, rolling = added(15)
    error = np.full((1, 3, H, C), 2.0)
    rolling.add(SIZE, np.array([0]), np.array([1000]), error, np.full((1, K, H, C), np.nan))
    found = rolling.means((-3, -2, -1))
    assert found["model"]["mae"][0] == 2.0
    assert found["model"]["n"][0] == H * C
    assert found["model"]["n"][1] > H * C
    assert np.isnan(rolling.coverage(0, (-3, -2, -1))[0])


def test_nothing_yet_is_nan_and_a_level_may_join():
    rolling = Rolling.begin(N, H, C, 0)
    assert np.isnan(rolling.means((-4, -3, -2, -1))["model"]["mae"])
    more = rolling.with_level().with_level()
    assert more.inside.shape == (N, BUCKETS, 2, H, C)
    assert np.isnan(more.coverage(1, (-4, -3, -2, -1)))
