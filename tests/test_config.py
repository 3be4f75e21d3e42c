"""Options: what they default to, what they refuse and in which words, and how they are stored."""

import ast
import dataclasses
import inspect
import itertools
import json
import typing

import pytest

from lstmjax import config as options
from lstmjax.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig, TrainConfig
from lstmjax.errors import ConfigError

DEFAULTS = {
    "data": {
        "dataset": None,
        "path": None,
        "store": None,
        "layout": "long",
        "sep": ",",
        "decimal": ".",
        "futr_path": None,
        "time_col": "ds",
        "time_format": None,
        "time_zone": None,
        "id_col": "unique_id",
        "target_cols": ["y"],
        "futr_exog": [],
        "hist_exog": [],
        "stat_exog": [],
        "calendar": [],
        "holidays": None,
        "weight_col": None,
        "freq": None,
        "season_length": None,
        "h": 24,
        "input_size": 96,
        "val_size": None,
        "calibration_size": 0,
        "test_size": None,
        "train_end": None,
        "val_end": None,
        "calibration_end": None,
        "transform": "none",
        "clip_min": None,
        "scaler": "auto",
        "scaler_scope": "series",
        "gaps": "mask",
        "step_size": 1,
        "origins": "every",
    },
    "model": {
        "name": "segment",
        "hidden_size": None,
        "head": "point",
        "quantiles": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
        "num_layers": 1,
        "dropout": 0.0,
        "forget_bias": 1.0,
        "head_size": 128,
        "segment_size": None,
        "highway": True,
        "recall": True,
        "known_future": "query",
        "decoder_size": 256,
        "lags": [],
        "residual": "none",
        "residual_season": None,
        "instance_norm": "auto",
        "instance_scale": "auto",
        "instance_rows": None,
        "series_embedding": 0,
        "alias": "lstm",
    },
    "optimizer": {
        "name": "adam",
        "learning_rate": 0.002,
        "schedule": "cosine",
        "warmup_steps": 0,
        "decay_rate": 0.9,
        "decay_steps": 1000,
        "decay_start_epoch": 0,
        "final_fraction": 0.0,
        "plateau_patience": 3,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "clip_norm": 1.0,
        "clip_value": None,
    },
    "train": {
        "max_steps": 2000,
        "batch_size": 64,
        "val_check_steps": 100,
        "early_stop_patience_steps": 5,
        "val_windows": None,
        "max_seconds": None,
        "loss": "auto",
        "huber_delta": 1.0,
        "random_lookback": False,
        "seed": 0,
        "batch_shards": None,
        "chunk_steps": None,
        "feed": "auto",
        "save_every_seconds": 20.0,
        "refit_all": False,
    },
    "outputs": {
        "level": [],
        "quantiles": [],
        "calibration": "none",
        "calibration_scope": "pooled",
        "pool": "quantiles",
        "format": "csv",
        "plot_windows": 3,
    },
}
"""Published runs rest on these: a change here is a change of behaviour, and belongs in the changelog."""


def test_defaults_are_pinned():
    assert json.loads(RunConfig().to_json()) == {"format_version": 2, **DEFAULTS}


FORMAT_1 = {
    "model.name": "direct",
    "model.hidden_size": 128,
    "model.segment_size": 24,
    "model.highway": False,
    "model.recall": False,
    "model.instance_norm": "none",
    "model.instance_scale": "none",
    "optimizer.learning_rate": 1e-3,
    "optimizer.schedule": "constant",
    "train.max_steps": 1000,
    "train.val_windows": 0,
    "train.loss": "mse",
}
"""What was trained where a config of format 1 names nothing."""


def test_what_a_config_of_format_1_does_not_name_has_the_meaning_it_had_there():
    assert RunConfig.from_json('{"format_version": 1}') == RunConfig().replace(FORMAT_1)
    named = RunConfig.from_json('{"format_version": 1, "model": {"name": "segment"}, "data": {"h": 7}}')
    assert named == RunConfig().replace(FORMAT_1 | {"model.name": "segment", "data.h": 7})
    assert RunConfig.from_json('{"format_version": 2}') == RunConfig.from_json("{}") == RunConfig()


