"""Every option acts only where it belongs: elsewhere it changes no byte of a member and no letter of a program."""

import dataclasses
import functools
import hashlib
import typing
import warnings

import jax
import numpy as np
import pandas as pd
import pytest

from lstmjax import models
from lstmjax.config import RunConfig, option_names
from lstmjax.data.build import panel_from_table
from lstmjax.data.prepare import prepare
from lstmjax.sweep.space.traced import TRACED, numbers, static_part
from lstmjax.training import TrainingData, functional, train
from lstmjax.training.loop import _first_state
from lstmjax.training.plan import make_plan

BASE = RunConfig().replace(
    {
        "data.h": 4,
        "data.input_size": 8,
        "data.val_size": 12,
        "data.test_size": 0,
        "data.season_length": 4,
        "model.name": "direct",
        "model.hidden_size": 3,
        "model.instance_norm": "none",
        "model.instance_scale": "none",
        "model.head_size": 2,
        "model.segment_size": 4,
        "optimizer.learning_rate": 0.05,
        "optimizer.schedule": "constant",
        "train.loss": "mse",
        "train.max_steps": 12,
        "train.batch_size": 16,
        "train.batch_shards": 1,
        "train.val_check_steps": 3,
        "train.early_stop_patience_steps": -1,
    }
)

VALUES = {
    "data.scaler_scope": ("series", "global"),
    "model.quantiles": ((0.1, 0.5, 0.9), (0.2, 0.5, 0.8)),
    "model.head_size": (2, 3),
    "model.segment_size": (4, 2),
    "model.highway": (False, True),
    "model.recall": (False, True),
    "model.known_future": ("query", "decoder"),
    "model.decoder_size": (3, 2),
    "model.lags": ((), (3,)),
    "model.residual_season": (None, 3),
    "model.instance_scale": ("none", "mad"),
    "model.instance_rows": (None, 3),
    "optimizer.decay_rate": (0.9, 0.2),
    "optimizer.decay_steps": (1000, 2),
    "optimizer.decay_start_epoch": (0, 1),
    "optimizer.final_fraction": (0.0, 0.8),
    "optimizer.plateau_patience": (1, 2),
    "optimizer.momentum": (0.0, 0.7),
    "train.huber_delta": (1.0, 0.05),
}
"""Two values of each option that acts only under some values of others."""

SETTINGS = {
    "optimizer.plateau_patience": {"optimizer.learning_rate": 3.0},  # checks without an improvement
    "model.quantiles": {"train.loss": "auto"},
    "model.decoder_size": {"model.name": "segment"},
    "model.lags": {"model.name": "segment"},
}
"""What else it takes for an option to be seen where it acts."""

HEAD_OF_LOSS = {"pinball": "quantile", "nll": "normal"}

OUTPUTS = {"outputs.calibration_scope"}
"""Those that act on outputs only: see tests/forecaster/test_intervals.py."""

ACT_ALWAYS = {
    "data": """dataset path layout sep decimal futr_path time_col time_format time_zone id_col target_cols futr_exog
        hist_exog stat_exog calendar holidays weight_col freq season_length h input_size val_size calibration_size
        test_size train_end val_end calibration_end transform clip_min scaler gaps
        step_size origins""",
    "model": """name hidden_size head num_layers dropout forget_bias residual instance_norm series_embedding
        alias""",
    "optimizer": "name learning_rate schedule warmup_steps weight_decay clip_norm clip_value",
    "train": """max_steps batch_size val_check_steps early_stop_patience_steps val_windows max_seconds loss
        random_lookback seed
        batch_shards chunk_steps
        save_every_seconds refit_all""",
    "outputs": "level quantiles calibration pool format plot_windows",
}
"""All others. An option that is added goes here, or among `VALUES` and says in its field where it acts."""


def fields():
    for section in dataclasses.fields(RunConfig):
        for named in dataclasses.fields(typing.cast(type, section.type)):
            yield f"{section.name}.{named.name}", named.metadata["rules"].only


ONLY = {name: only for name, only in fields() if only is not None}


def test_every_option_says_where_it_acts():
    always = {f"{section}.{name}" for section, names in ACT_ALWAYS.items() for name in names.split()}
    assert set(ONLY) == {*VALUES, *OUTPUTS}
    assert set(ONLY) | always == set(option_names())
    for name, only in ONLY.items():
        section = name.split(".")[0]
        for other, values in only.items():
            hint = typing.get_type_hints(type(getattr(BASE, section)))[other]
            assert set(values) < set(typing.get_args(hint))


