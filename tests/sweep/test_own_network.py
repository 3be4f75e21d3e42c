"""A sweep of a network of the user's own: trained by populations, and loaded from the winner's run directory."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx

from lstmjax.errors import CheckpointError, ConfigError
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.sweep import Space, SweepConfig, Trial, run, train_block
from lstmjax.window import Forecast, WindowSpec, lookback_features

RATES = Space.from_dict({"optimizer.learning_rate": {"type": "choice", "values": [0.02, 1e-6]}})
SETTINGS = SweepConfig(trials=2, population=2, sampler="grid")


class Linear(nnx.Module):
    """One linear layer from the lookback to the forecast."""

    def __init__(self, spec, *, rngs):
        self.spec = spec
        self.layer = nnx.Linear(spec.input_size * spec.in_features, spec.h * spec.targets, rngs=rngs)

    def __call__(self, window, *, rngs=None, deterministic=None):
        flat = lookback_features(window).reshape(window.y.shape[0], -1)
        return Forecast(self.layer(flat).reshape(-1, self.spec.h, self.spec.targets, 1))


class Wide(Linear):
    """The same under another name."""


@pytest.fixture(scope="module")
def base(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "table.csv"
    small.table().to_csv(path, index=False)
    options = {"data.path": str(path), "model.alias": "lstm", "train.max_steps": 30}
    return small.base.replace({"data.freq": "h"} | options)


@pytest.fixture(scope="module")
def swept(base, tmp_path_factory):
    return run(RATES, base, tmp_path_factory.mktemp("own") / "r", SETTINGS, network=Linear, say=lambda line: None)


def test_the_winner_is_loaded_with_its_network(swept):
    table = swept.trials.set_index("params.optimizer.learning_rate")
    assert table["state"].tolist() == ["COMPLETE", "COMPLETE"]
    assert table["value"][0.02] < table["value"][1e-6]
    winner = Forecaster.load(swept.directory / "best", network=Linear)
    assert winner.config.optimizer.learning_rate == 0.02
    assert winner.fitted.network == "Linear"
    forecast = pd.read_csv(swept.directory / "best" / "forecast.csv")["lstm"]
    for forecaster in (winner, swept.best()):
        np.testing.assert_allclose(forecaster.predict()["lstm"], forecast, rtol=1e-5)
    with pytest.raises(CheckpointError, match="trained with the network Linear: pass it as network="):
        Forecaster.load(swept.directory / "best")


def test_a_finished_sweep_is_of_its_network(swept, base, tmp_path):
    again = run(RATES, base, swept.directory, SETTINGS, network=Linear, say=lambda line: None)
    pd.testing.assert_frame_equal(again.trials, swept.trials, check_dtype=False)
    for other in (Wide, None):
        with pytest.raises(ConfigError, match="of another network: continue it with the command that began it"):
            run(RATES, base, swept.directory, SETTINGS, network=other)


def test_every_member_draws_its_own_weights(small, panel):
    trials = [Trial(0, {"optimizer.learning_rate": 1e-6})]
    (outcome,) = train_block(small.base, panel, RATES, trials, seeds=2, population=2, network=Linear)
    first, second = ([*fitted.selected.weights.params.values()] for fitted in outcome.fitted)
    assert [array.shape for array in first] == [array.shape for array in second]
    assert any(jnp.abs(jnp.asarray(a) - jnp.asarray(b)).max() > 0.01 for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("setting", [{"type": "choice", "values": [2, 3]}, 2])
def test_options_of_the_package_s_networks_are_refused(setting, base, small, panel, tmp_path):
    rates = {"optimizer.learning_rate": {"type": "choice", "values": [0.02, 0.01]}}
    space = Space.from_dict(rates | {"model.hidden_size": setting})
    message = "space: model.hidden_size has no effect on a network of your own: remove it from the space"
    with pytest.raises(ConfigError, match=f"^{message}$"):
        run(space, base, tmp_path / "r", SETTINGS, network=Linear)
    assert not (tmp_path / "r").exists()
    with pytest.raises(ConfigError, match=f"^{message}$"):
        train_block(small.base, panel, space, small.trials_at([0.1]), network=Linear)


def test_a_module_is_refused(base, tmp_path):
    module = Linear(WindowSpec(6, 2), rngs=nnx.Rngs(0))
    with pytest.raises(ConfigError, match=r"network is a module \(Linear\): give the class or function"):
        run(RATES, base, tmp_path / "r", SETTINGS, network=module)
    assert not (tmp_path / "r").exists()
