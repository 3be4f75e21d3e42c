"""Densities, distribution functions, quantiles and samples against SciPy, in float32 and float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lstmjax.ops import counts, distributions, quantile_function

DTYPES = (np.float32, pytest.param(np.float64, marks=pytest.mark.least))
FAMILIES = {
    "normal": (distributions, scipy.stats.norm),
    "student_t": (distributions, scipy.stats.t),
    "negative_binomial": (counts, scipy.stats.nbinom),
}
DF = (2.0, 2.001, 2.5, 4.0, 9.0, 19.0, 21.0, 100.0, 1e4, 1e6)
ROWS = 1024
MEANS = (1e-6, 1e-3, 0.1, 1.0, 9.5, 30.0, 100.0, 300.0, 1000.0)
DISPERSIONS = (1e-4, 1e-2, 0.1, 0.5, 1.0, 10.0, 1000.0)


@pytest.fixture(params=DTYPES, ids=["float32", "float64"])
def dtype(request):
    with jax.enable_x64(request.param is np.float64):
        yield request.param


def grid(dtype, *axes):
    """Every combination, rounded to the dtype, so that SciPy sees the same numbers."""
    return [axis.ravel() for axis in np.meshgrid(*(np.asarray(axis, dtype) for axis in axes))]


def function(family, name):
    return getattr(FAMILIES[family][0], f"{family}_{name}")


def values(family, name, *arguments):
    """Our function in the default dtype, always of as many rows: so it is compiled once per dtype."""
    arguments = np.broadcast_arrays(*(np.asarray(each, jnp.result_type(float)) for each in arguments))
    rows = arguments[0].size
    assert rows <= ROWS
    return np.asarray(function(family, name)(*(np.resize(each, ROWS) for each in arguments)))[:rows]


def scipys(family, name, x, *parameters):
    """SciPy's function in float64."""
    x, *parameters = (np.asarray(value, np.float64) for value in (x, *parameters))
    distribution = FAMILIES[family][1]
    if family == "negative_binomial":
        mean, dispersion = parameters
        return getattr(distribution, name)(x, 1 / dispersion, 1 / (1 + dispersion * mean))
    loc, scale, *shape = parameters
    return getattr(distribution, name)(x, *shape, loc=loc, scale=scale)


def points(family, dtype):
    """Values from the middle to the far tails, with parameters."""
    if family == "negative_binomial":
        return grid(dtype, (0, 1, 2, 5, 9, 10, 11, 50, 99, 100, 101, 300, 999, 1000), MEANS, DISPERSIONS)
    y = np.concatenate([-np.logspace(6, -3, 12), [0], np.logspace(-3, 6, 13)])
    shapes = [DF] if family == "student_t" else []
    y, loc, scale, *shape = grid(dtype, y, (0.0,), (1e-6, 1.0, 30.0), *shapes)
    return (y * scale).astype(dtype), loc, scale, *shape


