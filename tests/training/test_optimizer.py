import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lstmjax import config
from lstmjax.config import OptimizerConfig, TrainConfig
from lstmjax.training.hyperparameters import Hyperparameters, seed_words, stack
from lstmjax.training.optimizer import OPTIMIZERS, clip

RATE, DECAY, MOMENTUM = 0.05, 0.1, 0.8
PEERS = {
    "adam": optax.chain(optax.add_decayed_weights(DECAY), optax.adam(RATE)),
    "adamw": optax.adamw(RATE, weight_decay=DECAY),
    "sgd": optax.chain(optax.add_decayed_weights(DECAY), optax.sgd(RATE, momentum=MOMENTUM)),
    "rmsprop": optax.chain(optax.add_decayed_weights(DECAY), optax.rmsprop(RATE, momentum=MOMENTUM)),
    "lion": optax.lion(RATE, weight_decay=DECAY),
}
START = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([0.3, -0.1])}


def numbers(**options):
    return jax.tree.map(jnp.asarray, Hyperparameters.from_config(OptimizerConfig(**options), TrainConfig()))


def descend(update, state, steps=12):
    """Minimises a bowl whose axes differ."""
    params = START
    for _ in range(steps):
        gradients = jax.tree.map(lambda p: 2.0 * p * jnp.arange(1.0, 1.0 + p.size).reshape(p.shape), params)
        updates, state = update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return params


def test_every_optimizer_of_the_config_is_there():
    assert set(OPTIMIZERS) == set(typing.get_args(config.OptimizerName))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_traced_numbers_give_optaxs_own_updates(name):
    @jax.jit
    def update(gradients, state, params, hyper, rate):
        return OPTIMIZERS[name](hyper, rate).update(gradients, state, params)

    hyper = numbers(weight_decay=DECAY, momentum=MOMENTUM)
    state = OPTIMIZERS[name](hyper, jnp.float32(RATE)).init(START)
    ours = descend(lambda g, s, p: update(g, s, p, hyper, jnp.float32(RATE)), state)
    theirs = descend(PEERS[name].update, PEERS[name].init(START))
    for key in START:
        np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-5, atol=1e-6)
    update(START, state, START, numbers(weight_decay=0.7, momentum=0.1), jnp.float32(1.0))
    assert update._cache_size() == 1


def test_without_momentum_and_decay_sgd_is_plain():
    transformation = OPTIMIZERS["sgd"](numbers(), jnp.float32(0.5))
    updates, _ = transformation.update(START, transformation.init(START), START)
    np.testing.assert_array_equal(updates["w"], -0.5 * START["w"])


@pytest.mark.parametrize("bound", [0.5, 3.0, 100.0])
def test_clipping_by_norm_is_optaxs(bound):
    ours = clip(START, optax.tree.norm(START), numbers(clip_norm=bound), by_value=False, by_norm=True)
    theirs, _ = optax.clip_by_global_norm(bound).update(START, optax.EmptyState())
    for key in START:
        np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-6)


def test_clipping_by_value_comes_before_clipping_by_norm():
    hyper = numbers(clip_norm=1.0, clip_value=0.4)
    ours = clip(START, optax.tree.norm(START), hyper, by_value=True, by_norm=True)
    chain = optax.chain(optax.clip(0.4), optax.clip_by_global_norm(1.0))
    theirs, _ = chain.update(START, chain.init(START))
    for key in START:
        np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-6)
    by_value = clip(START, optax.tree.norm(START), hyper, by_value=True, by_norm=False)
    assert float(jnp.abs(by_value["w"]).max()) == np.float32(0.4)


def test_a_gradient_of_zero_stays_zero_under_clipping():
    zeros = jax.tree.map(jnp.zeros_like, START)
    clipped = clip(zeros, optax.tree.norm(zeros), numbers(), by_value=False, by_norm=True)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(clipped))


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, 2**32 + 7, 2**63])
def test_seeds_keep_all_their_bits(seed):
    high, low = seed_words(seed).tolist()
    assert high * 2**32 + low == seed
    if seed < 2**31:
        np.testing.assert_array_equal(jax.random.key_data(jax.random.key(seed)), [high, low])


def test_members_side_by_side():
    members = stack([numbers(learning_rate=rate) for rate in (0.1, 0.2, 0.3)])
    np.testing.assert_array_equal(members.learning_rate, np.float32([0.1, 0.2, 0.3]))
    assert members.seed.shape == (3, 2)
    with pytest.raises(ValueError, match="at least one"):
        stack([])
    with pytest.raises(ValueError, match="same network values"):
        stack([numbers(), numbers()._replace(network={"dropout": jnp.float32(0.1)})])
