import typing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lstmjax import config
from lstmjax.config import OptimizerConfig, TrainConfig
from lstmjax.training.hyperparameters import Hyperparameters
from lstmjax.training.schedules import SCHEDULES, learning_rate

PEAK, TOTAL, EPOCH = 3e-3, 60, 7


def rates(name, **options):
    """Our learning rate at every step, and a few beyond the end."""
    optimizer = OptimizerConfig(learning_rate=PEAK, schedule=name, **options)
    hyper = jax.tree.map(jnp.asarray, Hyperparameters.from_config(optimizer, TrainConfig(max_steps=TOTAL)))
    steps = np.arange(TOTAL + 10, dtype=np.int32)
    return jax.jit(jax.vmap(lambda step: learning_rate(name, step, hyper, EPOCH)))(steps)


def optax_rates(schedule, warmup):
    """Optax's after a linear warm-up to the schedule's first value, joined as its own warm-up schedules are."""
    if warmup:
        first = float(schedule(0))
        schedule = optax.join_schedules([optax.linear_schedule(0.0, first, warmup), schedule], [warmup])
    return np.array([float(schedule(step)) for step in range(TOTAL + 10)])


def test_every_schedule_of_the_config_is_there():
    assert set(SCHEDULES) == set(typing.get_args(config.ScheduleName))


@pytest.mark.parametrize("warmup", [0, 1, 13])
@pytest.mark.parametrize("name", ["constant", "plateau"])
def test_constant(name, warmup):
    np.testing.assert_allclose(
        rates(name, warmup_steps=warmup), optax_rates(optax.constant_schedule(PEAK), warmup), rtol=1e-6
    )


@pytest.mark.parametrize("fraction", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("warmup", [0, 1, 13])
def test_cosine(warmup, fraction):
    theirs = optax.warmup_cosine_decay_schedule(0.0, PEAK, warmup, TOTAL, end_value=PEAK * fraction)
    ours = rates("cosine", warmup_steps=warmup, final_fraction=fraction)
    np.testing.assert_allclose(ours, [float(theirs(s)) for s in range(TOTAL + 10)], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("warmup", [0, 13])
def test_exponential(warmup):
    theirs = optax.warmup_exponential_decay_schedule(0.0, PEAK, warmup, transition_steps=9, decay_rate=0.8)
    ours = rates("exponential", warmup_steps=warmup, decay_rate=0.8, decay_steps=9)
    np.testing.assert_allclose(ours, [float(theirs(s)) for s in range(TOTAL + 10)], rtol=1e-6)


@pytest.mark.parametrize("start", [0, 2])
def test_step_decay_by_epoch(start):
    theirs = optax.exponential_decay(PEAK, EPOCH, 0.5, transition_begin=start * EPOCH, staircase=True)
    ours = rates("step", decay_rate=0.5, decay_start_epoch=start)
    np.testing.assert_allclose(ours, [float(theirs(s)) for s in range(TOTAL + 10)], rtol=1e-6)


def test_a_warm_up_does_not_shift_the_epochs_of_step_decay():
    warm, cold = rates("step", decay_rate=0.5, warmup_steps=10), rates("step", decay_rate=0.5)
    np.testing.assert_array_equal(warm[10:], cold[10:])
    # ... but rises to what the schedule is where it takes over: one epoch of seven steps has passed by then
    np.testing.assert_allclose(warm[:10], np.arange(10) / 10 * PEAK * 0.5, rtol=1e-6)


@pytest.mark.parametrize("warmup", [0, 13])
def test_onecycle(warmup):
    theirs = optax.cosine_onecycle_schedule(TOTAL - warmup, PEAK)
    np.testing.assert_allclose(
        rates("onecycle", warmup_steps=warmup), optax_rates(theirs, warmup), rtol=1e-4, atol=1e-9
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_new_numbers_compile_nothing(name):
    program = jax.jit(lambda step, hyper: learning_rate(name, step, hyper, EPOCH))
    seen = set()
    for peak, warmup, rate, steps in ((1e-3, 0, 0.9, 10), (2e-3, 5, 0.5, 20), (5e-4, 90, 0.1, 1)):
        optimizer = OptimizerConfig(
            learning_rate=peak, warmup_steps=warmup, decay_rate=rate, decay_steps=steps, final_fraction=rate
        )
        seen.add(
            float(program(np.int32(30), Hyperparameters.from_config(optimizer, TrainConfig(max_steps=40 + steps))))
        )
    assert len(seen) == 3
    assert program._cache_size() == 1