@pytest.mark.parametrize("family", FAMILIES)
def test_log_likelihoods_are_scipys(family, dtype):
    arguments = points(family, dtype)
    ours = values(family, "log_prob", *arguments)
    assert ours.dtype == dtype
    expected = scipys(family, "logpmf" if family == "negative_binomial" else "logpdf", *arguments)
    known = np.isfinite(expected)
    assert known.mean() > 0.99
    tolerance = 1e-4 if dtype is np.float32 else 1e-5
    np.testing.assert_allclose(ours[known], expected[known], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("family", FAMILIES)
def test_distribution_functions_are_scipys(family, dtype):
    arguments = points(family, dtype)
    ours = values(family, "cdf", *arguments)
    assert ours.min() >= 0
    assert ours.max() <= 1
    tolerance = np.full(ours.shape, 1e-5 if dtype is np.float32 else 1e-9)
    if family == "negative_binomial" and dtype is np.float32:
        tolerance = np.where(np.asarray(arguments[2]) > 100, 1e-4, tolerance)  # as its docstring says
    assert (abs(ours - scipys(family, "cdf", *arguments)) <= tolerance).all()


@pytest.mark.parametrize("df", [2.0, 3.5, 30.0, 1e6])
def test_tails_of_students_distribution_keep_their_digits(df, dtype):
    y = -np.logspace(0, 4, 30).astype(dtype)
    expected = scipys("student_t", "cdf", y, 0.0, 1.0, df)
    some = expected > 1e-30
    ours = values("student_t", "cdf", y, 0.0, 1.0, df)
    np.testing.assert_allclose(ours[some], expected[some], rtol=1e-4 if dtype is np.float32 else 1e-10)


@pytest.mark.parametrize("family", ["normal", "student_t"])
def test_quantiles_are_scipys(family, dtype):
    q = [1e-12, 1e-6, 1e-3, 0.025, 0.1, 0.3, 0.45, 0.499, 0.5, 0.501, 0.6, 0.8, 0.95, 0.999]
    arguments = grid(dtype, q, (0.0,), (1.0,), *([DF] if family == "student_t" else []))
    ours = values(family, "quantile", *arguments)
    tolerance = 2e-5 if dtype is np.float32 else 1e-9
    np.testing.assert_allclose(ours, scipys(family, "ppf", *arguments), rtol=tolerance, atol=tolerance * 1e-2)


@pytest.mark.parametrize("family", FAMILIES)
def test_quantiles_at_the_ends(family):
    parameters = {"normal": (2.0, 3.0), "student_t": (2.0, 3.0, 4.0), "negative_binomial": (2.0, 3.0)}[family]
    lowest = 0.0 if family == "negative_binomial" else -np.inf
    found = values(family, "quantile", [0.0, 1.0, -0.1, 1.1, np.nan], *parameters)
    np.testing.assert_array_equal(found, [lowest, np.inf, np.nan, np.nan, np.nan])


def test_quantiles_of_counts_are_the_smallest_counts_that_reach_the_level(dtype):
    q, mean, dispersion = grid(dtype, (0, 1e-4, 0.1, 0.5, 0.72, 0.9, 0.999), MEANS, (1e-8, *DISPERSIONS))
    found = values("negative_binomial", "quantile", q, mean, dispersion)
    np.testing.assert_array_equal(found, np.floor(found))
    # To the last digit of the level: where a step ends there, either of its ends is right.
    slack = 2e-5 if dtype is np.float32 else 1e-6
    assert (scipys("negative_binomial", "cdf", found, mean, dispersion) >= q - slack).all()
    before = scipys("negative_binomial", "cdf", found - 1, mean, dispersion)
    assert ((before < q + slack) | (found == 0)).all()


def test_quantiles_of_large_counts(dtype):
    q, mean, dispersion = grid(dtype, (0.01, 0.5, 0.99), (1e4, 1e6), (1e-8, 1e-3, 0.5, 20.0))
    expected = scipys("negative_binomial", "ppf", q, mean, dispersion)
    found = values("negative_binomial", "quantile", q, mean, dispersion)
    np.testing.assert_allclose(found, expected, rtol=1e-4 if dtype is np.float32 else 2e-5, atol=1)


def test_without_dispersion_counts_are_poisson(dtype):
    k, mean = grid(dtype, (0, 1, 7, 40, 1000), (1e-3, 0.5, 8.0, 40.0, 900.0))
    tolerance = 1e-4 if dtype is np.float32 else 1e-8
    expected = scipy.stats.poisson.logpmf(k.astype(float), mean.astype(float))
    ours = values("negative_binomial", "log_prob", k, mean, 0.0)
    np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)
    expected = scipy.stats.poisson.cdf(k.astype(float), mean.astype(float))
    ours = values("negative_binomial", "cdf", k, mean, 0.0)
    np.testing.assert_allclose(ours, expected, atol=tolerance)


def test_counts_below_zero_have_no_probability():
    k = np.array([-1.0, -0.5, 0.0, 0.9])
    np.testing.assert_array_equal(
        np.isneginf(values("negative_binomial", "log_prob", k, 2.0, 0.5)), [True, True, False, False]
    )
    cdf = values("negative_binomial", "cdf", k, 2.0, 0.5)
    np.testing.assert_array_equal(cdf[:2], 0)
    assert cdf[2] == cdf[3] > 0


