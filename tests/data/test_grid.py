"""The grid of origins: one for training, validation, calibration and test, by rows or by the time of day."""

import dataclasses
import warnings

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest

from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.grid import Grid
from lstmjax.data.origins import forecast_windows, test_windows, train_windows
from lstmjax.data.prepare import prepare
from lstmjax.data.table import DataWarning
from lstmjax.data.windows import Windows
from lstmjax.errors import ConfigError, DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*have no whole training window", "ignore:.*empty cell.*masked")

PARTS = ("train", "validation", "calibration", "test")


def table_of(start, lengths, freq="h", tz=None):
    tables = []
    for number, (rows, first) in enumerate(zip(lengths, start, strict=True)):
        times = pd.date_range(first, periods=rows, freq=freq, tz=tz)
        tables.append(pd.DataFrame({"unique_id": f"s{number}", "ds": times, "y": np.arange(float(rows))}))
    return pd.concat(tables)


def pairs(windows):
    return list(zip(np.asarray(windows.series).tolist(), np.asarray(windows.origin).tolist(), strict=True))


def times_of(panel, windows):
    return panel.timestamps(windows.series.astype(int), windows.origin.astype(int))


def clock(panel, windows):
    return {f"{time:%H:%M}" for time in times_of(panel, windows)}


@hypothesis.given(
    lengths=st.lists(st.integers(60, 90), min_size=1, max_size=3),
    every=st.integers(1, 9),
    h=st.integers(1, 5),
    input_size=st.integers(1, 12),
    future=st.integers(0, 2),
)
def test_rows_are_counted_back_from_the_last_observation(lengths, every, h, input_size, future):
    tables = [
        pd.DataFrame({"unique_id": f"s{n}", "ds": range(rows + future), "y": [*np.arange(rows), *[np.nan] * future]})
        for n, rows in enumerate(lengths)
    ]
    sizes = {"val_size": 14, "calibration_size": 13, "test_size": 15, "futr_exog": ("ds2",)}
    config = DataConfig(h=h, input_size=input_size, origins=str(every), **sizes)
    panel = panel_from_table(pd.concat(tables).assign(ds2=1.0), config)
    gridded = prepare(panel, config, with_test=True)
    all_of_them = prepare(panel, dataclasses.replace(config, origins="every"), with_test=True)
    for part in PARTS:  # the windows of everywhere, but those on the grid
        expected = [
            (n, origin)
            for n, origin in pairs(getattr(all_of_them, part))
            if (panel.observed[n] - origin) % every == 0 and origin >= input_size
        ]
        assert [pair for pair in pairs(getattr(gridded, part)) if pair[1] >= input_size] == expected
    assert pairs(Grid.of(panel, config).keep(forecast_windows(panel))) == pairs(forecast_windows(panel))


@hypothesis.given(
    offset=st.integers(0, 47),
    half_hours=st.booleans(),
    hour=st.integers(0, 23),
    zone=st.sampled_from([None, "Europe/Berlin", "Australia/Lord_Howe", "UTC+05:30"]),
    rows=st.integers(400, 500),
)
def test_a_time_of_day_is_that_of_the_first_forecast_row(offset, half_hours, hour, zone, rows):
    start = pd.Timestamp("2024-03-26") + pd.Timedelta(minutes=30 if half_hours else 60) * offset
    if zone == "Australia/Lord_Howe":  # whose clocks move by half an hour, on 7 April 2024
        half_hours = True
    table = table_of([start], [rows], "30min" if half_hours else "h")
    if zone is not None:
        table["ds"] = table["ds"].dt.tz_localize("UTC").dt.tz_convert(zone if "UTC" not in zone else "Asia/Kolkata")
    minute = "30" if zone == "UTC+05:30" and not half_hours else "00"
    config = DataConfig(h=24, input_size=48, origins=f"{hour}:{minute}")
    panel = panel_from_table(table, config)
    prepared = prepare(panel, config, with_test=True)
    begins = [times_of(panel, getattr(prepared, part)) for part in PARTS]
    for times in begins:
        for time in times:
            meant = time.normalize().tz_localize(None) + pd.Timedelta(f"{hour}h") + pd.Timedelta(f"{minute}min")
            assert time.tz_localize(None) - meant in (pd.Timedelta(0), pd.Timedelta("30min"), pd.Timedelta("1h"))
            if time.tz_localize(None) != meant:  # only where clocks skip the time
                assert meant.tz_localize(time.tz, nonexistent="NaT", ambiguous=True) is pd.NaT
        dates = [time.date() for time in times]
        assert len(set(dates)) == len(dates)  # once a day
    dates = sorted(time.date() for times in begins for time in times)
    assert len(dates) >= 4


def test_of_a_time_shown_twice_the_first_counts_and_of_one_skipped_the_next():
    for day, hour, begins in (
        ("2024-10-26", "02:00", ["26 02:00+0200", "27 02:00+0200", "28 02:00+0100"]),  # shown twice on the 27th
        ("2024-03-30", "02:00", ["30 02:00+0100", "31 03:00+0200", "01 02:00+0200"]),  # skipped on the 31st
        ("2024-03-30", "00:00", ["30 00:00+0100", "31 00:00+0100", "01 00:00+0200", "02 00:00+0200"]),
    ):
        times = pd.date_range(day, periods=72, freq="h", tz="Europe/Berlin")
        panel = panel_from_table(pd.DataFrame({"ds": times, "y": np.arange(72.0)}), DataConfig())
        everywhere = Windows(np.zeros(72, np.int32), np.arange(72, dtype=np.int32))
        kept = Grid.of(panel, DataConfig(origins=hour)).keep(everywhere)
        assert [f"{time:%d %H:%M%z}" for time in times_of(panel, kept)] == begins


