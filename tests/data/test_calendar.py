"""Covariates from the calendar: their values, how far ahead they reach, and what asks for them in vain."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from lstmjax.config import DataConfig
from lstmjax.data import forecast_windows, gather, panel_from_table, scale
from lstmjax.data.calendar import CALENDAR, calendar_features
from lstmjax.data.future import with_future
from lstmjax.data.prepare import prepare, window_spec
from lstmjax.data.scaling import Scaling
from lstmjax.errors import DataError

LENGTHS = {"minute": 60, "hour": 24, "weekday": 7, "day": 31, "dayofyear": 366, "week": 53, "month": 12, "quarter": 4}


@pytest.mark.parametrize("name", sorted(CALENDAR))
def test_each_is_where_pandas_says_on_its_circle(name):
    times = pd.date_range("2023-12-25 00:15", periods=3000, freq="7h", tz="Europe/Berlin")
    attribute = {"weekday": "day_of_week", "dayofyear": "day_of_year"}.get(name, name)
    value = times.isocalendar().week if name == "week" else getattr(times, attribute)
    value = np.asarray(value, float) - (0 if name in ("minute", "hour", "weekday") else 1)
    sine, cosine = calendar_features(times, [name]).T
    angle = 2 * np.pi * value / LENGTHS[name]
    np.testing.assert_allclose(sine, np.sin(angle), atol=1e-12)
    np.testing.assert_allclose(cosine, np.cos(angle), atol=1e-12)


def gathered(panel, scaling, config):
    arrays = scale(panel, scaling)
    window, _ = gather(arrays, forecast_windows(panel), input_size=config.input_size, h=config.h)
    return window


def test_the_hours_of_a_forecast_are_known_without_a_table_of_them(hourly):
    config = DataConfig(h=4, input_size=6, val_size=4, test_size=0, calendar=("hour", "weekday"), futr_exog=("x",))
    table = hourly(30, x=np.arange(30.0))
    prepared = prepare(panel_from_table(table, config), config, with_test=False)
    assert prepared.spec.futr_exog == 1 + 2 * 2
    window = gathered(prepared.panel, prepared.scaling, config)
    times = pd.date_range("2024-01-02 00:00", periods=10, freq="h")  # rows 24 to 33, of which the last four are ahead
    np.testing.assert_allclose(window.futr_exog[0, :, 1:], calendar_features(times, config.calendar), atol=1e-6)
    assert np.asarray(window.futr_mask)[0, :, 1:].all()
    assert np.asarray(window.futr_mask)[0, :, 0].tolist() == [True] * 6 + [False] * 4  # what only a table can tell
    assert int(prepared.panel.observed[0]) == 30


def test_they_go_on_where_the_tail_or_a_table_of_the_future_does(hourly):
    config = DataConfig(h=4, input_size=6, val_size=4, test_size=0, calendar=("hour",), futr_exog=("x",))
    prepared = prepare(panel_from_table(hourly(30, x=np.ones(30)), config), config, with_test=False)
    tail = prepared.panel.tail(6)
    expected = gathered(prepared.panel, prepared.scaling, config).futr_exog
    np.testing.assert_array_equal(gathered(tail, prepared.scaling, config).futr_exog, expected)
    times = pd.date_range("2024-01-02 06:00", periods=6, freq="h")
    longer = with_future(tail, pd.DataFrame({"ds": times, "x": np.arange(6.0)}), config)
    assert window_spec(longer, config, prepared.scaling).futr_exog == 3
    window = gathered(longer, prepared.scaling, config)
    np.testing.assert_array_equal(window.futr_exog[..., 1:], expected[..., 1:])
    assert np.asarray(window.futr_mask).all()


def test_a_calendar_needs_timestamps():
    table = pd.DataFrame({"ds": np.arange(20), "y": np.arange(20.0)})
    with pytest.raises(DataError, match=r"column 'ds' holds whole numbers, and data.calendar asks for hour, month"):
        panel_from_table(table, DataConfig(calendar=("hour", "month")))


def test_scaling_and_panel_survive_being_stored(hourly):
    config = DataConfig(h=4, val_size=4, test_size=0, calendar=("hour",), transform="log", weight_col="w")
    table = hourly(30, w=np.linspace(0, 1, 30))
    table["y"] += 1.0
    prepared = prepare(panel_from_table(table, config), config, with_test=False)
    panel = type(prepared.panel).from_arrays(*prepared.panel.to_arrays())
    assert panel.schema == prepared.panel.schema
    scaling = Scaling.from_arrays(*prepared.scaling.to_arrays())
    assert dataclasses.asdict(scaling).keys() == dataclasses.asdict(prepared.scaling).keys()
    for left, right in zip(scale(panel, scaling), prepared.arrays, strict=True):
        np.testing.assert_array_equal(left, right)