EXTREMES = {
    "normal": lambda dtype: points("normal", dtype),
    "student_t": lambda dtype: points("student_t", dtype),
    "negative_binomial": lambda dtype: grid(
        dtype, (0, 1, 10, 1e3, 1e6), (1e-6, 1e-3, 1.0, 1e3, 1e6), (1e-8, 1e-4, 1.0, 1e3)
    ),
}
USUAL = {
    "normal": [(-3.0, 0.5, 2.0), (0.5, 0.5, 2.0), (1.0, 0.5, 0.3)],
    "student_t": [(1.0, 0.5, 2.0, 3.3), (-9.0, 0.5, 2.0, 12.0), (0.5, 0.5, 2.0, 12.0), (4.0, 0.5, 2.0, 300.0)],
    "negative_binomial": [(0.0, 0.2, 0.3), (7.0, 5.5, 0.3), (7.0, 7.0, 1e-3), (3.0, 30.0, 0.2), (300.0, 310.0, 1e-3)],
}
"""Places where finite differences are exact enough."""


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["log_prob", "cdf"])
def test_gradients_are_finite_at_extreme_values_and_right_at_usual_ones(family, name, dtype):
    run, usual = function(family, name), np.array(USUAL[family], dtype).T
    arguments = np.concatenate([EXTREMES[family](dtype), usual], axis=1)
    gradients = jax.jit(jax.vmap(jax.grad(run, tuple(range(len(arguments))))))(*arguments)
    for i, gradient in enumerate(gradients):
        assert np.isfinite(gradient).all(), f"with respect to argument {i}"
        if dtype is np.float32 or (family == "negative_binomial" and i == 0):  # counts are whole numbers
            continue
        step = 1e-4 * np.maximum(arguments[i], 0.01)
        ends = [
            values(family, name, *(row + sign * step * (j == i) for j, row in enumerate(arguments))) for sign in (1, -1)
        ]
        expected = (ends[0] - ends[1]) / (2 * step)
        n = usual.shape[1]
        np.testing.assert_allclose(gradient[-n:], expected[-n:], rtol=2e-4, atol=1e-7, err_msg=f"argument {i}")


@pytest.mark.parametrize("family", ["normal", "student_t"])
@pytest.mark.usefixtures("x64")
@pytest.mark.least
def test_quantiles_have_the_derivatives_of_the_inverse(family):
    levels, parameters = np.array([1e-9, 0.05, 0.5, 0.7, 0.999]), [np.full(5, value) for value in (0.5, 2.0, 3.3)]
    arguments = [levels, *parameters[: 3 if family == "student_t" else 2]]
    every = tuple(range(len(arguments)))
    y, of_quantile = jax.vmap(jax.value_and_grad(function(family, "quantile"), every))(*arguments)
    of_cdf = jax.vmap(jax.grad(function(family, "cdf"), every))(y, *arguments[1:])
    np.testing.assert_allclose(of_quantile[0], 1 / of_cdf[0], rtol=1e-6)
    for i in every[1:]:
        np.testing.assert_allclose(of_quantile[i], -of_cdf[i] / of_cdf[0], rtol=1e-6, atol=1e-9)


def test_a_small_dispersion_has_a_gradient_in_float32():
    # ((k - m)² - k) / 2 at a dispersion of 0: in the textbook form float32 has no digit of it.
    gradient = jax.grad(counts.negative_binomial_log_prob, 2)(12.0, 7.0, 1e-6)
    np.testing.assert_allclose(gradient, ((12 - 7) ** 2 - 12) / 2, rtol=1e-3)


@pytest.mark.least
def test_samples_of_continuous_distributions_pass_kolmogorov_and_smirnov():
    loc, scale, df = np.array([1.0, -2.0, 0.0]), np.array([3.0, 0.1, 1.0]), np.array([2.0, 5.0, 1e6])
    normal = distributions.normal_sample(jax.random.key(5), 20_000, loc, scale)
    student = distributions.student_t_sample(jax.random.key(5), 20_000, loc, scale, df)
    assert normal.shape == student.shape == (20_000, 3)
    for i in range(3):
        true_normal, true_student = scipy.stats.norm(loc[i], scale[i]), scipy.stats.t(df[i], loc[i], scale[i])
        assert scipy.stats.kstest(np.asarray(normal[:, i]), true_normal.cdf).pvalue > 1e-3
        assert scipy.stats.kstest(np.asarray(student[:, i]), true_student.cdf).pvalue > 1e-3