def test_every_option_says_how_it_is_resumed_and_searched():
    for name in options.option_names():
        rules = options.rules(name)
        assert rules.resume in typing.get_args(options.Resume)
        assert rules.sweep in ("traced", "shape") or rules.unsearchable
    by_resume = {name: options.rules(name).resume for name in options.option_names()}
    assert {name for name, resume in by_resume.items() if resume == "more"} == {"train.max_steps"}
    assert {name for name, resume in by_resume.items() if resume == "free"} == {
        "data.path",
        "data.store",
        "data.futr_path",
        "train.chunk_steps",
        "train.feed",
        "train.max_seconds",
        "train.save_every_seconds",
        "train.refit_all",
        "outputs.level",
        "outputs.quantiles",
        "outputs.calibration",
        "outputs.calibration_scope",
        "outputs.pool",
        "outputs.format",
        "outputs.plot_windows",
    }
    for name, resume in by_resume.items():  # what is inferred is what may be left open
        if resume == "inferred":
            assert options.option_fields()[name].default in (None, "auto")
    searched = {name for name in options.option_names() if options.rules(name).unsearchable is None}
    assert {name for name in searched if name.startswith("data.")} == {
        f"data.{name}" for name in ("input_size", "transform", "scaler", "scaler_scope", "step_size")
    }


def test_every_option_survives_being_stored():
    config = RunConfig(
        DataConfig(path="x.csv", target_cols=("a", "b"), futr_exog=("t",), h=7, val_size=0, freq="30min"),
        ModelConfig(dropout=0.25, residual="seasonal_naive", alias="mine"),
        OptimizerConfig(name="lion", learning_rate=1e-4, clip_norm=None, clip_value=0.5),
        TrainConfig(early_stop_patience_steps=-1, batch_shards=2, refit_all=True),
    )
    assert RunConfig.from_json(config.to_json()) == config


def test_text_may_name_a_few_options_only():
    assert RunConfig.from_json('{"data": {"h": 48}}') == RunConfig(DataConfig(h=48))
    assert RunConfig.from_json("{}") == RunConfig()


def test_lists_become_tuples_and_whole_floats_ints():
    config = DataConfig(target_cols=["a", "b"], h=48.0)
    assert config.target_cols == ("a", "b")
    assert config.h == 48
    assert type(config.h) is int
    assert type(OptimizerConfig(learning_rate=1).learning_rate) is float


def test_frozen_and_hashable():
    config = RunConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.data.h = 1
    assert hash(config) == hash(RunConfig.from_json(config.to_json()))
    assert config != config.replace({"train.seed": 1})


def test_replace_changes_what_is_named_and_nothing_else():
    before = RunConfig()
    after = before.replace({"data.h": 48, "optimizer.learning_rate": 3e-3})
    assert (after.data.h, after.optimizer.learning_rate) == (48, 3e-3)
    assert after.replace({"data.h": 24, "optimizer.learning_rate": 2e-3}) == before == RunConfig()


