import jax
import numpy as np
import pytest

from lstmjax.training import Weights, functional, predict
from lstmjax.training.data import fill_blocks


@pytest.fixture(scope="module")
def network(tiny):
    structure, draw = functional(tiny)
    return structure, jax.jit(draw)(jax.random.key(0))


def expected(weights, data, windows, tools):
    features, targets = tools.pairs_of(data, windows)
    params = weights.params
    return np.asarray(features @ params["linear.kernel"] + params["linear.bias"]).reshape(targets.shape)


@pytest.mark.parametrize(("count", "block_size"), [(1, 1024), (2, 4), (21, 8), (21, 1024), (16, 16), (17, 16)])
def test_every_window_has_its_forecast_in_order(network, data, tools, count, block_size):
    structure, weights = network
    windows = tools.make_windows(10, 10 + count)
    forecasts = predict(structure, weights, data.arrays, windows, data.spec, block_size=block_size)
    assert forecasts.dtype == np.float32
    np.testing.assert_allclose(forecasts, expected(weights, data, windows, tools), rtol=1e-5, atol=1e-6)


def test_the_same_call_gives_the_same_bytes(network, data, tools):
    structure, weights = network
    windows = tools.make_windows(10, 31)
    calls = [predict(structure, weights, data.arrays, windows, data.spec).tobytes() for _ in range(2)]
    assert calls[0] == calls[1]


def test_no_windows_no_forecasts(network, data, tools):
    structure, weights = network
    forecasts = predict(structure, weights, data.arrays, tools.make_windows(3, 3), data.spec)
    assert forecasts.shape == (0, data.spec.h, data.spec.targets)


def test_rows_from_the_origin_on_change_no_forecast(network, data, tools):
    structure, weights = network
    y = np.asarray(data.arrays.y).copy()
    y[30:] = 99.0
    changed = data.arrays._replace(y=y)
    windows = tools.make_windows(10, 31)
    before = predict(structure, weights, data.arrays, windows, data.spec)
    after = predict(structure, weights, changed, windows, data.spec)
    assert before.tobytes() == after.tobytes()


def test_weights_as_numpy_serve_as_well(network, data, tools):
    structure, weights = network
    plain = Weights(*jax.tree.map(np.asarray, weights))
    windows = tools.make_windows(10, 14)
    np.testing.assert_array_equal(
        predict(structure, plain, data.arrays, windows, data.spec),
        predict(structure, weights, data.arrays, windows, data.spec),
    )


def test_blocks_are_filled_with_windows_that_do_not_count(tools):
    filled, counts = fill_blocks(tools.make_windows(5, 12), 4)
    assert filled.origin.tolist() == [5, 6, 7, 8, 9, 10, 11, 11]
    assert counts.tolist() == [True] * 7 + [False]
    assert fill_blocks(tools.make_windows(5, 5), 4)[1].shape == (0,)
