"""Splits: chronological, by sizes or timestamps, and what they say when there is not enough."""

import numpy as np
import pandas as pd
import pytest

from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.split import Split, split_panel
from lstmjax.errors import ConfigError, DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*empty cell.*masked", "ignore:.*the forecast begins there")


def _ends(split: Split) -> list[list[int]]:
    return np.stack(split, axis=1).tolist()


def test_sizes_are_counted_from_the_end_of_each_series(series_of):
    panel = series_of(np.arange(50), np.arange(30))
    split, val_size, test_size = split_panel(panel, DataConfig(h=4, val_size=5, test_size=8), with_test=True)
    assert _ends(split) == [[37, 42, 42, 50], [17, 22, 22, 30]]
    assert (val_size, test_size) == (5, 8)


def test_sizes_default_to_a_tenth_and_a_fifth_but_hold_a_window(series_of):
    panel = series_of(np.arange(200), np.arange(200), np.arange(120))
    assert split_panel(panel, DataConfig(h=3), with_test=True)[1:] == (20, 40)
    assert split_panel(panel, DataConfig(h=30), with_test=True)[1:] == (30, 40)
    assert split_panel(panel, DataConfig(h=3), with_test=False)[1:] == (20, 0)
    assert split_panel(panel, DataConfig(h=3, test_size=7), with_test=False)[1:] == (20, 7)


def test_rows_beyond_the_last_observation_belong_to_no_part(series_of):
    split, _, _ = split_panel(series_of([*range(20), np.nan, np.nan]), DataConfig(h=2, test_size=4), with_test=True)
    assert _ends(split) == [[14, 16, 16, 20]]


def test_timestamps_are_the_last_of_their_part(series_of):
    config = DataConfig(h=2, train_end="2024-01-01 09:00", val_end="2024-01-01 14:30")
    split, val_size, test_size = split_panel(series_of(np.arange(24), np.arange(18)), config, with_test=True)
    assert _ends(split) == [[10, 15, 15, 24], [10, 15, 15, 18]]
    assert (val_size, test_size) == (5, 9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_end": "soon", "val_end": "2024-01-02"}, r"data\.train_end is 'soon': expected a timestamp"),
        ({"train_end": "", "val_end": "2024-01-02"}, r"data\.train_end is '': expected a timestamp"),
        (
            {"train_end": "01/02/2024", "val_end": "2024-01-02"},
            r"is '01/02/2024' \(the day or the month could come first",
        ),
        ({"train_end": "Jan-24", "val_end": "2024-01-02"}, r"train_end is 'Jan-24' \(the year has two digits"),
        ({"train_end": "2024-01-01T09:00Z", "val_end": "2024-01-02"}, r"data\.train_end .* leave its time zone out"),
        (
            {"train_end": "2024-01-01 15:00", "val_end": "2024-01-01 10:00"},
            r"data\.train_end .* is after data\.val_end",
        ),
        ({"train_end": "2024-01-01 15:00", "val_end": "2024-01-01 16:00"}, "leave at most 1 rows for validation"),
        ({"val_size": 3}, r"data\.val_size is 3: expected 0, or at least data\.h \(4\), a whole window"),
        ({"test_size": 2}, r"data\.test_size is 2: expected 0, or at least data\.h \(4\), a whole window"),
        (
            {"calibration_size": 3},
            r"data\.calibration_size is 3: expected 0, or at least data\.h \(4\), a whole window",
        ),
        (
            {"train_end": "2024-01-01 15:00", "val_end": "2024-01-01 20:00", "calibration_end": "2024-01-01 19:00"},
            r"data\.val_end \(2024-01-01 20:00\) is after data\.calibration_end \(2024-01-01 19:00\)$",
        ),
        (
            {"train_end": "2024-01-01 15:00", "val_end": "2024-01-01 20:00", "calibration_end": "2024-01-01 22:00"},
            r"^data\.train_end, data\.val_end and data\.calibration_end leave at most 2 rows for calibration: expected",
        ),
        (
            {"train_end": "2024-01-01 15:00", "val_end": "2024-01-01 20:00", "calibration_end": "soon"},
            r"data\.calibration_end is 'soon': expected a timestamp",
        ),
    ],
)
def test_parts_that_hold_no_window_are_refused(series_of, options, message):
    with pytest.raises(ConfigError, match=message):
        split_panel(series_of(np.arange(40)), DataConfig(h=4, **options), with_test=True)


