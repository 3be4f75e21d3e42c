"""Every option acts only where it belongs: elsewhere it changes no byte of a member and no step of a program."""

import dataclasses
import functools
import hashlib
import re
import typing
import warnings

import jax
import numpy as np
import pandas as pd
import pytest
from jax._src.interpreters import partial_eval

from lstmjax import models
from lstmjax.config import RunConfig, option_names
from lstmjax.data.build import panel_from_table
from lstmjax.data.prepare import prepare
from lstmjax.sweep.space.traced import TRACED, numbers, static_part
from lstmjax.training import TrainingData, functional, train
from lstmjax.training.plan import make_plan
from lstmjax.training.population import initializer

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
        "optimizer.name": "sgd",
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
    "optimizer.decay_rate": {"optimizer.learning_rate": 3.0, "optimizer.plateau_patience": 1},  # checks get worse
    "optimizer.plateau_patience": {"optimizer.learning_rate": 3.0},
    "model.quantiles": {"train.loss": "auto"},
    "model.decoder_size": {"model.name": "segment"},
    "model.lags": {"model.name": "segment"},
}
"""What else it takes for an option to be seen where it acts."""

HEAD_OF_LOSS = {"pinball": "quantile", "nll": "normal"}

OUTPUTS = {"outputs.calibration_scope"}
"""Those that act on outputs only: see tests/forecaster/test_intervals.py."""

ACT_ALWAYS = {
    "data": """dataset path store layout sep decimal futr_path time_col time_format time_zone id_col target_cols
        futr_exog hist_exog stat_exog calendar holidays weight_col freq season_length h input_size val_size
        calibration_size test_size train_end val_end calibration_end transform clip_min scaler gaps
        step_size origins""",
    "model": """name hidden_size head num_layers dropout forget_bias residual instance_norm series_embedding
        alias""",
    "optimizer": "name learning_rate schedule warmup_steps weight_decay clip_norm clip_value",
    "train": """max_steps batch_size val_check_steps early_stop_patience_steps val_windows max_seconds loss
        random_lookback seed
        batch_shards chunk_steps feed
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
    """The training data of a config."""
    kept = {}

    def of(config):
        if config.data not in kept:
            prepared = prepare(panel, config.data, with_test=False)
            kept[config.data] = TrainingData(prepared.arrays, prepared.train, prepared.validation, prepared.spec)
        return kept[config.data]

    return of


@pytest.fixture(scope="module")
def members(trained_on, tools):
    """The states of two members of a population that differ in nothing but a traced option."""
    linear = functools.cache(tools.Build)

    def of(name, config):
        low, high = (config.replace({name: value}) for value in VALUES[name])
        shared = static_part(low, [name])
        assert shared == static_part(high, [name])
        data = trained_on(shared)
        # No traced option here is the network's: a linear one is compiled in half the time, but has no head.
        network = linear(data.spec) if shared.model.head == "point" else models.Builder(data.spec, shared.model)
        chosen = [numbers(each, [name], seed=0) for each in (low, high)]
        state = train(network, data, shared.optimizer, shared.train, hyperparameters=chosen).state
        return [[np.asarray(leaf)[member].tobytes() for leaf in jax.tree.leaves(state)] for member in (0, 1)]

    return of


def steps_of(closed):
    """A program without the steps that lead to nothing, as text, and the digests of the arrays that are part of it.

    Lowering it, and compiling it all the more, would take twice as long as tracing it.
    """
    arrays, visited = [*closed.consts], []

    def visit(jaxpr):
        visited.append(jaxpr)
        for equation in jaxpr.eqns:
            arrays.extend(atom.val for atom in equation.invars if hasattr(atom, "val"))
            for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")):
                if hasattr(value, "eqns"):
                    arrays.extend(getattr(value, "consts", ()))
                    visit(getattr(value, "jaxpr", value))

    kept, _ = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    visit(kept)
    assert len(visited) > 3  # the programs of all members hold those of one
    text = re.sub(r"0x[0-9a-f]+", "", str(kept))  # where a function lies in memory
    return text, [hashlib.sha256(np.asarray(array)).digest() for array in arrays]


def digests(config, data):
    """The digests of what is given to the programs of a config, and of each program, one after the other."""
    structure, first = functional(models.Builder(data.spec, config.model))
    plan = make_plan(structure, data, config.optimizer, config.train, [numbers(config, [], seed=0)], None)
    optimizer = plan.setting.optimizer, plan.setting.schedule
    draw = initializer(structure, first, *optimizer, plan.mesh, plan.mapping)
    yield [hashlib.sha256(np.asarray(leaf)).digest() for leaf in jax.tree.leaves((plan.hyper, plan.span(1), plan.held))]
    state = plan.with_state(jax.eval_shape(draw, plan.hyper, None))
    for program, given in (
        (draw, (plan.hyper, None)),
        (plan.programs.check, (state, plan.held)),
        (plan.programs.run, (state, plan.span(1))),
    ):
        yield steps_of(program.trace(*given).jaxpr)


@pytest.fixture(scope="module")
def alike(trained_on, members):
    """Whether two values of an option lead to the same bytes of members, or else to the same programs and arguments."""

    def of(name, config):
        if name in TRACED:
            one, other = members(name, config)
            return one == other
        both = (config.replace({name: value}) for value in VALUES[name])
        return all(one == other for one, other in zip(*(digests(c, trained_on(c)) for c in both), strict=True))

    return of


@pytest.mark.parametrize("name", sorted(VALUES))
def test_where_an_option_does_not_act_nothing_differs(name, alike):
    for config in conditions(name, acts=False):
        assert alike(name, config), config


@pytest.mark.parametrize("name", sorted(VALUES))
def test_where_an_option_acts_something_differs(name, alike):
    for config in conditions(name, acts=True):
        assert not alike(name, config), config


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