BAD_VALUES = {
    "data.h": (0, "data.h is 0: expected at least 1"),
    "data.input_size": (-3, "data.input_size is -3: expected at least 1"),
    "data.season_length": (0, "data.season_length is 0: expected at least 1"),
    "data.val_size": (-1, "data.val_size is -1: expected at least 0"),
    "data.test_size": (1.5, "data.test_size is 1.5: expected a whole number"),
    "data.step_size": ("two", "data.step_size is 'two': expected a whole number"),
    "data.target_cols": ("y", "data.target_cols is 'y': expected a list of names"),
    "data.futr_exog": ([1], "data.futr_exog is [1]: expected a list of names"),
    "data.calibration_size": (-1, "data.calibration_size is -1: expected at least 0"),
    "data.origins": ("noon", "data.origins is 'noon': expected every, a whole number of rows such as 24, or a time of"),
    "data.calendar": (["hour", "noon"], "data.calendar is 'noon': expected one of minute, hour, weekday"),
    "data.scaler": ("z", "data.scaler is 'z': expected one of auto, standard, minmax, robust, none"),
    "data.dataset": ("etth3", "data.dataset is 'etth3': expected one of elecdemand, etth1"),
    "data.layout": (["long"], "data.layout is ['long']: expected one of long, wide"),
    "data.path": (3, "data.path is 3: expected text"),
    "model.hidden_size": (True, "model.hidden_size is True: expected a whole number"),
    "model.num_layers": (None, "model.num_layers is None: expected a whole number"),
    "model.dropout": (1.5, "model.dropout is 1.5: expected at most 1.0"),
    "optimizer.learning_rate": (0, "optimizer.learning_rate is 0.0: expected more than 0.0"),
    "optimizer.decay_rate": (float("nan"), "optimizer.decay_rate is nan: expected a finite number"),
    "optimizer.clip_norm": (float("inf"), "optimizer.clip_norm is inf: expected a finite number"),
    "optimizer.weight_decay": ("0", "optimizer.weight_decay is '0': expected a number"),
    "optimizer.momentum": (-0.1, "optimizer.momentum is -0.1: expected at least 0.0"),
    "train.early_stop_patience_steps": (-2, "train.early_stop_patience_steps is -2: expected at least -1"),
    "outputs.level": ([120], "outputs.level is 120: expected a number of percent above 0 and below 100"),
    "outputs.quantiles": (
        [0.9, 0.1],
        "outputs.quantiles has 0.1 after 0.9: expected each probability once, in ascending",
    ),
    "model.quantiles": ([], "model.quantiles is empty: give at least one level"),
    "model.head": ("gauss", "model.head is 'gauss': expected one of point, quantile, normal"),
    "train.refit_all": (1, "train.refit_all is 1: expected true or false"),
    "train.loss": ("rmse", "train.loss is 'rmse': expected one of auto, mse, mae, huber, pinball, nll"),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_bad_value_is_refused_in_one_line_that_names_it(name):
    value, message = BAD_VALUES[name]
    with pytest.raises(ConfigError) as error:
        RunConfig().replace({name: value})
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"dataset": "etth1", "path": "x.csv"},
            "data.path is 'x.csv' and data.dataset is 'etth1': give one of the two",
        ),
        ({"target_cols": []}, "data.target_cols is empty: name at least one column to forecast"),
        ({"hist_exog": ["y"]}, "data.hist_exog names 'y', which data.target_cols names too: a column has one role"),
        ({"target_cols": ["y", "y"]}, "data.target_cols names 'y', which data.target_cols names too"),
        ({"time_col": "y"}, "data.target_cols names 'y', which data.time_col names too"),
        ({"weight_col": "y"}, "data.weight_col names 'y', which data.target_cols names too: a column has one role"),
        ({"calendar": ["hour", "hour"]}, "data.calendar is hour, hour: expected each name once"),
        ({"train_end": "2020", "val_size": 3, "val_end": "2021"}, "data.train_end and data.val_size both say where"),
        ({"train_end": "2020", "val_end": "2021", "test_size": 3}, "data.val_end and data.test_size both say where"),
        ({"train_end": "2020"}, "data.val_end is missing: data.train_end and data.val_end are given together"),
        ({"val_end": "2020"}, "data.train_end is missing: data.train_end and data.val_end are given together"),
        (
            {"calibration_end": "2020"},
            "data.calibration_end is given without data.train_end and data.val_end: give all",
        ),
        (
            {"train_end": "2020", "val_end": "2021", "calibration_size": 9},
            "data.calibration_size is 9, but data.train_end and data.val_end say where the parts end: give",
        ),
        ({"origins": "24", "step_size": 2}, "data.origins is '24' and data.step_size is 2: both say which windows are"),
        ({"origins": "00:00", "step_size": 3}, "data.origins is '00:00' and data.step_size is 3: both say which"),
    ],
)
def test_options_that_contradict_each_other(values, message):
    with pytest.raises(ConfigError) as error:
        DataConfig(**values)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("origins", ["0", 0, -3, "24:00", "9:5", "12:60", "1.5", "", "00:00:00", "every 24", "²"])
