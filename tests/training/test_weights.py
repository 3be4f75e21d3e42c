"""Rows that count more than others in the loss."""

import numpy as np

from lstmjax.config import OptimizerConfig, TrainConfig
from lstmjax.training import train

SGD = OptimizerConfig(schedule="constant", name="sgd", learning_rate=0.1, clip_norm=None)
ONCE = TrainConfig(loss="mse", max_steps=1, batch_size=48, batch_shards=1, val_check_steps=1, chunk_steps=1)


def weighted(data, weight):
    return data._replace(arrays=data.arrays._replace(weight=np.asarray(weight, np.float32)))


def test_a_loss_is_the_weighted_mean_of_training_and_of_validation(tiny, data, tools, calls):
    weight = np.random.default_rng(0).random(len(data.arrays.y))
    checks = []
    result = train(tiny, weighted(data, weight), SGD, ONCE, callbacks=[calls(on_check=checks.append)])
    after = {name: leaf[0] for name, leaf in result.state.params.items()}

    def rows(windows):
        return np.stack([weight[origin : origin + data.spec.h] for origin in windows.origin])

    def forecast(params, windows):
        features, targets = tools.pairs_of(data, windows)
        out = np.asarray(features) @ params["linear.kernel"] + params["linear.bias"]
        return np.asarray(features), out, np.asarray(targets)[..., 0]

    share = rows(data.train) / rows(data.train).sum()
    features, targets = (np.asarray(part) for part in tools.pairs_of(data, data.train))
    # The step backwards: the gradient of the weighted mean at the weights before it led to those after it.
    kernel, bias = solve_step(features, targets[..., 0], share, after)
    before = {"linear.kernel": kernel, "linear.bias": bias}
    loss = (share * (forecast(before, data.train)[1] - targets[..., 0]) ** 2).sum()
    np.testing.assert_allclose(checks[0].train_loss[0], loss, rtol=1e-3)
    _, out, truth = forecast(after, data.validation)
    held = rows(data.validation)
    np.testing.assert_allclose(checks[0].val_loss[0], (held * (out - truth) ** 2).sum() / held.sum(), rtol=1e-4)
    np.testing.assert_allclose(checks[0].val_mse[0], ((out - truth) ** 2).mean(), rtol=1e-4)  # metrics: all alike


def solve_step(features, targets, share, after):
    """The weights w with ``w - rate * gradient(w) = after``, linear in w."""
    x = np.concatenate([features, np.ones_like(features[:, :1])], axis=1)
    rate = SGD.learning_rate
    columns = []
    for step in range(targets.shape[1]):
        hessian = 2.0 * (x * share[:, step : step + 1]).T @ x
        known = np.append(after["linear.kernel"][:, step], after["linear.bias"][step])
        known = known - rate * 2.0 * (x * share[:, step : step + 1]).T @ targets[:, step]
        columns.append(np.linalg.solve(np.eye(len(hessian)) - rate * hessian, known))
    solved = np.stack(columns, axis=1)
    return solved[:-1], solved[-1]


def test_a_row_of_no_weight_is_as_good_as_missing(tiny, data, tools):
    """The last rows are nobody's lookback, so a mask there hides them from the loss and from nothing else."""
    last = slice(54, 56)  # the targets of the last training window, and of none before it but one
    weight, mask = np.ones(len(data.arrays.y)), np.ones((len(data.arrays.y), 1), bool)
    weight[last], mask[last] = 0.0, False
    training = data._replace(validation=tools.make_windows(54, 54))
    masked = training._replace(arrays=training.arrays._replace(y_mask=mask))
    results = [train(tiny, run, SGD, ONCE) for run in (weighted(training, weight), masked)]
    for name, leaf in results[0].state.params.items():
        np.testing.assert_allclose(leaf, results[1].state.params[name], rtol=1e-5, atol=1e-7)
