"""The level and the size of a window, against NumPy, and their way back into the forecast."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lstmjax.nn import SeriesEmbedding, WindowNorm
from lstmjax.nn.normalization import CENTERS, SCALES

NUMPY_CENTERS = {"none": lambda y: 0.0, "last": lambda y: y[-1], "mean": np.mean, "median": np.median}
NUMPY_SCALES = {
    "none": lambda y: 1.0,
    "std": np.std,
    "mad": lambda y: np.abs(y - y.mean()).mean(),
    "mean_abs": lambda y: np.abs(y).mean(),
}
EPSILON = 1e-5


CHOICES = [(center, scale, rows) for center in CENTERS for scale in SCALES for rows in (None, 3)]


@jax.jit
def every_statistic(x, mask):
    return [WindowNorm(center=center, scale=scale, rows=rows)(x, mask) for center, scale, rows in CHOICES]


def test_the_choices_are_those_of_the_reference():
    assert set(CENTERS) == set(NUMPY_CENTERS)
    assert set(SCALES) == set(NUMPY_SCALES)


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.8])
def test_statistics_are_those_of_the_observed_steps(missing):
    draw = np.random.default_rng(0)
    x, mask = draw.normal(2.0, 3.0, size=(2, 8, 2)).astype(np.float32), draw.random((2, 8, 2)) >= missing
    x = np.where(mask, x, 0.0).astype(np.float32)
    for (center, scale, rows), (normalized, statistics) in zip(CHOICES, every_statistic(x, mask), strict=True):
        for b, c in np.ndindex(2, 2):
            seen, recent = x[b, mask[b, :, c], c], x[b, -3:, c][mask[b, -3:, c]]
            counted = recent if rows and len(recent) else seen
            level = NUMPY_CENTERS[center](counted) if len(seen) else 0.0
            size = NUMPY_SCALES[scale](counted) if len(seen) else 1.0
            if scale != "none" and len(seen):
                size = np.sqrt(size**2 + EPSILON)
            np.testing.assert_allclose(statistics.mean[b, 0, c], level, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(statistics.deviation[b, 0, c], size, rtol=1e-4, atol=1e-5)
            expected = np.where(mask[b, :, c], (x[b, :, c] - level) / size, 0.0)
            np.testing.assert_allclose(normalized[b, :, c], expected, rtol=1e-3, atol=2e-3)


def test_the_inverse_undoes_it_and_a_constant_window_stays_finite():
    norm = WindowNorm(center="median", scale="std")
    x = jnp.array([[[1.0], [5.0], [2.0], [4.0]], [[7.0], [7.0], [7.0], [7.0]]])
    normalized, statistics = norm(x)
    np.testing.assert_allclose(norm.inverse(normalized, statistics), x, rtol=1e-6)
    np.testing.assert_array_equal(normalized[1], 0.0)
    np.testing.assert_allclose(
        norm.inverse(jnp.ones((2, 1, 1)), statistics)[1, 0, 0], 7.0 + np.sqrt(EPSILON), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"center": "mode"}, "center is 'mode': expected one of none, last, mean, median"),
        ({"scale": "iqr"}, "scale is 'iqr': expected one of none, std, mad, mean_abs"),
        ({"rows": 0}, "rows is 0: expected at least 1"),
    ],
)
def test_what_it_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        WindowNorm(**options)


def test_an_embedding_needs_series():
    with pytest.raises(ValueError, match="series is 0: expected at least 1"):
        SeriesEmbedding(0, 1, 2, rngs=nnx.Rngs(0))
