"""Probabilistic metrics against values by hand, numerical integration, the package fev, and published rows."""

import gzip
import math
import os
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.integrate
import scipy.stats

from lstmjax.evaluation import probabilistic
from lstmjax.evaluation.baselines import BASELINES, baseline_quantiles, past_deviations
from lstmjax.evaluation.metrics import seasonal_scale
from lstmjax.evaluation.past_scales import past_scales, residual_deviations

NAN = np.nan
TENTHS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def test_crps_of_quantiles_by_hand():
    y, quantiles = np.array([2.0, 0.0]), np.array([[1.0, 3.0], [1.0, 3.0]])
    # 0.25: 2 * .25 * 1 = .5 and 2 * .75 * 1 = 1.5; 0.75: 2 * .25 * 1 = .5 and 2 * .25 * 3 = 1.5
    assert probabilistic.crps(y, quantiles, [0.25, 0.75]).tolist() == [0.5, 1.5]
    assert probabilistic.crps(jnp.array(y), jnp.array(quantiles), [0.25, 0.75]).tolist() == [0.5, 1.5]


def test_crps_of_many_quantiles_is_that_of_the_distribution():
    probabilities = (np.arange(4000) + 0.5) / 4000
    y = np.array([-1.0, 0.3, 4.0])
    quantiles = np.broadcast_to(scipy.stats.norm(1, 2).ppf(probabilities), (3, 4000))
    expected = probabilistic.crps_normal(y, 1.0, 2.0)
    np.testing.assert_allclose(probabilistic.crps(y, quantiles, probabilities), expected, rtol=1e-3)


@pytest.mark.parametrize(("y", "mean", "deviation"), [(0.0, 0.0, 1.0), (3.0, 1.0, 2.0), (-50.0, 1.0, 0.5)])
def test_crps_of_a_normal_is_the_integral(y, mean, deviation):
    cdf = scipy.stats.norm(mean, deviation).cdf
    below, _ = scipy.integrate.quad(lambda x: cdf(x) ** 2, mean - 40 * deviation - abs(y), y, points=[mean], limit=500)
    above, _ = scipy.integrate.quad(lambda x: (1 - cdf(x)) ** 2, y, mean + 40 * deviation, points=[mean], limit=500)
    assert probabilistic.crps_normal(y, mean, deviation) == pytest.approx(below + above, rel=1e-6)


@hypothesis.given(n=st.integers(1, 20), seed=st.integers(0, 2**20))
def test_crps_of_samples_is_the_definition(n, seed):
    random = np.random.default_rng(seed)
    y, samples = random.normal(size=(2, 3)), random.normal(size=(n, 2, 3)).round(1)
    pairs = abs(samples[:, None] - samples[None]).mean(axis=(0, 1)) / 2
    np.testing.assert_allclose(
        probabilistic.crps_sample(y, samples), abs(samples - y).mean(axis=0) - pairs, rtol=1e-12, atol=1e-12
    )


def test_intervals_by_hand():
    y, lower, upper = np.array([1.0, 2.0, 4.0, NAN]), np.zeros(4), np.full(4, 2.0)
    assert probabilistic.coverage(y, lower, upper) == pytest.approx(2 / 3)  # an end is inside
    assert probabilistic.mean_width(y, lower, upper) == 2.0
    assert probabilistic.interval_score(y[:3], lower[:3], upper[:3], 90) == pytest.approx([2, 2, 2 + 20 * 2])
    assert probabilistic.interval_score(np.array([-1.0]), 0.0, 2.0, 50) == pytest.approx([2 + 4 * 1])
    assert math.isnan(probabilistic.coverage(y, np.array([NAN, 0, 0, 0]), upper))  # a missing end
    assert math.isnan(probabilistic.coverage(np.full(2, NAN), lower[:2], upper[:2]))