@pytest.mark.least
def test_samples_of_counts_have_their_probabilities():
    mean = np.array([0.3, 0.3, 4.0, 60.0, 40.0, 6000.0, 1e5])
    dispersion = np.array([1e-9, 2.0, 0.5, 1e-3, 100.0, 1e-5, 0.2])
    drawn = np.asarray(counts.negative_binomial_sample(jax.random.key(3), 20_000, mean, dispersion))
    np.testing.assert_array_equal(drawn, np.floor(drawn))
    for of, m, a in zip(drawn.T, mean, dispersion, strict=True):
        # Chi-square, in cells of about equal probability, each of one count or more.
        edges = np.unique(scipys("negative_binomial", "ppf", np.linspace(0.04, 0.96, 24), m, a))
        cdf = np.concatenate([[0.0], scipys("negative_binomial", "cdf", edges, m, a), [1.0]])
        seen = np.bincount(np.searchsorted(edges, of), minlength=len(edges) + 1)
        assert scipy.stats.chisquare(seen, np.diff(cdf) * len(of)).pvalue > 1e-3, (m, a)


LEVELS = (0.1, 0.25, 0.5, 0.8, 0.95)
VALUES = (-3.0, -1.0, 0.5, 0.75, 4.0)


def interpolated(name, *arguments, values=VALUES, levels=LEVELS):
    return getattr(quantile_function, f"interpolated_{name}")(jnp.asarray(values), levels, *arguments)


def test_a_quantile_function_goes_through_its_points_by_straight_lines():
    np.testing.assert_allclose(interpolated("quantile", np.asarray(LEVELS)), VALUES, rtol=1e-6)
    np.testing.assert_allclose(interpolated("quantile", np.array([0.175, 0.65])), [-2.0, 0.625], rtol=1e-6)
    np.testing.assert_array_equal(
        interpolated("quantile", np.array([0.0, 1.0, -0.1, np.nan])), [-np.inf, np.inf, np.nan, np.nan]
    )


@pytest.mark.usefixtures("x64")
def test_the_tails_of_a_quantile_function_are_exponential():
    rate = scipy.stats.expon(scale=2.0)
    levels = (0.05, 0.2, 0.6, 0.9)
    upper = interpolated("quantile", np.array([0.97, 0.999, 1 - 1e-9]), values=rate.ppf(levels), levels=levels)
    np.testing.assert_allclose(upper, rate.ppf([0.97, 0.999, 1 - 1e-9]), rtol=1e-7)
    mirrored = tuple(1 - level for level in reversed(levels))
    lower = interpolated("quantile", np.array([0.03, 1e-9]), values=-rate.ppf(levels)[::-1], levels=mirrored)
    np.testing.assert_allclose(lower, -rate.ppf([0.97, 1 - 1e-9]), rtol=1e-7)


@pytest.mark.usefixtures("x64")
def test_the_mean_and_the_density_of_a_quantile_function_are_its_integral_and_its_slope():
    q = (np.arange(200_000) + 0.5) / 200_000
    np.testing.assert_allclose(interpolated("mean"), np.mean(interpolated("quantile", q)), atol=1e-4)
    q = np.array([0.01, 0.05, 0.12, 0.3, 0.7, 0.9, 0.96, 0.999])
    y, step = np.asarray(interpolated("quantile", q)), 1e-7
    slope = (interpolated("quantile", q + step) - interpolated("quantile", q - step)) / (2 * step)
    np.testing.assert_allclose(interpolated("log_prob", y), -np.log(slope), atol=1e-5)


def test_equal_quantiles_are_a_jump():
    values = (1.0, 1.0, 1.0, 2.0, 2.0)
    np.testing.assert_allclose(
        interpolated("cdf", np.array([0.9, 1.0, 1.5, 2.0, 3.0]), values=values), [0, 0.5, 0.65, 1, 1]
    )
    found = interpolated("quantile", np.array([0.0, 0.3, 0.5, 0.8, 1.0]), values=values)
    np.testing.assert_allclose(found, [1, 1, 1, 2, 2])
    gradient = jax.grad(lambda values: interpolated("quantile", np.array([0.0, 0.3, 0.99]), values=values).sum())
    assert np.isfinite(gradient(jnp.array(values))).all()


def test_a_single_quantile_is_that_value():
    assert interpolated("quantile", np.array([0.0, 0.2, 1.0]), values=(3.0,), levels=(0.5,)).tolist() == [3, 3, 3]
    assert interpolated("cdf", np.array([2.9, 3.0]), values=(3.0,), levels=(0.5,)).tolist() == [0, 1]
    assert interpolated("mean", values=(3.0,), levels=(0.5,)) == 3