def test_midnight_of_a_day_that_begins_at_one_is_that_of_daily_rows_too():
    days = pd.date_range("2024-04-20", periods=40)
    times = days.tz_localize("Africa/Cairo", nonexistent="shift_forward")  # 26 April 2024 begins at 01:00
    config = DataConfig(h=2, input_size=4, val_size=4, test_size=4, origins="00:00")
    panel = panel_from_table(pd.DataFrame({"ds": times, "y": np.arange(40.0)}), config)
    prepared = prepare(panel, config, with_test=True)
    assert len(prepared.train.series) == 40 - 8 - 2 - 4 + 1  # all of them


def test_the_grids_of_all_parts_are_one():
    table = table_of(["2024-01-01 05:00", "2024-01-02 11:00"], [600, 500])
    config = DataConfig(h=24, input_size=48, val_size=72, calibration_size=72, test_size=96, origins="06:00")
    panel = panel_from_table(table, config)
    prepared = prepare(panel, config, with_test=True)
    for part in PARTS:
        windows = getattr(prepared, part)
        assert set(windows.series.tolist()) == {0, 1}
        assert clock(panel, windows) == {"06:00"}
        for series in (0, 1):
            assert set(np.diff(windows.origin[windows.series == series])) <= {24}


def test_a_short_series_keeps_its_last_window_on_the_grid():
    panel = panel_from_table(table_of(["2024-01-01"] * 3, [40, 30, 100]), DataConfig())
    config = DataConfig(h=4, input_size=48, val_size=0, test_size=0, origins="00:00")
    split = prepare(panel, config, with_test=False).split
    windows = train_windows(panel, split, Grid.of(panel, config), input_size=48, h=4)
    assert pairs(windows) == [(0, 24), (1, 24), (2, 48), (2, 72), (2, 96)]
    windows = train_windows(panel, split, Grid(panel, every=7), input_size=48, h=4)
    assert pairs(windows)[:3] == [(0, 33), (1, 23), (2, 51)]


def test_sizes_that_are_not_given_always_hold_a_window():
    panel = panel_from_table(table_of(["2024-01-01 07:00"], [230]), DataConfig())
    for origins in ("24", "00:00", "13:00"):
        prepared = prepare(panel, DataConfig(h=12, input_size=24, origins=origins), with_test=True)
        assert (prepared.config.val_size, prepared.config.test_size) == (35, 46)
        assert min(len(getattr(prepared, part).series) for part in ("train", "validation", "test")) >= 1
    prepared = prepare(panel, DataConfig(h=12, input_size=24), with_test=True)
    assert (prepared.config.val_size, prepared.config.test_size) == (23, 46)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"origins": "00:30"},
            ConfigError,
            r"origins is '00:30', but no row is at that time: .* every h, the first at",
        ),
        (
            {"origins": "24", "val_size": 12},
            ConfigError,
            r"origins is '24', and no window begins there in the 12 validation rows: 35 rows always hold one; give",
        ),
        ({"origins": "24", "calibration_size": 13}, ConfigError, r"no window begins there in the 13 calibration rows"),
        ({"origins": "23:00", "test_size": 12}, ConfigError, r"no window begins there in the 12 test rows: 35 rows"),
        (
            {"origins": "250"},
            (DataError, ConfigError),
            r"no series has a whole training window: .* beginning at data\.origins 250|leave nothing to train on",
        ),
    ],
)
def test_a_grid_without_windows_is_refused_in_one_line(options, error, message):
    panel = panel_from_table(table_of(["2024-01-01"], [240]), DataConfig())
    with pytest.raises(error, match=message) as raised:
        prepare(panel, DataConfig(h=12, input_size=24, **{"val_size": 48, "test_size": 48} | options), with_test=True)
    assert "\n" not in str(raised.value)


def test_times_of_day_are_refused_for_whole_numbers():
    panel = panel_from_table(pd.DataFrame({"ds": range(100), "y": np.arange(100.0)}), DataConfig())
    with pytest.raises(
        ConfigError, match=r"origins is '09:00', but column 'ds' holds whole numbers, .*: give a number"
    ):
        prepare(panel, DataConfig(h=4, input_size=8, origins="9:00"), with_test=True)
    assert set(np.diff(prepare(panel, DataConfig(h=4, input_size=8, origins=5), with_test=True).train.origin)) == {5}


def test_forecasts_of_the_future_off_the_grid_are_warned_of():
    config = DataConfig(h=4, input_size=8, origins="00:00")
    panel = panel_from_table(table_of(["2024-01-01 00:00", "2024-01-01 12:00"], [48, 51]), config)
    with pytest.warns(
        DataWarning,
        match=r"^1 forecast begins at another time of day than 00:00 \(data\.origins\), .*: "
        r"'s1' at 2024-01-03 15:00:00; end the table at the row before 00:00$",
    ):
        Grid.of(panel, config).warn_of_others(forecast_windows(panel))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for other in (DataConfig(origins="24"), DataConfig()):
            Grid.of(panel, other).warn_of_others(forecast_windows(panel))


def test_windows_everywhere_are_not_touched():
    panel = panel_from_table(table_of(["2024-01-01"], [48]), DataConfig())
    windows = forecast_windows(panel)
    assert Grid.of(panel, DataConfig()).keep(windows) is windows
    assert test_windows  # listed before the grid is laid over them