def test_sql_and_wql_by_hand():
    y = np.array([[1.0, 3.0], [NAN, 2.0], [5.0, 5.0]])[..., None]
    quantiles = np.repeat(np.array([[2.0, 3.0], [7.0, 4.0], [0.0, 0.0]])[..., None, None], 2, axis=-1)
    probabilities = [0.4, 0.6]  # whose mean pinball loss of one number is the absolute error
    assert probabilistic.wql(y, quantiles, probabilities) == pytest.approx((1 + 0 + 2 + 5 + 5) / (1 + 3 + 2 + 5 + 5))
    scale = np.array([[2.0], [4.0], [0.0]])
    sql = probabilistic.sql(y, quantiles, probabilities, scale)
    assert sql == pytest.approx((1 / 2 + 0 / 2 + 2 / 4) / 3)  # steps, not windows; without the window of scale 0
    both = [np.concatenate([values, 2 * values], axis=2) for values in (y, quantiles)]  # of two targets the mean
    assert probabilistic.sql(*both, probabilities, np.repeat(scale, 2, axis=1)) == pytest.approx(1.5 * sql)
    assert probabilistic.wql(*both, probabilities) == pytest.approx(probabilistic.wql(y, quantiles, probabilities))
    assert math.isnan(probabilistic.sql(y, quantiles, probabilities, np.array([[0.0], [NAN], [0.0]])))
    assert math.isnan(probabilistic.wql(np.zeros((1, 2, 1)), quantiles[:1], probabilities))
    assert math.isnan(probabilistic.wql(y, np.where(quantiles == 0, NAN, quantiles), probabilities))


@hypothesis.given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=3), m=st.integers(1, 4), seed=st.integers(0, 999)
)
def test_past_changes_are_those_of_the_rows_before_each_cutoff(lengths, m, seed):
    random = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    y = random.normal(size=(offsets[-1], 2)) * 10.0 ** random.integers(-6, 6, size=(offsets[-1], 1))
    y[random.random(y.shape) < 0.2] = NAN
    series, origin = np.array([(s, o) for s, length in enumerate(lengths) for o in range(length + 1)]).T
    scales = past_scales(y, offsets, series, origin, season_length=m)
    deviations = residual_deviations(y, offsets, series, origin, season_length=m)
    for window, (s, o) in enumerate(zip(series, origin, strict=True)):
        past = y[offsets[s] : offsets[s] + o]
        change = past[m:] - past[:-m]
        for channel in range(2):
            known = change[:, channel][~np.isnan(change[:, channel])]
            if len(known):
                assert scales[window, channel] == pytest.approx(abs(known).mean(), rel=1e-9)
                assert deviations[window, channel] == pytest.approx(np.sqrt((known**2).sum() / len(known)), rel=1e-9)
            else:
                assert np.isnan(scales[window, channel])
                assert np.isnan(deviations[window, channel])
        if o == lengths[s] and not np.isnan(change).all(axis=0).any():
            np.testing.assert_allclose(scales[window], seasonal_scale(past, m), rtol=1e-9)


def test_baselines_have_normal_quantiles_that_widen_with_every_season():
    y = np.array([0.0, 1.0, 4.0, 3.0, 5.0, 4.0, 9.0])[:, None]
    where = (y, np.array([0, 7]), np.array([0]), np.array([6]))
    options = {"season_length": 2, "probabilities": (0.1, 0.5, 0.975)}
    z = scipy.stats.norm.ppf([0.1, 0.5, 0.975])
    for name, sigma, steps in (
        ("seasonal_naive", np.sqrt((4**2 + 2**2 + 1**2 + 1**2) / 4), [1, 1, 2, 2, 3]),
        ("naive", np.sqrt((1**2 + 3**2 + 1**2 + 2**2 + 1**2) / 5), [1, 2, 3, 4, 5]),
    ):
        forecast = BASELINES[name](*where, h=5, season_length=2)
        expected = forecast[0, :, :] + sigma * np.sqrt(steps)[:, None] * z
        past = past_deviations(*where, season_length=2)[name]
        np.testing.assert_allclose(baseline_quantiles(forecast, past, **options)[0, :, 0], expected, rtol=1e-12)


def test_a_past_shorter_than_a_season_has_the_quantiles_of_naive():
    y = np.array([1.0, 2.0, 4.0])[:, None]
    where = (y, np.array([0, 3]), np.array([0, 0, 0]), np.array([3, 2, 1]))
    both = [
        baseline_quantiles(
            BASELINES[name](*where, h=2, season_length=9),
            past_deviations(*where, season_length=9)[name],
            season_length=9,
            probabilities=[0.1, 0.9],
        )
        for name in BASELINES
    ]
    np.testing.assert_array_equal(*both)
    assert np.isfinite(both[0][:2]).all()
    assert np.isnan(both[0][2]).all()  # one row has no error


