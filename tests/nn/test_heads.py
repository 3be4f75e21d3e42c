"""What every head promises, those of the package and one of a user's own."""

import dataclasses
import functools
import math
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from lstmjax import config
from lstmjax.errors import ConfigError
from lstmjax.nn import HEADS, HeadLayer, NegativeBinomial, Normal, Quantiles, StudentT
from lstmjax.window import Forecast, Head, Target


@dataclasses.dataclass(frozen=True)
class Laplace:
    """A head of a user's own: the distribution whose likelihood is the absolute error."""

    size: typing.ClassVar[int] = 2
    loss_name: typing.ClassVar[str] = "nll"
    lower: typing.ClassVar[float] = -math.inf
    counts: typing.ClassVar[bool] = False

    def constrain(self, raw):
        return jnp.stack([raw[..., 0], jax.nn.softplus(raw[..., 1]) + 1e-4], axis=-1)

    def affine(self, parameters, shift, scale):
        return jnp.stack([parameters[..., 0] * scale + shift, parameters[..., 1] * jnp.abs(scale)], axis=-1)

    def mean(self, parameters):
        return parameters[..., 0]

    median = point = mean

    def spread(self, parameters):
        return parameters[..., 1]

    def quantile(self, parameters, q):
        side = jnp.sign(q - 0.5)
        return parameters[..., 0] - parameters[..., 1] * side * jnp.log1p(-2 * jnp.abs(q - 0.5))

    def cdf(self, parameters, y):
        z = (y - parameters[..., 0]) / parameters[..., 1]
        return 0.5 - 0.5 * jnp.sign(z) * jnp.expm1(-jnp.abs(z))

    def sample(self, parameters, key, n):
        draws = jax.random.laplace(key, (n, *parameters.shape[:-1]), parameters.dtype)
        return parameters[..., 0] + parameters[..., 1] * draws

    def log_prob(self, parameters, y):
        return -jnp.abs(y - parameters[..., 0]) / parameters[..., 1] - jnp.log(2 * parameters[..., 1])

    def loss(self, parameters, y, hyper=None):
        return -self.log_prob(parameters, y)


CONTINUOUS = [Quantiles(), Quantiles((0.02, 0.5, 0.6)), Normal(), StudentT(), Laplace()]
ALL = [*CONTINUOUS, NegativeBinomial()]
LEVELS = np.array([0.001, 0.01, 0.1, 0.3, 0.5, 0.51, 0.9, 0.99, 0.999], np.float32)
head_of = pytest.mark.parametrize("head", ALL, ids=repr)
continuous = pytest.mark.parametrize("head", CONTINUOUS, ids=repr)
raws = st.lists(st.floats(-20, 20, width=32), min_size=18, max_size=18)


def parameters_of(head, raw):
    """Parameters of two values."""
    return head.constrain(jnp.asarray(raw[: 2 * head.size], jnp.float32).reshape(2, head.size))


@functools.partial(jax.jit, static_argnums=0)
def quantiles(head, parameters):
    """The quantiles at all levels, and the distribution function there."""
    repeated = parameters[..., None, :]
    found = head.quantile(repeated, LEVELS)
    return found, head.cdf(repeated, found)


@functools.partial(jax.jit, static_argnums=0)
def moved_quantiles(head, raw, shift, scale):
    """Parameters, and those of shift + scale * value; each with its quantiles."""
    parameters = head.constrain(raw)
    moved = head.affine(parameters, shift, scale)
    return [(of, head.quantile(of[..., None, :], LEVELS)) for of in (parameters, moved)]


def test_there_is_a_head_for_every_name():
    assert set(HEADS) == set(typing.get_args(config.HeadName))
    made = {name: make((0.2, 0.7)) for name, make in HEADS.items()}
    assert made["quantile"] == Quantiles((0.2, 0.7))
    for head in [*made.values(), Laplace()]:
        assert isinstance(head, Head)
        assert hash(head) == hash(dataclasses.replace(head))