def test_origins_that_are_no_grid_are_refused(origins):
    with pytest.raises(
        ConfigError, match=r"^data\.origins is .*: expected every, a whole number of rows such as 24, or"
    ):
        DataConfig(origins=origins)
    with pytest.raises(ConfigError, match=r"^data\.origins is .*: expected text"):
        DataConfig(origins=None)


def test_origins_have_one_form():
    given = (24, "24", "024", " 24 ", "9:00", "09:00", "every")
    assert [DataConfig(origins=one).origins for one in given] == ["24"] * 4 + ["09:00"] * 2 + ["every"]
    assert RunConfig.from_json('{"data": {"origins": 24}}') == RunConfig(DataConfig(origins="24"))


@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u2003"])
@pytest.mark.parametrize(
    "name", ["data.time_col", "data.id_col", "data.weight_col", "data.target_cols", "data.stat_exog", "model.alias"]
)
def test_a_name_that_is_blank_is_refused(name, blank):
    value = ["y", blank] if name in ("data.target_cols", "data.stat_exog") else blank
    with pytest.raises(ConfigError, match=rf"^{name} is .*: expected the name of a column, not an empty one$"):
        RunConfig().replace({name: value})


def test_the_deviation_of_an_ensemble_has_a_column_of_its_own():
    with pytest.raises(ConfigError, match=r"data.id_col is 'mine-std', which is the name of the deviation of seve"):
        RunConfig().replace({"model.alias": "mine", "data.id_col": "mine-std"})


@pytest.mark.parametrize(
    "values",
    [
        {"model.alias": "mine", "data.id_col": "mine-lo-80"},
        {"model.alias": "a.b", "data.time_col": "a.b_ql0.1"},
        {"data.id_col": "seasonal_naive-hi-97.5"},
        {"model.alias": "naive_ql0.5"},
    ],
)
def test_the_bounds_of_forecasts_have_columns_of_their_own(values):
    with pytest.raises(
        ConfigError, match=r"^(data|model)\.\w+ is '.*', which is the name of a bound of a forecast: give"
    ):
        RunConfig().replace(values)
    free = {"model.alias": "lstm-lo", "data.id_col": "mine-lo-80", "data.time_col": "lstm_quality"}
    assert RunConfig().replace(free).model.alias == "lstm-lo"


def test_revin_brings_its_own_scale():
    config = RunConfig().replace({"model.instance_norm": "revin", "model.instance_rows": 24})
    assert {"model.instance_rows", "model.instance_scale"} < set(config.inert())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "run.json: line 1 is not JSON"),
        ("[]", "run.json: expected a JSON object, found list"),
        ('{"data": 3}', "run.json: data is 3, expected an object of options"),
        ('{"dat": {}}', "run.json: unknown option 'dat': did you mean 'data'?"),
        ('{"data": {"input_szie": 3}}', "run.json: unknown option 'data.input_szie': did you mean 'data.input_size'?"),
        ('{"data": {"h": 0}}', "run.json: data.h is 0: expected at least 1"),
        ('{"format_version": 3}', "run.json: format_version is 3, this lstmjax reads up to 2: update lstmjax"),
        ('{"format_version": "1"}', "run.json: format_version is '1': expected a whole number from 1 on"),
        ('{"format_version": 0}', "run.json: format_version is 0: expected"),
        ('{"format_version": true}', "run.json: format_version is True: expected"),
    ],
)
def test_bad_text_is_refused_with_its_source(text, message):
    with pytest.raises(ConfigError) as error:
        RunConfig.from_json(text, source="run.json")
    assert str(error.value).startswith(message)


