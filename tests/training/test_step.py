"""What a training step computes, against plain loops; and that traced numbers stay traced."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lstmjax.config import OptimizerConfig, TrainConfig
from lstmjax.training import Hyperparameters, train

STEPS = 6
FULL = TrainConfig(loss="mse", max_steps=STEPS, batch_size=48, batch_shards=1, val_check_steps=STEPS, chunk_steps=STEPS)
ADAM = OptimizerConfig(schedule="constant", learning_rate=0.05, clip_norm=0.5)


@pytest.fixture(scope="module")
def full(tiny, data):
    """Full batches: the order of windows does not matter."""
    return train(tiny, data, ADAM, FULL)


def plain_loop(first, data, tools, loss):
    """The same training, written as one would in a notebook."""
    features, targets = tools.pairs_of(data, data.train)
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.05))
    params, state = first, optimizer.init(first)
    losses = []

    def mean_loss(params):
        out = features @ params["linear.kernel"] + params["linear.bias"]
        return jnp.mean(loss(out.reshape(targets.shape), targets))

    for _ in range(STEPS):
        value, gradients = jax.value_and_grad(mean_loss)(params)
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        losses.append(float(value))
    return params, losses


def at_rest(config, seed=0):
    """A member whose weights do not move."""
    return Hyperparameters.from_config(ADAM, config, seed=seed)._replace(learning_rate=np.float32(0.0))


def first_params(tiny, data, tools):
    """The weights before any step, from a run whose learning rate is nil."""
    still = at_rest(FULL)
    return jax.tree.map(
        jnp.asarray, tools.member(train(tiny, data, ADAM, FULL, hyperparameters=[still]).state.params, 0)
    )


def test_steps_are_those_of_a_plain_optax_loop(full, tiny, data, tools):
    params, losses = plain_loop(first_params(tiny, data, tools), data, tools, optax.squared_error)
    for name, leaf in params.items():
        np.testing.assert_allclose(full.state.params[name][0], leaf, rtol=1e-4, atol=1e-6)
    assert losses[-1] < losses[0]
    assert full.steps() == STEPS
    assert full.parameters == 6 * 2 * 2 + 2


def test_huber_with_its_delta_too(tiny, data, tools):
    config = dataclasses.replace(FULL, loss="huber", huber_delta=0.3)
    params, _ = plain_loop(first_params(tiny, data, tools), data, tools, lambda p, t: optax.huber_loss(p, t, delta=0.3))
    trained = train(tiny, data, ADAM, config).state.params
    for name, leaf in params.items():
        np.testing.assert_allclose(trained[name][0], leaf, rtol=1e-4, atol=1e-6)


def test_an_epoch_visits_every_window_once_in_an_order_of_its_seed(tiny, data, calls):
    """With weights that rest, the losses of an epoch's batches add up to those of all windows."""
    config = dataclasses.replace(FULL, batch_size=12, max_steps=4, val_check_steps=4)
    checks = []
    still = [at_rest(config, seed) for seed in (0, 0, 1)]
    whole = train(tiny, data, ADAM, config, hyperparameters=still, callbacks=[calls(on_check=checks.append)])
    full = []
    train(
        tiny,
        data,
        ADAM,
        dataclasses.replace(FULL, max_steps=1),
        hyperparameters=still,
        callbacks=[calls(on_check=full.append)],
    )
    np.testing.assert_allclose(checks[0].train_loss, full[0].train_loss, rtol=1e-6)

    # One batch alone is another one for another seed.
    first = train(tiny, data, ADAM, config, hyperparameters=still, until=1).state.loss_sum
    assert first[0] == first[1]
    assert np.abs(first[0] - whole.state.loss_sum[0]) > 0
    assert train(tiny, data, ADAM, config, hyperparameters=still, until=3).state.loss_count.tolist() == [3, 3, 3]


def test_values_behind_a_mask_change_no_byte(tiny, data, tools):
    """Panels hold 0 there; what a target hides must not reach the weights all the same."""
    mask = np.ones_like(np.asarray(data.arrays.y_mask))
    mask[54] = False
    runs = []
    for hidden in (0.0, 1e3):
        y = np.asarray(data.arrays.y).copy()
        y[54] = hidden
        holed = data._replace(arrays=data.arrays._replace(y=y, y_mask=mask))
        runs.append(train(tiny, holed, ADAM, FULL).state.params)
    assert tools.same_bytes(runs[0], runs[1])


def test_the_mean_is_over_observed_targets(tiny, data, tools, calls):
    """Half the targets hidden: the loss is the mean over the other half, not half the mean over all."""
    still = at_rest(FULL)
    mask = np.ones_like(np.asarray(data.arrays.y_mask))
    mask[54] = False  # the last target of the last training window, in no training lookback
    checks = []
    hidden = data._replace(arrays=data.arrays._replace(y_mask=mask))
    result = train(tiny, hidden, ADAM, FULL, hyperparameters=[still], callbacks=[calls(on_check=checks.append)])
    params = tools.member(result.state.params, 0)
    features, targets = tools.pairs_of(data, data.train)
    out = (features @ params["linear.kernel"] + params["linear.bias"]).reshape(targets.shape)
    errors = np.square(np.asarray(out - targets))
    seen = np.ones_like(errors, bool)
    seen[-1, -1] = False
    np.testing.assert_allclose(checks[0].train_loss[0], errors[seen].mean(), rtol=1e-5)


def test_new_values_of_traced_options_trace_nothing(tiny, data, tools):
    optimizer = OptimizerConfig(schedule="cosine", clip_value=1.0)
    config = dataclasses.replace(FULL, batch_size=16, max_steps=3, val_check_steps=3, chunk_steps=3)
    train(tiny, data, optimizer, config)
    before = tools.Tiny.traces
    results = set()
    for options, training in (
        ({"learning_rate": 0.3}, {}),
        ({"warmup_steps": 2}, {}),
        ({"final_fraction": 0.5}, {}),
        ({"weight_decay": 0.4}, {}),
        ({"clip_norm": 0.01}, {}),
        ({"clip_value": 0.001}, {}),
        ({}, {"seed": 5}),
        ({}, {"chunk_steps": 1}),
    ):
        result = train(tiny, data, dataclasses.replace(optimizer, **options), dataclasses.replace(config, **training))
        results.add(result.state.params["linear.kernel"].tobytes())
    assert tools.Tiny.traces == before
    assert len(results) == 8  # all differ, but for the chunks of one step