@head_of
def test_parameters_are_valid_whatever_the_network_says(head):
    raw = jnp.asarray(np.random.default_rng(0).choice([-1e4, -50, 0, 50, 1e4], (200, head.size)), jnp.float32)
    parameters = jax.jit(head.constrain)(raw)
    assert parameters.shape == raw.shape
    assert np.isfinite(parameters).all()
    assert (head.spread(parameters) > 0).all()
    if isinstance(head, Quantiles):
        assert (np.diff(parameters) >= 0).all()
    elif isinstance(head, NegativeBinomial):
        assert (parameters > 0).all()
    else:
        np.testing.assert_array_equal(parameters[:, 0], raw[:, 0])  # the location, where networks add shortcuts
        assert (parameters[:, 1] > 0).all()
    if isinstance(head, StudentT):
        assert (parameters[:, 2] > 2).all()
    gradient = jax.grad(lambda raw: head.loss(head.constrain(raw), jnp.full(len(raw), 3.0)).sum())(raw)
    assert np.isfinite(gradient).all()


@head_of
@given(
    raw=raws, shift=st.floats(-100, 100, width=32), scale=st.floats(0.0078125, 100, width=32), negative=st.booleans()
)
def test_quantiles_never_cross(head, raw, shift, scale, negative):
    raw = jnp.asarray(raw[: 2 * head.size], jnp.float32).reshape(2, head.size)
    scale = -scale if negative and not head.counts else scale
    of_both = moved_quantiles(head, raw, jnp.full(2, 0.0 if head.counts else shift), jnp.full(2, scale))
    for parameters, found in of_both:
        assert (np.diff(found) >= 0).all()
        assert not isinstance(head, Quantiles) or (np.diff(parameters) >= 0).all()


@continuous
@given(raw=st.lists(st.floats(-4, 4, width=32), min_size=18, max_size=18))
def test_quantiles_undo_the_distribution_function(head, raw):
    cdf = quantiles(head, parameters_of(head, raw))[1]
    np.testing.assert_allclose(cdf, np.broadcast_to(LEVELS, cdf.shape), atol=2e-4)


