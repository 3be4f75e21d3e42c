import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lstmjax import nn
from lstmjax.training import Weights, functional
from lstmjax.window import Forecast, WindowBatch

KEY = jax.random.key(3)


class Busy(nnx.Module):
    """A network with everything that is not a parameter: statistics, its own random stream, a shared rate."""

    def __init__(self, rngs):
        self.dropout = nn.Hyperparameter(0.25)
        self.first = nnx.Linear(4, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, momentum=0.5, rngs=rngs)
        self.flax_dropout = nnx.Dropout(0.5, rngs=rngs)
        self.our_dropout = nn.Dropout(self.dropout)
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs) for _ in range(2)])

    def __call__(self, window, *, rngs=None, deterministic=None):
        x = self.flax_dropout(self.norm(self.first(window.y[..., 0])))
        x = self.our_dropout(x, rngs=rngs, deterministic=deterministic)
        for layer in self.layers:
            x = layer(x)
        return Forecast(x[:, :, None, None])


def build(key):
    return Busy(nnx.Rngs(key))


def window(batch=6):
    y = jnp.asarray(np.random.default_rng(0).normal(size=(batch, 4, 1)), jnp.float32)
    none = jnp.zeros((batch, 4, 0))
    future = jnp.zeros((batch, 8, 0))
    return WindowBatch(y, jnp.ones_like(y, bool), none, none.astype(bool), future, future.astype(bool), none[:, 0])


@pytest.fixture(scope="module")
def network():
    structure, draw = functional(build)
    return structure, jax.jit(draw)(KEY)


def test_arrays_are_named_by_path_and_are_plain_numbers(network):
    structure, weights = network
    assert set(weights.params) == {
        *("first.bias", "first.kernel", "norm.bias", "norm.scale"),
        *("layers.0.bias", "layers.0.kernel", "layers.1.bias", "layers.1.kernel"),
    }
    assert structure.hyperparameters == ("dropout",)
    for leaf in jax.tree.leaves(weights):
        assert np.asarray(leaf).dtype in (np.float32, np.uint32)
        assert not leaf.aval.weak_type


def test_merging_what_was_split_gives_the_same_network(network):
    structure, weights = network
    module = structure.merge(weights)
    assert module.our_dropout.rate is module.dropout
    again = structure.split(module)
    assert jax.tree.structure(again) == jax.tree.structure(weights)
    for left, right in zip(jax.tree.leaves(again), jax.tree.leaves(weights), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_network_with_weights_is_taken_as_it_is(network):
    structure, weights = network
    module = structure.merge(weights)
    other, given = functional(module)
    assert isinstance(given, Weights)
    assert other == structure
    assert hash(other) == hash(structure)
    np.testing.assert_array_equal(given.params["first.kernel"], weights.params["first.kernel"])


def test_a_forecast_draws_nothing_and_training_does(network):
    structure, weights = network
    forecast = structure.forecast(weights, window()).mean()
    np.testing.assert_array_equal(forecast, structure.forecast(weights, window()).mean())
    noisy = [
        structure.forecast_in_training(weights, window(), jax.random.key(k), jnp.int32(0))[0].mean() for k in (0, 0, 1)
    ]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert not np.array_equal(noisy[0], noisy[2])
    assert not np.array_equal(noisy[0], forecast)


def test_a_random_stream_of_the_networks_own_differs_by_part_of_the_batch():
    class Own(nnx.Module):
        def __init__(self, rngs):
            self.dropout = nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, window, *, rngs=None, deterministic=None):
            return Forecast(self.dropout(window.y)[..., None])

    structure, draw = functional(lambda key: Own(nnx.Rngs(key)))
    weights = draw(KEY)
    parts = [structure.forecast_in_training(weights, window(), KEY, jnp.int32(part))[0].mean() for part in (0, 1)]
    assert not np.array_equal(parts[0] == 0, parts[1] == 0)


def test_training_moves_statistics_and_streams_but_no_hyperparameter(network):
    structure, weights = network
    _, after = structure.forecast_in_training(weights, window(), KEY, jnp.int32(0))
    hidden = np.asarray(window().y[..., 0]) @ weights.params["first.kernel"] + weights.params["first.bias"]
    np.testing.assert_allclose(after["norm.mean"], 0.5 * hidden.mean(axis=0), rtol=1e-5, atol=1e-6)
    assert after["flax_dropout.rngs.count"] == weights.model_state["flax_dropout.rngs.count"] + 1
    np.testing.assert_array_equal(after["flax_dropout.rngs.key"], weights.model_state["flax_dropout.rngs.key"])
    assert after["dropout"] == np.float32(0.25)


def test_a_hyperparameter_can_be_set_by_its_path(network):
    structure, weights = network
    changed = structure.set_hyperparameters(weights.model_state, {"dropout": jnp.float32(1.0)})
    everything_dropped, _ = structure.forecast_in_training(
        Weights(weights.params, changed), window(), KEY, jnp.int32(0)
    )
    assert np.ptp(everything_dropped.mean(), axis=0).max() == 0.0
    with pytest.raises(ValueError, match="no hyperparameter 'rate': it has dropout"):
        structure.set_hyperparameters(weights.model_state, {"rate": jnp.float32(1.0)})


def test_equal_builders_give_one_structure_and_it_is_drawn_once():
    first, again = functional(build), functional(build)
    assert first[0] is again[0]
    assert first[1] is again[1]


def test_a_builder_that_cannot_be_hashed_serves_too():
    class Unhashable:
        __hash__ = None

        def __call__(self, key):
            return build(key)

    structure, draw = functional(Unhashable())
    assert set(draw(KEY).params) == set(structure.params)
