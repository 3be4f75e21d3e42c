"""The columns of intervals and quantiles: their names, order and probabilities, and what is refused."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from lstmjax.errors import ConfigError
from lstmjax.evaluation.intervals import Asked, asked_of, columns_of

NAN = np.nan


def test_columns_stand_from_the_widest_lower_end_to_the_widest_upper_end():
    for level in ((80, 95, 50), (95, 50, 80)):
        ends = ["lo-95", "lo-80", "lo-50", "hi-50", "hi-80", "hi-95"]
        assert list(Asked(level).columns("mine")) == [f"mine-{end}" for end in ends]
    assert list(Asked((99.5,), (0.05, 0.5)).columns("m")) == ["m-lo-99.5", "m-hi-99.5", "m_ql0.05", "m_ql0.5"]


def test_an_end_and_a_quantile_of_one_probability_share_it():
    tenths = tuple(round(0.1 * k, 1) for k in range(1, 10))
    assert Asked((20, 40, 60, 80), tenths).probabilities == tenths
    assert Asked((99.9, 99, 95)).probabilities == (0.0005, 0.005, 0.025, 0.975, 0.995, 0.9995)


def test_nothing_is_asked_for_unless_it_is_named():
    assert not Asked()
    assert not Asked.of(None, None)
    assert Asked().columns("lstm") == {}
    assert Asked().probabilities == ()
    assert Asked.of([80]) == Asked.of(np.array([80])) == Asked(level=(80.0,))


def test_values_are_those_of_the_probabilities():
    asked = Asked((80,), (0.25, 0.9))  # 0.1, 0.25, 0.9
    values = asked.values("m", np.arange(6.0).reshape(2, 3))
    assert {name: column.tolist() for name, column in values.items()} == {
        "m-lo-80": [0, 3],
        "m-hi-80": [2, 5],
        "m_ql0.25": [1, 4],
        "m_ql0.9": [2, 5],
    }


@pytest.mark.parametrize(
    ("level", "quantiles", "message"),
    [
        ((0,), (), "outputs.level is 0: expected a number of percent above 0 and below 100"),
        ((80, 100), (), "outputs.level is 100: expected"),
        ((-5,), (), "outputs.level is -5: expected"),
        ((NAN,), (), "outputs.level is nan: expected"),
        ((80, 95, 80), (), "outputs.level names 80 twice: expected each level once"),
        ((80, 80.00000000000001), (), "outputs.level names 80 twice"),
        (80, (), "outputs.level is 80: expected a list of numbers"),
        ("80", (), "outputs.level is '80': expected a list of numbers"),
        (("80",), (), "outputs.level has '80': expected numbers"),
        ((True,), (), "outputs.level has True: expected numbers"),
        ((), (0.5, 0.1), "outputs.quantiles has 0.1 after 0.5: expected each probability once, in ascending order"),
        ((), (0.5, 0.5), "outputs.quantiles has 0.5 after 0.5: expected each"),
        ((), (0.0,), "outputs.quantiles is 0: expected probabilities above 0 and below 1"),
        ((), (0.1, 1), "outputs.quantiles is 1: expected"),
        ((), (float("inf"),), "outputs.quantiles is inf: expected"),
        ((), (10, 50, 90), "outputs.quantiles is 10: expected probabilities above 0 and below 1, such as 0.1 0.5 0.9"),
        ((), 0.5, "outputs.quantiles is 0.5: expected a list of numbers"),
    ],
)
def test_what_is_no_level_or_quantile_is_refused_in_one_line(level, quantiles, message):
    with pytest.raises(ConfigError) as error:
        Asked.of(level, quantiles)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@hypothesis.given(
    level=st.lists(st.floats(0.01, 99.99).map(lambda x: round(x, 4)), max_size=4, unique=True),
    quantiles=st.lists(st.floats(1e-4, 1 - 1e-4).map(lambda x: round(x, 6)), max_size=4, unique=True).map(sorted),
    model=st.sampled_from(["lstm", "a.b*", "m-lo-80", "naive"]),
)
def test_the_names_say_what_was_asked_for(level, quantiles, model):
    asked = Asked.of(level, quantiles)
    columns = asked.columns(model)
    assert len(columns) == 2 * len(level) + len(quantiles)
    assert set(columns.values()) == set(asked.probabilities)
    table = ["unique_id", "ds", model, *columns, *Asked((66,), (0.3,)).columns("other"), f"{model}-std", 7]
    assert columns_of(table, model) == columns
    assert list(columns_of(table, model)) == list(columns)
    assert asked_of(table, model) == Asked.of(sorted(level), quantiles)


def test_other_columns_are_not_taken_for_quantiles():
    names = ["m-lo-80", "m-lo-x", "m-hi-x", "m_ql", "m_ql1.0", "m_ql.5", "m_ql0.10", "m-lo-180", "m-hi-180", "m_ql5"]
    assert not asked_of(names, "m")  # a lower end without an upper end is no interval
