"""Weights that are joined for the optimiser come back as they were, and get the same update."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lstmjax.config import OptimizerConfig, TrainConfig
from lstmjax.training import Hyperparameters
from lstmjax.training.joined_weights import JOINED, JoinedWeights
from lstmjax.training.optimizer import OPTIMIZERS

SHAPES = {"b.bias": (3,), "a.kernel": (2, 3), "large": (JOINED // 64, 128), "scalar": (), "half": (4,), "none": (0, 3)}


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    return {name: jnp.asarray(array, jnp.float16 if name == "half" else None) for name, array in arrays.items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_small_arrays_of_one_dtype_are_joined_and_come_back(weights):
    layout = JoinedWeights.of(weights)
    packed = layout.join(weights)
    assert sorted(array.shape for array in packed.values()) == [(4,), (10,), SHAPES["large"]]
    assert_same(layout.split(packed), weights)


def test_no_more_are_joined_than_one_thread_updates():
    layout = JoinedWeights.of({f"w{n}": jnp.zeros(JOINED // 3) for n in range(7)})
    assert [len(group) for group in layout.groups] == [3, 3, 1]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_gives_each_weight_the_same_bytes(name, weights):
    weights = {name: array for name, array in weights.items() if array.dtype == jnp.float32}
    layout = JoinedWeights.of(weights)
    numbers = Hyperparameters.from_config(OptimizerConfig(name=name, weight_decay=0.1), TrainConfig(), seed=0)
    optimizer = OPTIMIZERS[name](numbers, jnp.float32(0.01))
    gradients = jax.tree.map(jnp.cos, weights)

    @jax.jit
    def twice(params, gradients, state):
        for _ in range(2):
            updates, state = optimizer.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
        return params, state

    state = optimizer.init(weights)
    plain, plain_state = twice(weights, gradients, state)
    joined, joined_state = twice(layout.join(weights), layout.join(gradients), layout.join_state(state))
    assert_same(layout.split(joined), plain)
    jax.tree.map(np.testing.assert_array_equal, layout.split_state(joined_state), plain_state)
