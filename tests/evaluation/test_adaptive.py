"""Adaptive conformal intervals against the algorithm as the paper writes it, and what they promise."""

import math

import numpy as np
import pytest

from lstmjax.evaluation.adaptive import STEP_SIZES, Adaptive, coverable, follow, learning_rate, radius
from lstmjax.evaluation.calibration import conformal_quantile


def test_the_learning_rate_is_that_of_the_paper():
    for alpha in (0.1, 0.2, 0.05):
        spread = (1 - alpha) ** 2 * alpha**3 + alpha**2 * (1 - alpha) ** 3
        eta = math.sqrt(3 / 500) * math.sqrt((math.log(8 * 500) + 2) / spread)
        assert learning_rate(alpha) == pytest.approx(eta)


def dtaci(betas, alpha):
    """Algorithm 1 of Gibbs and Candes (2022), one interval at a time, as it is written there."""
    gammas, k = STEP_SIZES, len(STEP_SIZES)
    eta, sigma = learning_rate(alpha), 1 / (2 * 500)
    alphas, weights, means = [alpha] * k, [1.0 / k] * k, []
    for beta in betas:
        total = sum(weights)
        means.append(sum(w / total * a for w, a in zip(weights, alphas, strict=True)))
        losses = [alpha * (beta - a) - min(0.0, beta - a) for a in alphas]
        grown = [w * math.exp(-eta * loss) for w, loss in zip(weights, losses, strict=True)]
        weights = [(1 - sigma) * g + sum(grown) * sigma / k for g in grown]
        errors = [1.0 if a > beta else 0.0 for a in alphas]
        alphas = [a + g * (alpha - e) for a, g, e in zip(alphas, gammas, errors, strict=True)]
    return means


def test_it_is_the_papers_algorithm():
    betas = np.random.default_rng(0).random(400)
    betas[200:] *= 0.1  # from here on intervals are too narrow
    expected = dtaci(betas, 0.1)
    experts, found = Adaptive.begin(0.1, (2,)), []
    for beta in betas:
        found.append(experts.alpha[1])
        experts = follow(experts, experts.alphas, np.array([np.nan, beta]), 0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_array_equal(experts.alphas[0], 0.1)  # nothing came of the other
    assert found[-1] < 0.05


def test_the_largest_fraction_that_still_covers_agrees_with_the_interval():
    random = np.random.default_rng(1)
    scores, new = np.sort(random.random((50, 9)), axis=-1), random.random(50)
    beta = coverable(scores, new)
    for move, covers in ((-1e-6, True), (1e-6, False)):
        inside = new <= radius(scores, beta + move)
        assert (inside[beta > 0] == covers).all()
    beyond = coverable(scores, np.full(50, 2.0))
    assert (beyond == 0.0).all()


def test_the_interval_is_the_split_conformal_one_to_begin_with():
    scores = np.random.default_rng(2).random((40, 3))
    ordered = np.sort(scores, axis=0).T
    for alpha in (0.1, 0.2, 0.5):
        expected = conformal_quantile(scores, 1 - alpha)
        np.testing.assert_array_equal(radius(ordered, np.full(3, alpha)), expected)


def test_missing_scores_do_not_matter():
    ordered = np.array([[1.0, 2.0, 3.0, np.nan, np.nan]])
    for alpha, expected in ((0.0, 3.0), (-0.5, 3.0), (0.3, 3.0), (0.5, 2.0), (1.0, 0.0), (1.5, 0.0)):
        assert radius(ordered, np.array([alpha])).item() == expected
    assert coverable(ordered, np.array([1.5])).item() == pytest.approx(0.75)


@pytest.mark.parametrize("alpha", [0.1, 0.2])
def test_coverage_holds_when_the_errors_grow(alpha):
    random = np.random.default_rng(3)
    errors = abs(random.normal(size=2000)) * np.where(np.arange(2000) < 700, 1.0, 3.0)
    scores, experts, inside = abs(random.normal(size=(1, 300))), Adaptive.begin(alpha, (1,)), []
    for place, error in enumerate(errors):
        width = radius(np.sort(scores), experts.alpha)
        inside.append(error <= width[0])
        beta = coverable(scores, np.array([error]))
        experts = follow(experts, experts.alphas, beta, alpha)
        scores[0, place % 300] = error
    fixed = np.quantile(abs(random.normal(size=300)), 1 - alpha)
    assert abs(np.mean(inside) - (1 - alpha)) < 0.02
    assert np.mean(errors[700:] <= fixed) < 1 - alpha - 0.2  # split conformal
    assert np.mean(inside[700:1000]) > 1 - alpha - 0.1


def test_a_late_truth_judges_what_was_issued_and_moves_less():
    experts = Adaptive.begin(0.2, (1,))
    issued = np.full((1, len(STEP_SIZES)), 0.9)
    after = follow(experts, issued, np.array([0.5]), 0.2, delay=10)
    np.testing.assert_allclose(after.alphas[0], 0.2 - np.array(STEP_SIZES) / 10 * 0.8)
    np.testing.assert_allclose(after.weights, experts.weights)  # all were issued alike


def test_coverage_holds_many_steps_ahead_where_neighbouring_errors_are_alike():
    """What a live stream has: the truth of an interval comes 24 rows later, and errors last for days."""
    random, ahead = np.random.default_rng(4), 24
    level = np.exp(np.convolve(random.normal(size=6200), np.ones(48) / 7, "same"))[100:6100]
    errors = abs(random.normal(size=6000)) * level
    scores, experts = errors[None, :500].copy(), Adaptive.begin(0.1, (1,))
    issued, inside = {}, []
    for row in range(500, 6000):
        if row - ahead in issued:
            width, alphas, ring = issued.pop(row - ahead)
            inside.append(errors[row] <= width)
            beta = coverable(ring, errors[[row]])
            experts = follow(experts, alphas, beta, 0.1, ahead)
            scores[0, row % 500] = errors[row]
        width = radius(np.sort(scores), experts.alpha)[0]
        issued[row] = width, experts.alphas, scores.copy()
    assert 0.87 < np.mean(inside) < 0.93
