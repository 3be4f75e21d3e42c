import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmjax.errors import DataError
from lstmjax.evaluation.calibration import Bounds, Errors, conformal_quantile, offsets, require_windows, windows_needed
from lstmjax.nn.heads import HEADS
from lstmjax.window import Forecast, Point

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)


def errors_of(y, point, series=None):
    y, point = (np.asarray(a, np.float32).reshape(len(a), -1, 1) for a in (y, point))
    return Errors(y, point[..., None], np.zeros(len(y), int) if series is None else np.asarray(series))


def point_offsets(errors, probabilities, scope="pooled", series=1):
    asked = {"calibration": "conformal", "scope": scope, "series": series}
    return offsets(errors, Point(), probabilities, **asked)


@given(st.integers(1, 300), st.floats(0.05, 0.995))
def test_the_quantile_is_the_textbooks(n, fraction):
    scores = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    k = math.ceil(round((n + 1) * fraction, 9))
    assert conformal_quantile(scores, fraction) == (k if k <= n else np.inf)
    assert (k <= n) == (n >= windows_needed(fraction))


def test_missing_truths_count_nowhere():
    scores = np.array([[1.0, np.nan], [np.nan, np.nan], [3.0, 5.0], [2.0, 4.0]])
    np.testing.assert_array_equal(conformal_quantile(scores, 0.5), [2.0, 5.0])


def test_offsets_of_a_point_forecast_are_quantiles_of_its_absolute_errors_by_step():
    generator = np.random.default_rng(0)
    y = generator.normal(size=(99, 2)) * [1.0, 3.0]
    found = point_offsets(errors_of(y, np.zeros((99, 2))), (0.1, 0.5, 0.9))[0, :, 0]
    expected = np.sort(abs(y.astype(np.float32)), axis=0)[79]  # the 80th of 99: ceil(100 * 0.8)
    np.testing.assert_allclose(found, np.stack([-expected, [0.0, 0.0], expected], axis=-1), rtol=1e-6)


def test_series_have_their_own_where_asked_and_others_the_pooled_ones():
    y = np.concatenate([np.arange(1.0, 20.0), 10 * np.arange(1.0, 20.0)])
    errors = errors_of(y, np.zeros(38), series=np.repeat([0, 2], 19))
    own = point_offsets(errors, (0.9,), scope="series", series=3)[:, 0, 0, 0]
    pooled = point_offsets(errors, (0.9,), series=3)[:, 0, 0, 0]
    assert own[[0, 2]].tolist() == [16.0, 160.0]
    assert own[1] == own[3] == pooled[0] == pooled[3] == np.sort(y)[31]  # the 32nd of 38: ceil(39 * 0.8)


def test_errors_of_a_head_are_measured_by_its_spread():
    head = HEADS["normal"](())
    scale = np.array([1.0, 5.0] * 25, np.float32)
    noise = np.random.default_rng(1).normal(size=50).astype(np.float32)
    parameters = np.stack([np.zeros(50), scale], axis=-1).astype(np.float32).reshape(50, 1, 1, 2)
    errors = Errors((scale * noise).reshape(50, 1, 1), parameters, np.zeros(50, int))
    asked = {"calibration": "conformal", "scope": "pooled", "series": 1}
    found = offsets(errors, head, (0.9,), **asked)[0]
    spread = np.asarray(Forecast(jnp.asarray(parameters), head).spread()).reshape(-1)
    assert found.item() == pytest.approx(np.sort(abs(scale * noise) / spread)[40], rel=1e-5)  # ceil(51 * 0.8) = 41


def test_cqr_moves_quantiles_as_romano_and_others_do():
    head = HEADS["quantile"]((0.1, 0.5, 0.9))
    generator = np.random.default_rng(2)
    low, y, high = -1.0, generator.normal(size=60) * 2, 1.5
    parameters = np.broadcast_to(np.float32([low, 0.0, high]), (60, 1, 1, 3))
    errors = Errors(y.astype(np.float32).reshape(60, 1, 1), parameters, np.zeros(60, int))
    found = offsets(errors, head, (0.1, 0.9), calibration="cqr", scope="pooled", series=1)[0, 0, 0]
    expected = np.sort(np.maximum(low - y, y - high))[48]  # ceil(61 * 0.8) = 49
    np.testing.assert_allclose(found, [-expected, expected], rtol=1e-5)


@pytest.mark.parametrize("calibration", ["conformal", "cqr"])
def test_new_truths_lie_inside_as_often_as_promised_whatever_the_forecast(calibration):
    """Exchangeable errors, of a forecast that is bad: the coverage is that asked for, to its standard deviation."""
    head, generator = HEADS["quantile"]((0.1, 0.5, 0.9)), np.random.default_rng(3)

    def draw(count):
        x = generator.uniform(1, 3, count)
        y = x * generator.standard_t(4, count) + 5.0
        wrong = np.stack([x - 1.0, x, x + 0.3], axis=-1)  # far from the truth, and far too narrow
        return np.float32(y).reshape(-1, 1, 1), np.float32(wrong).reshape(-1, 1, 1, 3)

    y, parameters = draw(999)
    asked = {"calibration": calibration, "scope": "pooled", "series": 1}
    offset = offsets(Errors(y, parameters, np.zeros(999, int)), head, LEVELS, **asked)[:1]
    y, parameters = draw(20_000)
    bounds = Bounds(LEVELS, calibration)(Forecast(jnp.asarray(parameters), head), jnp.asarray(offset, jnp.float32))
    inside = [((bounds[..., 1 + a] <= y) & (y <= bounds[..., 1 + b])).mean() for a, b in ((1, 3), (0, 4))]
    np.testing.assert_allclose(inside, [0.8, 0.95], atol=0.035)


@given(st.integers(0, 10_000), st.sampled_from(["none", "conformal", "cqr"]), st.sampled_from([*HEADS]))
def test_bounds_never_cross(seed, calibration, name):
    head, generator = HEADS[name]((0.1, 0.4, 0.7)), np.random.default_rng(seed)
    if calibration == "none" and name == "point":
        return
    if calibration == "cqr" and name == "point":
        return
    raw = np.float32(generator.normal(size=(4, 3, 2, head.size)) * generator.choice([0.1, 3.0, 30.0]))
    offset = np.float32(generator.normal(size=(4, 3, 2, len(LEVELS))) * 3.0)
    forecast = Forecast(head.constrain(jnp.asarray(raw)), head)
    found = np.asarray(Bounds(LEVELS, calibration)(forecast, None if calibration == "none" else jnp.asarray(offset)))
    point, bounds = found[..., 0], found[..., 1:]
    assert (np.diff(bounds, axis=-1) >= 0).all()
    assert ((bounds[..., 1] <= point) & (point <= bounds[..., 3]) & (bounds[..., 0] >= head.lower)).all()
    np.testing.assert_array_equal(bounds[..., 2], point)


def test_too_few_windows_are_refused_in_one_line():
    with pytest.raises(
        DataError, match=r"interval of 95% needs 19 held-out windows .* step 1 has 18: give more rows to data\.calib"
    ):
        point_offsets(errors_of(np.ones(18), np.zeros(18)), (0.025, 0.975))
    y, series = np.ones((35, 2, 1)), np.repeat([0, 1], [25, 10])
    with pytest.raises(DataError, match=r"19 held-out windows of series 'b' .* step 1 has 10.*pooled"):
        require_windows(y, series, (0.975,), "series", ["a", "b"])
    require_windows(y, series, (0.975,), "pooled")
    y[:, 1] = np.nan
    with pytest.raises(DataError, match="step 2 has 0"):
        require_windows(y, series, (0.9,), "pooled")
