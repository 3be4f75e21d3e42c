import dataclasses
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lstmjax import config, models
from lstmjax.config import ModelConfig
from lstmjax.errors import ConfigError
from lstmjax.models import DirectNetwork
from lstmjax.ops.naive import repeat_last, seasonal_naive
from lstmjax.window import WindowSpec

SPEC = WindowSpec(input_size=8, h=5, targets=2, hist_exog=1, futr_exog=1, stat_exog=2, season_length=4)
SMALL = ModelConfig(name="direct", hidden_size=6, head_size=10, instance_norm="none", instance_scale="none")
BATCH = 3


def build(spec=SPEC, model=SMALL, seed=0):
    return models.build(spec, model, rngs=nnx.Rngs(seed))


def mean_jacobian(network, window, of):
    """How the forecast depends on one field of the window, (B, H, C, *field)."""
    base = window(network.spec)

    def forecast(value):
        return network(base._replace(**{of: value}), deterministic=True).mean()

    return jax.jit(jax.jacobian(forecast))(getattr(base, of))


def test_every_network_of_the_config_is_there():
    assert set(models.NETWORKS) == set(typing.get_args(config.ModelName))


@pytest.mark.parametrize("head_size", [0, 10])
@pytest.mark.parametrize("futr_exog", [0, 1])
def test_every_step_of_the_horizon_depends_on_the_last_input(head_size, futr_exog, window):
    spec = dataclasses.replace(SPEC, futr_exog=futr_exog)
    network = build(spec, dataclasses.replace(SMALL, head_size=head_size))
    dependence = np.abs(mean_jacobian(network, window, "y"))[:, :, :, :, -1]  # (B, H, C, B, C')
    for row in range(BATCH):
        assert (dependence[row, :, :, row].max(axis=-1) > 1e-6).all()
        others = np.delete(dependence[row], row, axis=2)
        assert others.max() == 0.0  # ... and not on other windows


@pytest.mark.parametrize("head_size", [0, 10])
def test_known_future_covariates_reach_their_own_step_and_static_ones_all(head_size, window):
    network = build(model=dataclasses.replace(SMALL, head_size=head_size))
    dependence = np.abs(mean_jacobian(network, window, "futr_exog"))[0, :, :, 0, SPEC.input_size :, 0]  # (H, C, H)
    for step in range(SPEC.h):
        assert (dependence[step, :, step] > 1e-6).all()
    assert (np.abs(mean_jacobian(network, window, "stat_exog"))[0, :, :, 0].max(axis=-1) > 1e-6).all()
    assert (np.abs(mean_jacobian(network, window, "hist_exog"))[0, :, :, 0, -1].max(axis=-1) > 1e-6).all()


def test_steps_have_weights_of_their_own(window):
    """The forecasts of the steps move on their own as the past moves, with and without covariates known ahead."""
    for futr_exog in (0, 1):
        spec = dataclasses.replace(SPEC, futr_exog=futr_exog)
        network = build(spec, dataclasses.replace(SMALL, hidden_size=16, head_size=64))
        dependence = mean_jacobian(network, window, "y")[0, :, 0, 0].reshape(spec.h, -1)  # (H, L * C)
        assert np.linalg.matrix_rank(np.asarray(dependence), tol=1e-5) == spec.h


def test_a_missing_future_value_is_told_from_a_zero(window):
    network, base = build(), window(SPEC)
    zero = base._replace(futr_exog=jnp.zeros_like(base.futr_exog))
    missing = zero._replace(futr_mask=zero.futr_mask.at[:, -1].set(False))
    outputs = [np.asarray(network(w, deterministic=True).mean()) for w in (zero, missing)]
    assert not np.array_equal(*outputs)


def with_head_at_zero(network):
    last = network.step if network.step is not None else network.horizon
    last.kernel[...] = jnp.zeros_like(last.kernel[...])
    last.bias[...] = jnp.zeros_like(last.bias[...])
    return network


@pytest.mark.parametrize("futr_exog", [0, 1])
def test_what_is_learnt_is_the_difference_to_the_baseline(futr_exog, window):
    spec, base = dataclasses.replace(SPEC, futr_exog=futr_exog), window(SPEC)
    base = window(spec)
    expected = {
        "none": jnp.zeros((BATCH, 5, 2)),
        "naive": repeat_last(base.y, base.y_mask, 5),
        "seasonal_naive": seasonal_naive(base.y, base.y_mask, 5, 4),
    }
    assert set(expected) == set(typing.get_args(config.BaselineName))
    for name, forecast in expected.items():
        network = with_head_at_zero(build(spec, dataclasses.replace(SMALL, residual=name)))
        np.testing.assert_array_equal(network(base, deterministic=True).mean(), forecast)


def test_a_season_longer_than_the_lookback_is_refused():
    spec = dataclasses.replace(SPEC, season_length=9)
    with pytest.raises(ConfigError, match=r"a season is 9 rows: data.input_size is 8"):
        build(spec, dataclasses.replace(SMALL, residual="seasonal_naive"))


def test_dropout_is_one_hyperparameter_named_dropout():
    from lstmjax.training import functional

    structure, _ = functional(models.Builder(SPEC, dataclasses.replace(SMALL, dropout=0.3, num_layers=2)))
    assert structure.hyperparameters == ("dropout",)
    assert structure.model_state == ("dropout",)
    assert functional(models.Builder(SPEC, SMALL))[0].hyperparameters == ()


def test_dropout_draws_in_training_only(window):
    network, base = build(model=dataclasses.replace(SMALL, dropout=0.5, num_layers=2)), window(SPEC)
    still = [np.asarray(network(base, deterministic=True).mean()) for _ in range(2)]
    np.testing.assert_array_equal(*still)
    noisy = [np.asarray(network(base, rngs=nnx.Rngs(k), deterministic=False).mean()) for k in (0, 0, 1)]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert not np.array_equal(noisy[0], noisy[2])
    with pytest.raises(ValueError, match="rngs"):
        network(base, deterministic=False)


def test_parameters_are_where_they_are_expected():
    linear = build(WindowSpec(input_size=8, h=5), dataclasses.replace(SMALL, head_size=0))
    sizes = {name: leaf.size for name, leaf in nnx.to_pure_dict(nnx.state(linear, nnx.Param))["horizon"].items()}
    assert sizes == {"bias": 5, "kernel": 6 * 5}
    assert isinstance(linear, DirectNetwork)


def test_under_jit_it_says_the_same(window):
    network, base = build(), window(SPEC)
    graphdef, state = nnx.split(network)
    compiled = jax.jit(lambda state, w: nnx.merge(graphdef, state)(w, deterministic=True).mean())(state, base)
    np.testing.assert_allclose(compiled, network(base, deterministic=True).mean(), rtol=1e-5, atol=1e-6)
    assert compiled.shape == (BATCH, 5, 2)
