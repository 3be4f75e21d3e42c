"""The order of windows: a permutation for every number of them, uniform over seeds, and a function of (seed, epoch)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmjax.training.batch_order import batch_positions, permuted
from lstmjax.training.hyperparameters import seed_words

whole_order = jax.jit(
    lambda key, count, size: permuted(jnp.arange(size, dtype=jnp.int32), key, count), static_argnums=2
)
order_of = jax.jit(permuted)
batch = jax.jit(batch_positions, static_argnums=3)


def order(seed, count):
    return np.asarray(whole_order(jax.random.key(seed), np.int32(count), count))


MOST = 300


@given(st.integers(1, MOST), st.integers(0, 2**31 - 1))
@settings(max_examples=60, deadline=None)
def test_every_window_comes_exactly_once(count, seed):
    """By one program for every number of windows, which is given their positions again and again."""
    positions = np.arange(MOST, dtype=np.int32) % count
    found = np.asarray(order_of(positions, jax.random.key(seed), np.int32(count)))
    assert sorted(found[:count].tolist()) == list(range(count))


@pytest.mark.parametrize("count", [2**16 - 1, 2**16, 2**16 + 1, 1_000_003])
def test_every_one_of_many_windows_comes_exactly_once(count):
    np.testing.assert_array_equal(np.sort(order(7, count)), np.arange(count))


@pytest.mark.parametrize("count", [2, 3, 5, 12, 17])
def test_every_window_is_equally_often_at_every_position(count):
    """Chi-square over seeds of where each window comes, and of which window follows which at the beginning."""
    seeds = 4000
    keys = jax.random.split(jax.random.key(1), seeds)
    orders = np.asarray(jax.jit(jax.vmap(lambda key: permuted(jnp.arange(count), key, jnp.int32(count))))(keys))
    table = np.zeros((count, count))
    for position in range(count):
        table[position] = np.bincount(orders[:, position], minlength=count)
    statistic = ((table - seeds / count) ** 2 / (seeds / count)).sum()
    assert scipy.stats.chi2.sf(statistic, (count - 1) ** 2) > 1e-3
    pairs = np.bincount(orders[:, 0] * count + orders[:, 1], minlength=count**2).reshape(count, count)
    assert np.diag(pairs).sum() == 0
    observed = pairs[~np.eye(count, dtype=bool)]
    assert scipy.stats.chisquare(observed).pvalue > 1e-3


def test_neighbours_in_the_order_are_unrelated():
    """No trace of the counter: the rank correlation of successive windows is that of a random order."""
    found = order(3, 40_000)
    correlation = scipy.stats.spearmanr(found[:-1], found[1:]).statistic
    assert abs(correlation) < 4 / np.sqrt(len(found))


def test_the_batches_of_an_epoch_are_its_order_cut_in_pieces():
    seed, count, size = seed_words(5), np.int32(53), 8
    per_epoch = int(count) // size
    epochs = []
    for epoch in range(3):
        steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
        windows = np.concatenate([batch(seed, np.int32(step), count, size) for step in steps])
        assert len(set(windows.tolist())) == per_epoch * size  # none twice; five are left over
        assert windows.min() >= 0
        assert windows.max() < count
        epochs.append(windows.tolist())
    assert epochs[0] != epochs[1] != epochs[2]
    other = np.asarray(batch(seed_words(6), np.int32(0), count, size))
    assert other.tolist() != epochs[0][:size]


def test_one_program_serves_every_number_of_windows():
    program = jax.jit(batch_positions, static_argnums=3)
    for count in (8, 9, 1000, 40_000_000, 2**31 - 1):
        found = np.asarray(program(seed_words(0), np.int32(3), np.int32(count), 8))
        assert found.min() >= 0
        assert found.max() < count
    assert program._cache_size() == 1


def test_members_side_by_side_have_the_orders_they_have_alone():
    seeds = np.stack([seed_words(seed) for seed in range(3)])
    counts = np.array([20, 33, 64], np.int32)
    together = jax.vmap(lambda seed, count: batch_positions(seed, jnp.int32(4), count, 8))(seeds, counts)
    for seed, count, found in zip(seeds, counts, together, strict=True):
        assert np.asarray(batch(seed, np.int32(4), count, 8)).tolist() == found.tolist()