def test_quantiles_see_no_row_after_the_cutoff():
    random = np.random.default_rng(0)
    y, offsets, series, origin = random.normal(size=(40, 1)), np.array([0, 40]), np.array([0]), np.array([25])
    changed = np.where(np.arange(40)[:, None] >= 25, 1e9, y)
    for name, baseline in BASELINES.items():
        one, other = (
            baseline_quantiles(
                baseline(values, offsets, series, origin, h=3, season_length=4),
                past_deviations(values, offsets, series, origin, season_length=4)[name],
                season_length=4,
                probabilities=TENTHS,
            )
            for values in (y, changed)
        )
        np.testing.assert_array_equal(one, other)


def test_sql_and_wql_are_those_of_the_package_fev():
    metrics = pytest.importorskip("fev.metrics", reason="the package fev is not installed (extra bench)")
    random = np.random.default_rng(1)
    windows, h, m, channels = 7, 6, 4, 2
    past = [random.normal(5, 2, (20 + 3 * n, channels)) for n in range(windows)]
    past[2][3:9, 1] = NAN
    past[3][:, 0] = 1.0  # repeats itself
    past[4] = past[4][:m]  # no two rows a season apart
    y = random.normal(5, 2, (windows, h, channels))
    y[0, 2] = y[5, 0, 1] = NAN
    quantiles = np.sort(random.normal(5, 2, (windows, h, channels, 9)), axis=-1)
    lengths = np.array([len(values) for values in past])
    given = {
        "y_true": y,
        "y_pred": quantiles[..., 4],
        "y_past": np.concatenate(past),
        "y_past_lengths": lengths,
        "q_pred": quantiles,
        "seasonality": m,
        "quantile_levels": TENTHS,
    }
    rows, offsets = np.concatenate(past), np.concatenate([[0], np.cumsum(lengths)])
    scale = past_scales(rows, offsets, np.arange(windows), lengths, season_length=m)
    with np.errstate(all="ignore"):
        theirs = {name: metrics.get_metric(name).compute(**given) for name in ("SQL", "WQL")}
    assert probabilistic.sql(y, quantiles, TENTHS, scale) == pytest.approx(theirs["SQL"], rel=1e-12)
    assert probabilistic.wql(y, quantiles, TENTHS) == pytest.approx(theirs["WQL"], rel=1e-12)


@pytest.mark.parametrize(("name", "sql", "mase"), [("EPF-NP", 1.530, 1.761), ("EPF-PJM", 0.515, 0.581)])
def test_seasonal_naive_has_the_published_scores_of_fev_bench(public_data, name, sql, mase):
    """fev-bench: 20 windows of 24 hours; its seasonal naive looks back on the last 1,000 rows, filled forward."""
    public_data(f"{name}.csv.gz")
    with gzip.open(Path(os.environ["LSTMJAX_DATA"]) / f"{name}.csv.gz") as file:
        price = pd.read_csv(file)["price"].to_numpy()[:, None]
    h, m, bounds, one = 24, 24, np.array([0, len(price)]), np.array([0])
    scores = []
    for window in range(20):
        cutoff = len(price) - h * (20 - window)
        context = pd.DataFrame(price[cutoff - 1000 : cutoff]).ffill().to_numpy()
        where = (context, np.array([0, 1000]), one, np.array([1000]))
        forecast = BASELINES["seasonal_naive"](*where, h=h, season_length=m)
        past = past_deviations(*where, season_length=m)["seasonal_naive"]
        quantiles = baseline_quantiles(forecast, past, season_length=m, probabilities=TENTHS)
        scale = past_scales(price, bounds, one, np.array([cutoff]), season_length=m)
        y = price[None, cutoff : cutoff + h]
        scores.append([probabilistic.sql(y, quantiles, TENTHS, scale), (abs(y - forecast) / scale).mean()])
    assert np.mean(scores, axis=0) == pytest.approx([sql, mase], abs=6e-4)
