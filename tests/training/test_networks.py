"""What networks bring into training: dropout, running statistics, covariates."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lstmjax import models, nn
from lstmjax.config import ModelConfig, OptimizerConfig, TrainConfig
from lstmjax.training import Hyperparameters, TrainingData, predict, train
from lstmjax.window import Forecast, WindowSpec

OPTIMIZER = OptimizerConfig(schedule="constant", learning_rate=0.02)
CONFIG = TrainConfig(loss="mse", max_steps=8, batch_size=12, batch_shards=1, val_check_steps=4, chunk_steps=4)


class Noisy(nnx.Module):
    """Normalises, drops and maps to the horizon."""

    def __init__(self, rate, key):
        rngs = nnx.Rngs(key)
        self.dropout = nn.Hyperparameter(jnp.float32(rate))
        self.norm = nnx.BatchNorm(6, momentum=0.0, rngs=rngs)
        self.our_dropout = nn.Dropout(self.dropout)
        self.linear = nnx.Linear(6, 2, rngs=rngs)

    def __call__(self, window, *, rngs=None, deterministic=None):
        x = self.our_dropout(self.norm(window.y[..., 0]), rngs=rngs, deterministic=deterministic)
        return Forecast(self.linear(x)[:, :, None, None])


@dataclasses.dataclass(frozen=True)
class NoisyBuilder:
    rate: float = 0.5

    def __call__(self, key):
        return Noisy(self.rate, key)


def test_dropout_rates_are_traced_and_each_member_has_its_own(data, tools):
    def numbers(rate):
        return Hyperparameters.from_config(OPTIMIZER, CONFIG, network={"dropout": rate})

    together = train(NoisyBuilder(), data, OPTIMIZER, CONFIG, hyperparameters=[numbers(rate) for rate in (0.1, 0.8)])
    assert together.state.model_state["dropout"].tolist() == pytest.approx([0.1, 0.8])
    assert not tools.same_bytes(*(tools.member(together.state.params, number) for number in (0, 1)))
    for number, rate in enumerate((0.1, 0.8)):
        built_so = train(NoisyBuilder(rate), data, OPTIMIZER, CONFIG)
        assert tools.same_bytes(tools.member(together.state, number), tools.member(built_so.state, 0))


def test_dropout_masks_are_a_function_of_seed_and_step(data, tools):
    whole = train(NoisyBuilder(), data, OPTIMIZER, CONFIG)
    part = train(NoisyBuilder(), data, OPTIMIZER, CONFIG, until=3)
    resumed = train(NoisyBuilder(), data, OPTIMIZER, dataclasses.replace(CONFIG, chunk_steps=1), state=part.state)
    assert tools.same_bytes(whole.state, resumed.state)


class OfType(nnx.Module):
    """A map whose weights are of some type of numbers, beside a bias of float32."""

    def __init__(self, dtype):
        self.weight = nnx.Param(jnp.full((6, 2), 0.1, dtype))
        self.scale = nnx.Param(jnp.ones((), dtype))
        self.bias = nnx.Param(jnp.zeros(2, jnp.float32))

    def __call__(self, window, *, rngs=None, deterministic=None):
        weight = self.weight[...] * self.scale[...].astype(jnp.promote_types(self.scale.dtype, jnp.float32))
        return Forecast((window.y[..., 0] @ weight + self.bias[...])[:, :, None, None])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_weights_of_half_precision_are_trained_beside_others(data, name, dtype):
    """The optimiser's own numbers are float32: the squares of small gradients are 0 in float16."""
    optimizer = dataclasses.replace(OPTIMIZER, name=name, weight_decay=0.01, momentum=0.5, clip_value=1.0)
    found, whole = (train(OfType(one), data, optimizer, CONFIG).state.params for one in (dtype, jnp.float32))
    assert {name: array.dtype for name, array in found.items()} == {"weight": dtype, "scale": dtype, "bias": "float32"}
    for path, array in whole.items():
        np.testing.assert_allclose(np.asarray(found[path], np.float32), array, atol=0.02)
    assert not np.allclose(whole["weight"], 0.1, atol=0.05)


