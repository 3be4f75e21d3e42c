"""What is traced and what is compiled in: every option is one or the other, and the networks agree."""

import dataclasses

import jax
import numpy as np
import pytest

from lstmjax import models
from lstmjax.config import ModelConfig, RunConfig, option_names
from lstmjax.sweep import Distribution
from lstmjax.sweep.space.traced import NETWORK_OPTIONS, TRACED, is_traced, numbers, static_part
from lstmjax.training import Hyperparameters, functional
from lstmjax.window import WindowSpec


@pytest.mark.parametrize("name", models.NETWORKS)
def test_every_network_holds_the_networks_options(name):
    config = ModelConfig(name=name, hidden_size=4, dropout=0.5, forget_bias=2.0)
    structure, _ = functional(models.Builder(WindowSpec(input_size=8, h=4), config))
    assert set(structure.hyperparameters) == set(NETWORK_OPTIONS.values())


def test_every_traced_number_is_an_option():
    """``total_steps`` apart: it is ``train.max_steps``, which also says how long a run is."""
    fields = {name.split(".")[1] for name in TRACED - NETWORK_OPTIONS.keys()}
    fields = {"early_stop_patience" if name == "early_stop_patience_steps" else name for name in fields}
    assert fields | {"total_steps", "network"} == set(Hyperparameters._fields)
    assert set(option_names()) > TRACED
    assert "optimizer.learning_rate" in TRACED
    assert "train.max_steps" not in TRACED


def test_trials_share_a_program_where_they_differ_in_traced_options_only():
    base, searched = RunConfig(), ["model.dropout", "optimizer.learning_rate"]
    one = static_part(base, searched)
    for values in (
        {"optimizer.learning_rate": 0.1, "model.dropout": 0.3, "train.seed": 3},
        {"train.early_stop_patience_steps": -1, "optimizer.clip_norm": 0.3, "optimizer.warmup_steps": 7},
    ):
        assert static_part(base.replace(values), searched) == one
    for values in (
        {"optimizer.clip_norm": None},
        {"optimizer.clip_value": 1.0},
        {"optimizer.schedule": "constant"},
        {"model.hidden_size": 7},
        {"data.scaler": "minmax"},
        {"train.max_steps": 10},
    ):
        assert static_part(base.replace(values), searched) != one
    # A rate that is not searched is compiled in; 0 then draws no masks.
    assert static_part(base, []).model.dropout == 0.0


def test_members_have_the_numbers_of_their_trials():
    config = RunConfig().replace({"model.dropout": 0.25, "optimizer.learning_rate": 0.125})
    found = numbers(config, ["model.dropout"], seed=5)
    assert found.network == {"dropout": 0.25}
    assert found.learning_rate == 0.125
    assert found.seed.tolist() == [0, 5]
    assert numbers(config, [], seed=5).network == {}


def test_an_option_that_may_be_switched_off_changes_the_program():
    assert is_traced("optimizer.clip_norm", Distribution("choice", values=(0.5, 1.0)))
    assert not is_traced("optimizer.clip_norm", Distribution("choice", values=(None, 1.0)))
    assert not is_traced("model.hidden_size", Distribution("choice", values=(8, 16)))


def test_the_stand_in_of_each_option_is_a_legal_value():
    config = static_part(RunConfig().replace({"optimizer.clip_value": 3.0}), ["model.dropout"])
    assert dataclasses.asdict(config)["model"]["dropout"] == 0.5
    assert config.optimizer.clip_value == 1.0


def test_a_traced_forget_bias_is_as_good_as_one_compiled_in():
    """On the biases alone: everything else that is drawn stays."""
    spec = WindowSpec(input_size=8, h=4)
    drawn = {}
    for bias in (1.0, 2.0, 3.0):
        structure, draw = functional(
            models.Builder(spec, ModelConfig(name="direct", hidden_size=4, num_layers=2, forget_bias=bias))
        )
        drawn[bias] = (structure, draw(jax.random.key(0)))
    structure, weights = drawn[2.0]
    traced = jax.jit(lambda value: structure.begin(weights, {"forget_bias": value}))(np.float32(3.0))
    for name, leaf in drawn[3.0][1].params.items():
        np.testing.assert_array_equal(traced.params[name], leaf)
    assert traced.model_state["forget_bias"] == 3.0
    biases = [name for name in weights.params if name.endswith("cell.bias")]
    assert len(biases) == 2
    for name in biases:
        np.testing.assert_array_equal(traced.params[name], np.repeat([0.0, 3.0, 0.0, 0.0], 4))
        np.testing.assert_array_equal(drawn[1.0][1].params[name], np.repeat([0.0, 1.0, 0.0, 0.0], 4))
