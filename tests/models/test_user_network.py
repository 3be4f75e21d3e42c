"""A network of the user's own: what it must take and return is said in one line, before anything is trained."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx

from lstmjax.config import RunConfig
from lstmjax.errors import ConfigError
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.models.user_network import check_own_network
from lstmjax.window import Forecast, WindowSpec, lookback_features

SPEC = WindowSpec(input_size=5, h=3, targets=2, hist_exog=1, futr_exog=2, stat_exog=1)


class Good(nnx.Module):
    def __init__(self, spec, *, rngs):
        self.spec = spec
        self.layer = nnx.Linear(spec.input_size * spec.in_features, spec.h * spec.targets, rngs=rngs)
        self.norm = nnx.BatchNorm(spec.h * spec.targets, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, window, *, rngs=None, deterministic=None):
        flat = lookback_features(window).reshape(window.y.shape[0], -1)
        values = self.dropout(self.norm(self.layer(flat)))
        return Forecast(values.reshape(-1, self.spec.h, self.spec.targets, 1))


class NoRngs(Good):
    def __call__(self, window):
        return super().__call__(window)


class Needs(Good):
    def __call__(self, window, context, *, rngs=None, deterministic=None):
        return super().__call__(window)


class Transposed(Good):
    def __call__(self, window, *, rngs=None, deterministic=None):
        return Forecast(super().__call__(window).parameters.transpose(0, 2, 1, 3))


class Array(Good):
    def __call__(self, window, *, rngs=None, deterministic=None):
        return super().__call__(window).parameters[..., 0]


class Nothing(Good):
    def __call__(self, window, *, rngs=None, deterministic=None):
        pass


class NoSpec(nnx.Module):
    def __init__(self, *, rngs):
        pass


class WholeNumbers(Good):
    def __call__(self, window, *, rngs=None, deterministic=None):
        forecast = super().__call__(window)
        object.__setattr__(forecast, "parameters", forecast.parameters.astype(int))  # unseen by the tests' type checks
        return forecast


class Untrained(nnx.Module):
    def __init__(self, spec, *, rngs):
        self.spec = spec

    def __call__(self, window, *, rngs=None, deterministic=None):
        return Forecast(jnp.zeros((window.y.shape[0], self.spec.h, self.spec.targets, 1)))


class Counts(Good):
    def __init__(self, spec, *, rngs):
        super().__init__(spec, rngs=rngs)
        self.calls = nnx.Param(jnp.zeros((), int))


class Raises(Good):
    def __call__(self, window, *, rngs=None, deterministic=None):
        raise KeyError("their own mistake")


SHAPE = "expected lstmjax.Forecast(parameters) of shape (B, H, C, P), here (2, 3, 2, P)"


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (
            NoRngs,
            "the network NoRngs cannot be called: got an unexpected keyword argument 'rngs'; it takes __call__(self",
        ),
        (
            Needs,
            "the network Needs cannot be called: missing a required argument: 'context'; it takes __call__(self, w",
        ),
        (Transposed, f"the network Transposed returns a Forecast of shape (2, 2, 3, 1) for 2 windows: {SHAPE}"),
        (Array, f"of shape (2, 3, 2) for 2 windows: {SHAPE}"),
        (WholeNumbers, "the network WholeNumbers returns numbers of the type int32: expected float32"),
        (Nothing, f"the network Nothing returns a NoneType for 2 windows: {SHAPE}"),
        (NoSpec, "the network NoSpec cannot be made: too many positional arguments; it takes (spec, *, rngs)"),
        (
            lambda spec: Good(spec, rngs=nnx.Rngs(0)),
            "got an unexpected keyword argument 'rngs'; it takes (spec, *, rngs)",
        ),
        (Untrained, "the network Untrained has nothing to train: it holds no nnx.Param"),
        (Untrained(SPEC, rngs=nnx.Rngs(0)), "the network Untrained has nothing to train"),
        (
            Counts,
            "the network Counts cannot be trained: its nnx.Param calls is of the type int32: make it an nnx.Variable",
        ),
        (lambda spec, *, rngs: [1], "makes a list: expected an nnx.Module to call"),
        (lambda spec, *, rngs: nnx.Param(0), "expected an nnx.Module to call"),
    ],
)
def test_what_a_network_must_be_is_one_line(network, expected):
    with pytest.raises(ConfigError) as error:
        check_own_network(network, SPEC)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_module_with_its_weights_is_checked_and_left_as_it_is():
    module = Good(SPEC, rngs=nnx.Rngs(0))
    before = nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))
    check_own_network(module, SPEC)
    check_own_network(Good, SPEC)
    after = nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))
    np.testing.assert_array_equal(after["norm"]["mean"], before["norm"]["mean"])
    with pytest.raises(ConfigError, match=r"Transposed returns a Forecast"):
        check_own_network(Transposed(SPEC, rngs=nnx.Rngs(0)), SPEC)


def test_a_mistake_within_the_network_is_raised_as_it_is():
    with pytest.raises(KeyError, match="their own mistake"):
        check_own_network(Raises, SPEC)


def test_fitting_says_it_before_training():
    table = pd.DataFrame({"ds": range(60), "y": np.sin(np.arange(60))})
    config = RunConfig().replace({"data.h": 3, "data.input_size": 5, "train.max_steps": 2})
    with pytest.raises(ConfigError, match=r"NoRngs cannot be called"):
        Forecaster(config, network=NoRngs).fit(table, val_size=6)

    def constant(spec, *, rngs):
        class Constant(nnx.Module):
            def __init__(self):
                self.level = nnx.Param(jnp.zeros(()))

            def __call__(self, window, *, rngs=None, deterministic=None):
                return Forecast(jnp.zeros((window.y.shape[0], spec.h, spec.targets, 1)) + self.level[...])

        return Constant()

    assert len(Forecaster(config, network=constant).fit(table, val_size=6).predict()) == 3