def conditions(name, *, acts):
    """Configs under which an option acts, or does not."""
    section = name.split(".")[0]
    only = ONLY[name]
    if acts:
        choices = [{f"{section}.{other}": value} for other, values in only.items() for value in values]
    else:
        hints = typing.get_type_hints(type(getattr(BASE, section)))
        outside = {
            f"{section}.{other}": [v for v in typing.get_args(hints[other]) if v not in values]
            for other, values in only.items()
        }
        longest = max(map(len, outside.values()))
        choices = [{other: values[k % len(values)] for other, values in outside.items()} for k in range(longest)]
    for choice in choices:
        head = {"model.head": HEAD_OF_LOSS[loss]} if (loss := choice.get("train.loss")) in HEAD_OF_LOSS else {}
        config = BASE.replace(choice | SETTINGS.get(name, {}) | head)
        assert (name in config.inert()) != acts
        yield config


@pytest.fixture(scope="module")
def panel():
    rng = np.random.default_rng(0)
    times = pd.date_range("2024-01-01", periods=60, freq="h")
    tables = [
        pd.DataFrame({"unique_id": name, "ds": times, "y": level + np.sin(np.arange(60)) + 0.3 * rng.normal(size=60)})
        for name, level in (("a", 5.0), ("b", 9.0))
    ]
    return panel_from_table(pd.concat(tables), BASE.data)


@pytest.fixture(scope="module")
def trained_on(panel):
    """The training data of a config, and its network."""
    kept = {}

    def of(config):
        if config.data not in kept:
            prepared = prepare(panel, config.data, with_test=False)
            kept[config.data] = TrainingData(prepared.arrays, prepared.train, prepared.validation, prepared.spec)
        return kept[config.data], models.Builder(kept[config.data].spec, config.model)

    return of


def members(name, config, trained_on):
    """The states of two members of a population that differ in nothing but a traced option."""
    low, high = (config.replace({name: value}) for value in VALUES[name])
    shared = static_part(low, [name])
    assert shared == static_part(high, [name])
    data, network = trained_on(shared)
    chosen = [numbers(each, [name], seed=0) for each in (low, high)]
    state = train(network, data, shared.optimizer, shared.train, hyperparameters=chosen).state
    return [[np.asarray(leaf)[member].tobytes() for leaf in jax.tree.leaves(state)] for member in (0, 1)]


@pytest.fixture(scope="module")
def program(trained_on):
    """The digests of all that is compiled under a config, and of the bytes that are given to it; each made once."""
    return functools.cache(functools.partial(digests, trained_on=trained_on))


def digests(config, *, trained_on):
    data, network = trained_on(config)
    structure, first = functional(network)
    plan = make_plan(structure, data, config.optimizer, config.train, [numbers(config, [], seed=0)], None)
    state = _first_state(plan, first)
    texts = [
        plan.programs.run.lower(plan.with_state(state), plan.span(1)).as_text(),
        plan.programs.check.lower(plan.with_state(state), plan.held).as_text(),
    ]
    given = (state.params, state.model_state, plan.hyper, plan.span(1), plan.held)
    parts = [*(text.encode() for text in texts), *(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(given))]
    return [hashlib.sha256(part).hexdigest() for part in parts]


def outcome(name, config, trained_on, program):
    if name in TRACED:
        return members(name, config, trained_on)
    return [program(config.replace({name: value})) for value in VALUES[name]]


@pytest.mark.parametrize("name", sorted(VALUES))
def test_where_an_option_does_not_act_nothing_differs(name, trained_on, program):
    for config in conditions(name, acts=False):
        one, other = outcome(name, config, trained_on, program)
        assert one == other


@pytest.mark.parametrize("name", sorted(VALUES))
def test_where_an_option_acts_something_differs(name, trained_on, program):
    for config in conditions(name, acts=True):
        one, other = outcome(name, config, trained_on, program)
        assert one != other


def test_an_inert_option_says_where_it_would_act():
    inert = BASE.inert()
    assert inert["optimizer.decay_rate"] == (
        "it acts only with optimizer.schedule exponential, step or plateau, and optimizer.schedule is 'constant'"
    )
    assert inert["model.instance_rows"] == (
        "it acts only with model.instance_norm auto, last, mean or median or model.instance_scale auto, std, mad or "
        "mean_abs, and model.instance_norm is 'none' and model.instance_scale is 'none'"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BASE.replace({"optimizer.decay_rate": 0.3})  # accepted without a word: only what is typed is warned of