def test_calibration_rows_lie_between_validation_and_test(series_of):
    panel = series_of(np.arange(50), np.arange(30), np.arange(15))
    config = DataConfig(h=4, val_size=5, calibration_size=6, test_size=8)
    split, val_size, test_size = split_panel(panel, config, with_test=True)
    assert _ends(split) == [[31, 36, 42, 50], [11, 16, 22, 30], [0, 0, 0, 0]]
    assert (val_size, test_size, split.sizes["calibration"]) == (5, 8, 6)
    times = {"train_end": "2024-01-01 09:00", "val_end": "2024-01-01 14:00", "calibration_end": "2024-01-01 19:00"}
    split, *_ = split_panel(panel, DataConfig(h=4, **times), with_test=True)
    assert _ends(split) == [[10, 15, 20, 50], [10, 15, 20, 30], [10, 15, 15, 15]]
    with pytest.raises(
        DataError, match=r"data\.val_size \(5\), data\.calibration_size \(40\) and data\.test_size \(8\) leave nothing"
    ):
        split_panel(panel, DataConfig(h=4, val_size=5, calibration_size=40, test_size=8), with_test=True)


def test_sizes_beyond_the_data_are_refused(series_of):
    config = DataConfig(h=4, val_size=20, test_size=20)
    with pytest.raises(
        DataError, match=r"data\.val_size \(20\) and data\.test_size \(20\) leave nothing .* has 40 rows"
    ):
        split_panel(series_of(np.arange(40)), config, with_test=True)


def test_whole_numbers_split_integer_times():
    panel = panel_from_table(pd.DataFrame({"ds": range(10, 50), "y": np.arange(40.0)}), DataConfig())
    config = DataConfig(h=4, train_end="29", val_end="39")
    assert _ends(split_panel(panel, config, with_test=True)[0]) == [[20, 30, 30, 40]]
    for text in ("2024-01-01", "2²", "--5"):
        with pytest.raises(
            ConfigError, match=rf"data\.train_end is '{text}': expected a whole number, as in column 'ds'"
        ):
            split_panel(panel, DataConfig(h=4, train_end=text, val_end="39"), with_test=True)


def test_a_time_that_clocks_show_twice_or_never_needs_an_offset():
    times = pd.date_range("2024-10-26", periods=72, freq="h", tz="Europe/Berlin")
    panel = panel_from_table(pd.DataFrame({"ds": times, "y": np.arange(72.0)}), DataConfig())
    for text in ("2024-10-27 02:30", "2024-03-31 02:30"):
        config = DataConfig(h=4, train_end=text, val_end="2024-10-28")
        with pytest.raises(
            ConfigError, match=rf"data\.train_end is '{text}', which clocks in Europe/Berlin show twice or never: add"
        ):
            split_panel(panel, config, with_test=True)
    for text, rows in (("2024-10-27 02:30+02:00", 27), ("2024-10-27 02:30+01:00", 28)):
        config = DataConfig(h=4, train_end=text, val_end="2024-10-28")
        assert split_panel(panel, config, with_test=True)[0].train_end.tolist() == [rows]


def test_the_ends_of_the_parts_are_written_as_the_column_is():
    times = pd.date_range("2024-01-20", periods=40)
    table = pd.DataFrame({"ds": times.strftime("%d/%m/%Y"), "y": np.arange(40.0)})
    for form in ("%d/%m/%Y", "%Y-%m-%d", "%d %b %Y"):
        config = DataConfig(h=2, train_end=times[19].strftime(form), val_end=times[29].strftime(form))
        split, *_ = split_panel(panel_from_table(table, config), config, with_test=True)
        assert [part.tolist() for part in split] == [[20], [30], [30], [40]]
