"""Frequencies: inference that gaps do not disturb, and timestamps against pandas' own date ranges."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.frequency import parse_frequency, season_length
from lstmjax.data.table import DataWarning
from lstmjax.errors import ConfigError, DataError

ALIASES = (
    "s 10s min 15min 30min 90min h 2h 6h D 2D W-SUN W-MON 2W-WED B MS ME 2MS QS-JAN QS-FEB QS-MAR QE-DEC QE-JAN QE-FEB "
    "YS-JAN YS-APR YE-DEC YE-JUN BMS BME 2QS-JAN"
).split()


def _panel(times: pd.Index, **options: object):
    table = pd.DataFrame({"ds": times, "y": np.arange(float(len(times)))})
    return panel_from_table(table, DataConfig(**options))


@pytest.mark.parametrize("alias", ALIASES)
def test_the_frequency_of_a_regular_series_is_inferred_and_continued(alias):
    start = "2024-01-31 00:00" if alias not in ("h", "min") else "2024-01-31 07:13"
    times = pd.date_range(start, periods=60, freq=alias)
    panel = _panel(times[:40])
    assert panel.schema.freq == alias
    np.testing.assert_array_equal(panel.timestamps(np.zeros(60, int), np.arange(60)), times)
    assert len(panel.y) == 40


@pytest.mark.parametrize("alias", ["30min", "h", "D", "W-SUN", "B", "MS", "ME", "QE-DEC", "YS-JAN"])
def test_a_gap_does_not_change_the_frequency(alias):
    times = pd.date_range("2023-01-01", periods=30, freq=alias)
    with pytest.warns(DataWarning, match="4 missing time steps in 1 of 1 series"):
        panel = _panel(times.delete([3, 11, 12, 20]))
    assert panel.schema.freq == alias
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(panel.y[:, 0])), [3, 11, 12, 20])


@given(st.sampled_from(ALIASES), st.integers(1, 6), st.data())
def test_row_numbers_invert_timestamps_for_series_that_begin_anywhere(alias, series, data):
    grid = pd.date_range("2019-06-01", periods=80, freq=alias).as_unit("us")
    step = pd.tseries.frequencies.to_offset(alias).n
    begin = np.array(data.draw(st.lists(st.integers(0, 50), min_size=series, max_size=series)))
    rows = np.array(data.draw(st.lists(st.integers(0, 29), min_size=series, max_size=series)))
    frequency = parse_frequency(alias)
    times = frequency.at(grid.asi8[begin], rows)
    np.testing.assert_array_equal(times, grid.asi8[begin + rows], err_msg=f"step {step}")
    found, fits = frequency.number(times, grid.asi8[begin])
    np.testing.assert_array_equal(found, rows)
    assert fits.all()


def test_integer_times_have_the_most_common_step():
    with pytest.warns(DataWarning, match=r"1 missing time step in 1 of 1 series, the first in series 'series' at 15\b"):
        panel = _panel(pd.Index([0, 5, 10, 20, 25]))
    assert panel.schema.freq == "5"
    np.testing.assert_array_equal(panel.timestamps(np.zeros(2, int), np.array([0, 6])), [0, 30])


def test_hours_are_counted_through_daylight_saving_and_days_stay_at_midnight():
    hours = pd.date_range("2024-03-30 12:00", periods=48, freq="h", tz="Europe/Berlin")
    panel = _panel(hours[:40])
    assert len(panel.y) == 40  # no gap where the clock skips from 2 to 3
    assert panel.timestamps(np.zeros(48, int), np.arange(48)).equals(hours.as_unit("us"))
    days = pd.date_range("2024-03-25", periods=14, freq="D", tz="Europe/Berlin")
    panel = _panel(days[:10])
    assert panel.schema.freq == "D"
    assert panel.timestamps(np.zeros(14, int), np.arange(14)).equals(days.as_unit("us"))


def test_a_time_between_two_steps_is_named():
    times = pd.date_range("2024-01-01", periods=10, freq="h").to_numpy()
    times = times.copy()
    times[4] += np.timedelta64(7, "m")
    message = r"the table: row 4, column 'ds' is 2024-01-01 04:07:00: not a whole number of steps of 'h'"
    with pytest.raises(DataError, match=message):
        _panel(pd.DatetimeIndex(times))


def test_irregular_times_do_not_fit_any_frequency():
    texts = ["2024-01-01", "2024-01-03", "2024-01-04 05:00", "2024-02-11", "2024-02-12 03:07"]
    times = pd.to_datetime(texts, format="ISO8601")
    with pytest.raises(DataError, match=r"row \d, column 'ds' is .*give data.freq, or resample"):
        _panel(times)


def test_one_row_says_nothing_of_the_frequency_unless_it_is_given():
    times = pd.DatetimeIndex(["2024-01-01"])
    with pytest.raises(DataError, match=r"no series has two rows.*give data\.freq"):
        _panel(times)
    assert _panel(times, freq="h").schema.freq == "h"


@pytest.mark.parametrize(
    "alias",
    ["quickly", "-1h", "bh", "0", "1ns", "²", "9" * 30, "9" * 30 + "h", "9" * 16 + "h", "9" * 9 + "D", "9" * 16 + "MS"],
)
def test_an_unknown_frequency_is_refused(alias):
    with pytest.raises(ConfigError, match=r"data\.freq is '"):
        parse_frequency(alias)


def test_timestamps_do_not_fit_a_whole_number_as_frequency():
    with pytest.raises(
        DataError, match=r"column 'ds' holds timestamps in no time zone, which do not fit the frequency '1'"
    ):
        _panel(pd.date_range("2024-01-01", periods=5, freq="h"), freq="1")
    with pytest.raises(DataError, match=r"column 'ds' holds whole numbers, which do not fit the frequency 'h'"):
        _panel(pd.Index(range(5)), freq="h")


def test_hourly_rows_do_not_pass_for_half_hourly_ones_with_gaps():
    with pytest.raises(DataError, match="the table: rows have the frequency 'h', not '30min'"):
        _panel(pd.date_range("2024-01-01", periods=5, freq="h"), freq="30min")


def test_a_wrong_year_does_not_ask_for_gigabytes():
    times = pd.date_range("2024-01-01", periods=100, freq="min").insert(0, pd.Timestamp("1924-01-01"))
    with pytest.raises(DataError, match=r"in steps of 'min' it would have .* rows, but it has 101: is a time wrong"):
        _panel(times)


@pytest.mark.parametrize(
    ("alias", "rows"),
    [("15min", 96), ("2h", 12), ("5h", 1), ("s", 3600), ("2D", 1), ("W-MON", 52), ("2W", 26), ("ME", 12), ("2MS", 6)],
)
def test_seasons_are_whole_numbers_of_steps(alias, rows):
    assert season_length(alias) == rows
