"""Search spaces: what they hold, and each mistake as one line that names the option and says what to do."""

import json

import pytest

from lstmjax.config import RunConfig
from lstmjax.errors import ConfigError
from lstmjax.sweep import Distribution, Space

RATE = {"type": "loguniform", "low": 1e-4, "high": 1e-2}
SIZE = {"type": "choice", "values": [32, 64]}


def space(**options):
    return Space.from_dict({name.replace("__", "."): value for name, value in options.items()})


# --- reading


def test_a_file_and_a_dict_give_one_space(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(
        '"optimizer.learning_rate" = { type = "loguniform", low = 1e-4, high = 1e-2 }\n'
        '"optimizer.clip_norm" = { type = "choice", values = ["none", 0.5] }\n'
        "[model]\nhidden_size = { type = 'choice', values = [32, 64] }\nnum_layers = 2\n"
        '[optimizer]\nwarmup_steps = { type = "int", low = 0, high = 50, when = { "optimizer.clip_norm" = 0.5 } }\n'
    )
    read = Space.from_toml(path)
    expected = Space.from_dict(
        {
            "optimizer.learning_rate": RATE,
            "optimizer.clip_norm": {"type": "choice", "values": [None, 0.5]},
            "model.hidden_size": SIZE,
            "model.num_layers": 2,
            "optimizer.warmup_steps": {"type": "int", "low": 0, "high": 50, "when": {"optimizer.clip_norm": [0.5]}},
        }
    )
    assert read == expected
    read.check(RunConfig())
    assert Space.from_json(read.to_json()) == read
    assert json.loads(read.to_json())["optimizer.clip_norm"] == {"type": "choice", "values": [None, 0.5]}


def test_equal_spaces_have_equal_text_whatever_their_order():
    one, other = {"model.hidden_size": SIZE, "optimizer.learning_rate": RATE}, {"optimizer.learning_rate": RATE}
    assert Space.from_dict(one).to_json() == Space.from_dict(other | one).to_json()


def test_options_that_are_compiled_in_are_distinguished_from_traced_ones():
    found = space(
        optimizer__learning_rate=RATE,
        model__hidden_size=SIZE,
        model__num_layers=1,
        model__dropout={"type": "uniform", "low": 0.0, "high": 0.5},
        data__input_size={"type": "choice", "values": [48, 96]},
        optimizer__clip_norm={"type": "choice", "values": ["none", 1.0]},
        optimizer__clip_value={"type": "choice", "values": [0.5, 1.0]},
    )
    assert found.names == (
        "data.input_size", "model.dropout", "model.hidden_size",
        "optimizer.clip_norm", "optimizer.clip_value", "optimizer.learning_rate",
    )  # fmt: skip
    assert found.shape_names == ("data.input_size", "model.hidden_size", "optimizer.clip_norm")
    assert found.traced_names == ("model.dropout", "optimizer.clip_value", "optimizer.learning_rate")
    assert found.longest_lookback(RunConfig()) == 96
    assert found.longest_lookback(RunConfig().replace({"data.input_size": 200})) == 200


# --- points


def test_a_grid_has_every_point_once_those_of_a_program_side_by_side():
    found = space(
        train__huber_delta={"type": "choice", "values": [0.5, 1.0]},
        model__hidden_size=SIZE,
        model__num_layers={"type": "int", "low": 1, "high": 3},
    )
    grid = found.grid()
    assert len(grid) == found.grid_size() == 12
    assert len({json.dumps(point) for point in grid}) == 12
    shapes = [(point["model.hidden_size"], point["model.num_layers"]) for point in grid]
    assert shapes == [shape for shape in dict.fromkeys(shapes) for _ in range(2)]


def test_conditional_options_belong_to_some_points_only():
    found = space(
        optimizer__decay_rate={
            "type": "choice", "values": [0.5, 0.9], "when": {"optimizer.schedule": ["exponential", "step"]},
        },
        optimizer__schedule={"type": "choice", "values": ["constant", "exponential", "step"]},
        optimizer__decay_steps={"value": 10, "when": {"optimizer.schedule": "exponential"}},
    )  # fmt: skip
    assert found.grid() == [
        {"optimizer.schedule": "constant"},
        {"optimizer.schedule": "exponential", "optimizer.decay_rate": 0.5, "optimizer.decay_steps": 10},
        {"optimizer.schedule": "exponential", "optimizer.decay_rate": 0.9, "optimizer.decay_steps": 10},
        {"optimizer.schedule": "step", "optimizer.decay_rate": 0.5},
        {"optimizer.schedule": "step", "optimizer.decay_rate": 0.9},
    ]


@pytest.mark.parametrize(
    ("distribution", "values"),
    [
        (Distribution("uniform", 1.0, 3.0), [1.0, 1.5, 2.0, 2.5]),
        (Distribution("loguniform", 1e-4, 1.0), [1e-4, 1e-3, 1e-2, 1e-1]),
        (Distribution("int", 1, 2), [1, 1, 2, 2]),
        (Distribution("logint", 1, 15), [1, 2, 4, 8]),
        (Distribution("choice", values=("a", "b")), ["a", "a", "b", "b"]),
        (Distribution("fixed", values=(7,)), [7, 7, 7, 7]),
    ],
)
def test_quantiles_of_distributions(distribution, values):
    assert [distribution.at(quantile) for quantile in (0.0, 0.25, 0.5, 0.75)] == pytest.approx(values)


# --- mistakes


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"optimizer.learning_rat": RATE},
         "unknown option 'optimizer.learning_rat': did you mean 'optimizer.learning_rate'?"),
        ({"optimizer": {"lerning_rate": RATE}}, "unknown option 'optimizer.lerning_rate': did you mean"),
        ({"model.hidden_size": {"type": "uniform", "low": 8, "high": 64}},
         "model.hidden_size: uniform does not fit an option that is a whole number: use int or logint or choice"),
        ({"optimizer.learning_rate": {"type": "int", "low": 1, "high": 2}},
         "optimizer.learning_rate: int does not fit an option that is a number: use uniform or loguniform or choice"),
        ({"train.loss": {"type": "uniform", "low": 0, "high": 1}},
         "train.loss: uniform does not fit an option that is one of auto, mse, mae, huber, pinball, nll: use choice"),
        ({"optimizer.learning_rate": {"type": "uniform", "low": 0.1, "high": 0.01}},
         "optimizer.learning_rate: low (0.1) is above high (0.01): swap them"),
        ({"optimizer.learning_rate": {"type": "loguniform", "low": 0, "high": 0.01}},
         "optimizer.learning_rate: loguniform cannot start at 0 on a logarithmic scale: give a low above 0"),
        ({"optimizer.learning_rate": {"type": "uniform", "low": 0.1, "high": 0.1}},
         "optimizer.learning_rate: low and high are both 0.1: give a fixed value, or widen the range"),
        ({"optimizer.learning_rate": {"type": "uniform", "low": "0.1", "high": 1}},
         "optimizer.learning_rate: low is '0.1', expected a finite number"),
        ({"model.hidden_size": {"type": "int", "low": 8.5, "high": 64}},
         "model.hidden_size: low is 8.5, and int needs whole numbers: remove the decimal point"),
        ({"optimizer.learning_rate": {"type": "normal", "mean": 1}},
         "optimizer.learning_rate: type is 'normal', expected one of choice, uniform, loguniform, int, logint, fixed"),
        ({"optimizer.learning_rate": {"type": "uniform", "low": 1}}, "optimizer.learning_rate: uniform needs high"),
        ({"model.hidden_size": {"type": "choice", "value": [1]}},
         "model.hidden_size: unknown option 'value': did you mean 'values'?"),
        ({"model.hidden_size": {"type": "choice", "values": []}},
         "model.hidden_size: values is [], expected a list of at least one value"),
        ({"model.hidden_size": {"type": "choice", "values": [8, 8]}}, "model.hidden_size: values has 8 more than once"),
        ({"data.h": {"type": "choice", "values": [24, 48]}},
         "data.h cannot be part of a space, as every trial is ranked on the same targets: give it among the run's"),
        ({"train.max_steps": {"type": "int", "low": 1, "high": 9}}, "train.max_steps cannot be part of a space, as"),
        ({"model.dropout": {"value": 0.1, "when": {"model.name": "direct"}}},
         "model.dropout: when names 'model.name', which is not in the space: add or correct it"),
        ({"model.dropout": {"value": 0.1, "when": {"model.name": "tft"}}, "model.name": "direct"},
         "model.dropout: when names 'tft' for model.name, which is not among its values ['direct']"),
        ({"model.dropout": {"value": 0.1, "when": {"optimizer.learning_rate": 0.1}}, "optimizer.learning_rate": RATE},
         "model.dropout: when names 'optimizer.learning_rate', which is loguniform: only a choice can be a condition"),
        ({"model.num_layers": {"type": "choice", "values": [1, 2], "when": {"model.hidden_size": 8}},
          "model.hidden_size": {"type": "choice", "values": [8, 9], "when": {"model.num_layers": 1}}},
         "model.hidden_size, model.num_layers: each is conditional on another: remove one of the conditions"),
        ({"model.num_layers": 1, "model": {"num_layers": 2}}, "model.num_layers is given twice: remove one"),
    ],
)  # fmt: skip
def test_invalid_spaces(mapping, message):
    with pytest.raises(ConfigError) as caught:
        Space.from_dict(mapping, "space.toml")
    assert str(caught.value).startswith(f"space.toml: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"optimizer.learning_rate": {"type": "uniform", "low": -1.0, "high": 1.0}},
         "optimizer.learning_rate is -1.0: expected more than 0.0"),
        ({"model.dropout": {"type": "uniform", "low": 0.0, "high": 2.0}}, "model.dropout is 2.0: expected at most 1.0"),
        ({"model.hidden_size": {"type": "choice", "values": [8, "big"]}},
         "model.hidden_size is 'big': expected a whole number"),
        (
            {"train.loss": {"type": "choice", "values": ["mse", "mea"]}},
            "train.loss is 'mea': expected one of auto, mse, mae",
        ),
        ({"model.hidden_size": 8, "model.num_layers": {"type": "choice", "values": [2]}},
         "the space has one point, so there is nothing to search: give an option a distribution, or train it with"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_from_a_base(mapping, message):
    with pytest.raises(ConfigError) as caught:
        Space.from_dict(mapping).check(RunConfig(), "space.toml")
    assert str(caught.value).startswith(f"space.toml: {message}")


def test_a_grid_of_what_cannot_be_counted():
    with pytest.raises(ConfigError, match="optimizer.learning_rate: a grid has no loguniform: name the values"):
        space(optimizer__learning_rate=RATE, model__hidden_size=SIZE).grid()


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.toml: cannot read the space \(No such file"):
        Space.from_toml(tmp_path / "nowhere.toml")
    (tmp_path / "bad.toml").write_text("model.hidden_size = [8,")
    with pytest.raises(ConfigError, match="bad.toml: not TOML: "):
        Space.from_toml(tmp_path / "bad.toml")


def test_a_list_or_a_range_without_its_type_is_answered_by_the_right_form():
    with pytest.raises(ConfigError, match=r'write \{ type = "uniform", low = 0.0, high = 0.5 \} for a range'):
        Space.from_dict({"optimizer.learning_rate": {"low": 1e-3, "high": 1e-2}})
    several = Space.from_dict(
        {"optimizer.learning_rate": [1e-3, 1e-2], "model.dropout": {"type": "uniform", "low": 0, "high": 0.5}}
    )
    with pytest.raises(ConfigError, match=r'expected a number: for one of several values write \{ type = "choice"'):
        several.check(RunConfig())