@pytest.mark.parametrize("head", [h for h in CONTINUOUS if h != Quantiles((0.02, 0.5, 0.6))], ids=repr)
@pytest.mark.parametrize("scale", [0.03, -2.5])
def test_affine_is_the_distribution_of_shifted_and_scaled_values(head, scale):
    raw = np.random.default_rng(1).normal(size=(4, 3, head.size))
    parameters = head.constrain(jnp.asarray(raw, jnp.float32))
    shift = jnp.asarray([[5.0, -1.0, 0.0]])
    moved = head.affine(parameters, shift, jnp.full_like(shift, scale))
    assert moved.shape == parameters.shape
    y = jnp.asarray(np.random.default_rng(2).normal(size=(4, 3)), jnp.float32)
    there = shift + scale * y
    np.testing.assert_allclose(
        head.log_prob(moved, there), head.log_prob(parameters, y) - math.log(abs(scale)), rtol=2e-4, atol=2e-4
    )
    expected = head.cdf(parameters, y)
    np.testing.assert_allclose(head.cdf(moved, there), 1 - expected if scale < 0 else expected, atol=2e-5)
    for of in (head.mean, head.median, head.point):
        np.testing.assert_allclose(of(moved), shift + scale * of(parameters), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(head.spread(moved), abs(scale) * head.spread(parameters), rtol=1e-4)


def test_levels_that_are_not_symmetric_are_mirrored_by_interpolation():
    head = Quantiles((0.02, 0.5, 0.6))
    parameters = jnp.array([[-1.0, 0.25, 0.5]])
    mirrored = head.affine(parameters, jnp.array(1.0), jnp.array(-2.0))
    np.testing.assert_allclose(
        mirrored, [[1 - 2 * head.quantile(parameters, 1 - a)[0] for a in head.levels]], rtol=1e-6
    )


def test_counts_scale_by_the_rule_of_deepar_and_do_not_shift():
    head, parameters = NegativeBinomial(), jnp.array([[3.0, 0.5]])
    np.testing.assert_allclose(head.affine(parameters, jnp.zeros(1), jnp.full(1, 4.0)), [[12.0, 0.25]])
    np.testing.assert_allclose(jax.jit(head.affine)(parameters, jnp.zeros(1), jnp.full(1, 4.0)), [[12.0, 0.25]])
    with pytest.raises(ConfigError, match="counts cannot be shifted"):
        head.affine(parameters, jnp.ones(1), jnp.ones(1))


@head_of
def test_samples_have_the_distribution(head):
    parameters = parameters_of(head, [1.0, 0.3, 0.8, 0.2, -0.5, 0.1, 0.9, 0.4, -0.2] * 2)
    drawn = head.sample(parameters, jax.random.key(7), 20_000)
    assert drawn.shape == (20_000, 2)
    for at, cdf in zip(*(np.asarray(found).T for found in quantiles(head, parameters)), strict=True):
        np.testing.assert_allclose((drawn <= at).mean(0), cdf, atol=0.012)  # 3.4 deviations
    if not isinstance(head, StudentT):  # whose mean of many is still far from the mean
        error = np.asarray(drawn.std(0)) / math.sqrt(len(drawn))
        assert (np.abs(drawn.mean(0) - head.mean(parameters)) < 4 * error).all()


@head_of
def test_the_median_is_the_middle_and_the_point(head):
    parameters = parameters_of(head, [1.0, 0.3, 0.8, 0.2, -0.5, 0.1, 0.9, 0.4, -0.2] * 2)
    np.testing.assert_allclose(head.median(parameters), head.quantile(parameters, 0.5), rtol=1e-5)
    np.testing.assert_array_equal(head.point(parameters), head.median(parameters))


@head_of
def test_the_loss_is_least_at_the_truth(head):
    """Of the mean over many draws: its gradient is zero at the parameters that they come from, within noise."""
    if isinstance(head, Quantiles):
        parameters = jnp.quantile(jax.random.normal(jax.random.key(0), (20_000,)), jnp.asarray(head.levels))
        drawn = jax.random.normal(jax.random.key(1), (20_000,))
    else:
        parameters = head.constrain(jnp.array([1.0, 0.3, 4.0])[: head.size])
        drawn = head.sample(parameters, jax.random.key(2), 20_000)
    gradients = jax.vmap(jax.grad(head.loss), (None, 0))(parameters, drawn)
    error = np.asarray(gradients.std(0)) / math.sqrt(len(drawn))
    assert (np.abs(gradients.mean(0)) < 5 * error + 1e-6).all()


def test_the_median_alone_has_the_absolute_error_as_its_loss():
    head = Quantiles((0.5,))
    np.testing.assert_allclose(head.loss(jnp.array([[1.0], [4.0]]), jnp.array([3.0, 1.5])), [2.0, 2.5])
    np.testing.assert_allclose(head.spread(jnp.array([[1.0]])), [1.0])
    with pytest.raises(ConfigError, match=r"the quantile 0\.5 alone has no density"):
        head.log_prob(jnp.array([[1.0]]), jnp.array([1.0]))


def test_raw_zeros_are_the_quantiles_of_the_normal_distribution():
    head = Quantiles((0.05, 0.4, 0.9))
    expected = Normal().quantile(jnp.array([0.0, 1.0]), jnp.asarray(head.levels)) - Normal().quantile(
        jnp.array([0.0, 1.0]), 0.4
    )
    np.testing.assert_allclose(head.constrain(jnp.zeros(3)), expected, atol=1e-6)


@pytest.mark.parametrize("levels", [(), (0.5, 0.1), (0.1, 0.1), (0.0, 0.5), (0.5, 1.0), (0.5, math.nan)])
def test_levels_that_are_no_levels_are_refused(levels):
    with pytest.raises(ConfigError, match="expected numbers between 0 and 1, ascending"):
        Quantiles(levels)


@head_of
def test_a_layer_makes_parameters_of_features(head):
    layer = HeadLayer(5, head, rngs=nnx.Rngs(0))
    parameters = nnx.jit(lambda layer, x: layer(x))(layer, jnp.ones((2, 7, 1, 5)))
    forecast = Forecast(parameters, head=layer.head)
    assert parameters.shape == (2, 7, 1, head.size)
    assert forecast.quantile([0.1, 0.5, 0.9]).shape == (2, 7, 1, 3)
    assert forecast.sample(jax.random.key(0), 4).shape == (4, 2, 7, 1)
    target = Target(jnp.ones((2, 7, 1)), jnp.ones((2, 7, 1), bool))
    assert jax.jit(lambda forecast: forecast.loss(target))(forecast).shape == (2, 7, 1)
    with pytest.raises((TypeError, ValueError)):
        layer(jnp.ones((2, 4)))