def test_newer_version_is_refused_before_its_options_are_read():
    with pytest.raises(ConfigError, match="update lstmjax"):
        RunConfig.from_json('{"format_version": 9, "data": {"invented_later": 1}}')


@pytest.mark.parametrize("name", ["h", "data", "data.", "optimiser.learning_rate", "data.h.h", ""])
def test_replace_refuses_unknown_names(name):
    with pytest.raises(ConfigError, match="unknown option"):
        RunConfig().replace({name: 1})


def test_names_nothing_like_an_option_get_the_list():
    with pytest.raises(ConfigError, match=r"'qqq': the options are data\.dataset, .*, outputs\.plot_windows"):
        RunConfig().replace({"qqq": 1})


def test_every_option_is_described():
    described = set()
    for name in (name for name in vars(options) if name.endswith("Config")):
        (section,) = ast.parse(inspect.getsource(getattr(options, name))).body
        for option, text in itertools.pairwise(section.body):
            if isinstance(option, ast.AnnAssign) and isinstance(text, ast.Expr):
                described.add((name.removesuffix("Config").lower(), option.target.id))
    others = {"backtest": options.BacktestConfig, "distributed": options.DistributedConfig}  # no sections of a run
    apart = {(name, field.name) for name, section in others.items() for field in dataclasses.fields(section)}
    assert apart <= described
    assert {f"{section}.{name}" for section, name in described - apart} == set(options.option_names())
    assert options.option_names() == [f"{section}.{name}" for section in DEFAULTS for name in DEFAULTS[section]]


def test_choices_are_those_the_code_offers():
    from lstmjax.data import datasets
    from lstmjax.data.calendar import CALENDAR
    from lstmjax.data.scalers import SCALERS
    from lstmjax.data.transform import TRANSFORMS
    from lstmjax.evaluation.calibration import SCORES
    from lstmjax.models import NETWORKS
    from lstmjax.nn.heads import HEADS
    from lstmjax.nn.normalization import CENTERS, SCALES
    from lstmjax.training.losses import LOSSES
    from lstmjax.training.optimizer import OPTIMIZERS
    from lstmjax.training.schedules import SCHEDULES

    offered = {
        options.ModelName: NETWORKS,
        options.LossName: LOSSES,
        options.OptimizerName: OPTIMIZERS,
        options.ScheduleName: SCHEDULES,
        options.DatasetName: datasets.DATASETS,
        options.ScalerName: SCALERS,
        options.TransformName: TRANSFORMS,
        options.CalendarName: CALENDAR,
        options.InstanceScaleName: SCALES,
        options.HeadName: HEADS,
        options.CalibrationName: {"none", *SCORES},
    }
    assert set(typing.get_args(options.InstanceNormName)) == {"auto", *CENTERS, "revin"}
    for choices, functions in offered.items():
        assert set(typing.get_args(choices)) - {"auto"} == set(functions) - {"auto"}
    for name, head in HEADS.items():
        assert head((0.5,)).loss_name == options.LOSS_OF_HEAD.get(name, "mae")


def test_a_patience_of_no_checks_is_refused_and_read_as_what_it_did():
    with pytest.raises(ConfigError, match=r"early_stop_patience_steps is 0: expected at least 1, or -1"):
        RunConfig().replace({"train.early_stop_patience_steps": 0})
    stored = '{"format_version": 1, "train": {"early_stop_patience_steps": 0}}'
    assert RunConfig.from_json(stored).train.early_stop_patience_steps == 1
    with pytest.raises(ConfigError, match="early_stop_patience_steps is 0"):
        RunConfig.from_json('{"train": {"early_stop_patience_steps": 0}}')