@pytest.mark.parametrize("shards", [1, 2])
def test_weights_of_double_precision_are_trained_beside_others(data, shards):
    """With jax_enable_x64 flax's own layers hold both."""
    with jax.enable_x64(True):
        config = dataclasses.replace(CONFIG, batch_shards=shards)
        optimizer = dataclasses.replace(OPTIMIZER, clip_norm=0.5, weight_decay=0.01)
        found = train(OfType(jnp.float64), data, optimizer, config)
        again = train(OfType(jnp.float64), data, optimizer, config, until=3)
        again = train(OfType(jnp.float64), data, optimizer, config, state=again.state)
    whole = train(OfType(jnp.float32), data, optimizer, config).state.params
    dtypes = {name: array.dtype for name, array in found.state.params.items()}
    assert dtypes == {"weight": "float64", "scale": "float64", "bias": "float32"}
    for path, array in whole.items():
        np.testing.assert_allclose(found.state.params[path], array, atol=1e-4)
        np.testing.assert_array_equal(found.state.params[path], again.state.params[path])


def test_parts_of_a_batch_have_masks_of_their_own(data):
    """With all parts masked alike, a batch of one window twice would lose the same inputs in both."""
    twice = data._replace(train=type(data.train)(np.zeros(2, np.int32), np.full(2, 30, np.int32)))
    config = TrainConfig(loss="mse", max_steps=1, batch_size=2, batch_shards=2, val_check_steps=1, chunk_steps=1)
    plain = OptimizerConfig(schedule="constant", name="sgd", learning_rate=1.0, clip_norm=None)
    alike = []
    for seed in range(6):
        result = train(DropsOnly(), twice, plain, config, seeds=[seed])
        alike.append(len(set(np.abs(result.state.params["weight"][0]).round(6))) <= 2)
    assert not all(alike)


class OnlyDrops(nnx.Module):
    """A linear map from dropped ones: the gradient counts the masks."""

    def __init__(self):
        self.weight = nnx.Param(jnp.zeros(6))
        self.drop = nn.Dropout(0.5)

    def __call__(self, window, *, rngs=None, deterministic=None):
        x = self.drop(jnp.ones_like(window.y[..., 0]), rngs=rngs, deterministic=deterministic)
        return Forecast(jnp.repeat((x @ self.weight[...])[:, None, None, None], 2, axis=1))


@dataclasses.dataclass(frozen=True)
class DropsOnly:
    def __call__(self, key):
        return OnlyDrops()


@pytest.mark.parametrize("shards", [1, 2])
def test_running_statistics_are_means_over_the_whole_batch(data, tools, shards):
    """A batch of all windows, momentum 0: after a step the statistics are those of the batch, or its parts' mean."""
    config = TrainConfig(loss="mse", max_steps=1, batch_size=48, batch_shards=shards, val_check_steps=1, chunk_steps=1)
    result = train(NoisyBuilder(), data, OPTIMIZER, config)
    features, _ = tools.pairs_of(data, data.train)
    expected = np.asarray(features)[:, ::2].mean(axis=0)  # values stand between their masks
    np.testing.assert_allclose(result.weights().model_state["norm.mean"], expected, rtol=1e-4, atol=1e-6)
    assert result.weights().model_state["dropout"] == np.float32(0.5)


def test_the_direct_network_learns_from_a_covariate_known_ahead(tools):
    """Noise of variance one: no past tells it, but a covariate does."""
    noise = np.random.default_rng(0).normal(size=400).astype(np.float32)[:, None]
    arrays = tools.make_arrays(noise)._replace(futr=noise, futr_mask=np.ones_like(noise, bool))
    spec = WindowSpec(input_size=6, h=2, futr_exog=1)
    data = TrainingData(arrays, tools.make_windows(6, 300), tools.make_windows(300, 380), spec)
    config = TrainConfig(loss="mse", max_steps=150, batch_size=32, val_check_steps=50, chunk_steps=50)
    builder = models.Builder(
        spec, ModelConfig(name="direct", hidden_size=8, head_size=16, instance_norm="none", instance_scale="none")
    )
    result = train(builder, data, OptimizerConfig(schedule="constant", learning_rate=0.01), config)
    forecasts = predict(result.network, result.weights(), arrays, data.validation, spec)
    actual = np.stack([noise[origin : origin + 2] for origin in data.validation.origin])
    np.testing.assert_allclose(np.square(forecasts - actual).mean(), result.state.best_loss[0], rtol=1e-5)
    assert result.state.best_loss[0] < 0.05
