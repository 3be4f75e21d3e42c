"""Where windows are cut out changes no byte of what is trained, validated and forecast."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest

from lstmjax.config import RunConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.prepare import prepare
from lstmjax.data.scaling import rescaling
from lstmjax.forecaster.network import network_for
from lstmjax.training import Callback, TrainingData, functional, predict, train
from lstmjax.training import feed as feed_module

CONFIG = (
    RunConfig()
    .replace(
        {
            "data.h": 3,
            "data.input_size": 8,
            "data.val_size": 20,
            "data.test_size": 10,
            "data.weight_col": "w",
            "data.futr_exog": ["x"],
            "model.name": "direct",
            "model.hidden_size": 4,
            "model.head_size": 0,
            "model.dropout": 0.2,
            "optimizer.name": "sgd",  # compiled in half the time of Adam and clipping
            "optimizer.clip_norm": None,
            "train.batch_shards": 1,
            "train.max_steps": 25,
            "train.val_check_steps": 10,
            "train.batch_size": 16,
        }
    )
    .chosen
)


@pytest.fixture(scope="module")
def panel():
    rng = np.random.default_rng(0)
    frames = [
        pd.DataFrame({"unique_id": name, "ds": np.arange(90), "y": level + rng.normal(size=90).cumsum()}).assign(
            w=rng.random(90), x=rng.normal(size=90)
        )
        for name, level in (("a", 0.0), ("b", 100.0))
    ]
    return panel_from_table(pd.concat(frames), CONFIG.data)


def data(panel, feed, **options):
    found = prepare(panel, dataclasses.replace(CONFIG.data, **options), with_test=True, feed=feed)
    return TrainingData(found.arrays, found.train, found.validation, found.spec), found


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    """Chunks of windows that end elsewhere than checks and runs do."""
    monkeypatch.setattr(feed_module, "MOST_STEPS", 4)


@pytest.fixture(scope="module")
def network(panel, tools):
    return tools.Build(data(panel, "device")[0].spec)


def trained(network, given, config=CONFIG, seeds=(3, 4), **options):
    checks = []
    result = train(network, given, config.optimizer, config.train, seeds=seeds, callbacks=[Checks(checks)], **options)
    return result, checks


class Checks(Callback):
    def __init__(self, kept):
        self.kept = kept

    def on_check(self, check):
        self.kept.append((np.int32(check.step), check.val_loss, check.val_mse, check.train_loss))


def assert_alike(one, other):
    """Equal bytes of every array on a CPU; elsewhere numbers equal to 1e-6 are promised, and equal counts and keys."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        if jax.default_backend() == "cpu" or not np.issubdtype(a.dtype, np.floating):
            assert (a.dtype, a.tobytes()) == (b.dtype, b.tobytes())
        else:
            np.testing.assert_allclose(a, b, rtol=1e-6)


def same(one, other):
    assert_alike((one[0].state, one[1]), (other[0].state, other[1]))


@pytest.mark.parametrize(("shards", "seeds"), [(2, (3,)), (1, (3, 4))])
def test_the_host_feeds_the_bytes_of_the_device(panel, network, shards, seeds):
    config = CONFIG.replace({"train.batch_shards": shards})
    network = network_for(None, CONFIG, data(panel, "device")[0].spec) if shards == 2 else network
    expected = trained(network, data(panel, "device")[0], config, seeds)
    same(trained(network, data(panel, "host")[0], config, seeds), expected)


def test_a_run_goes_on_with_the_other_feed(panel, network):
    device, host = data(panel, "device")[0], data(panel, "host")[0]
    expected, _ = trained(network, device)
    for first, second in ((host, device), (device, host)):
        begun, _ = trained(network, first, until=13)
        ended, _ = trained(network, second, state=begun.state)
        assert_alike(ended.state, expected.state)


def test_members_of_other_windows_and_units(panel, network):
    def both(feed):
        base, prepared = data(panel, feed)
        fewer, others = data(panel, feed, test_size=30)
        own = rescaling(prepared.scaling, others.scaling, base.arrays)
        same_units = rescaling(prepared.scaling, prepared.scaling, base.arrays)
        return [base._replace(rescaling=same_units), fewer._replace(arrays=base.arrays, rescaling=own)]

    same(trained(network, both("host"), seeds=(0, 1)), trained(network, both("device"), seeds=(0, 1)))


def test_without_validation_windows(panel, network):
    without = [data(panel, feed, val_size=0)[0] for feed in ("device", "host")]
    one, other = (trained(network, given) for given in without)
    assert_alike(one[0].state, other[0].state)


def test_forecasts_have_the_same_bytes(panel, network):
    result, _ = trained(network, data(panel, "device")[0])
    structure, _ = functional(network)
    forecasts = [
        predict(structure, result.weights(0), given.arrays, found.test, given.spec, block_size=4)
        for given, found in (data(panel, feed) for feed in ("device", "host"))
    ]
    assert_alike(*forecasts)


def test_an_error_while_windows_are_read_ends_training(panel, network, monkeypatch):
    given, calls = data(panel, "host")[0], []
    whole = feed_module.cut_windows

    def broken(*arguments):
        calls.append(1)
        if len(calls) > 4:
            raise OSError("the disk is gone")
        return whole(*arguments)

    monkeypatch.setattr(feed_module, "cut_windows", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        trained(network, given)
