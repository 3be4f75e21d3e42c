"""The cutoffs of a backtest, and the data before them."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest

from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.cutoffs import before, cutoff_rows, prepare_before, windows_at
from lstmjax.data.prepare import prepare
from lstmjax.errors import ConfigError, DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*have no whole training window", "ignore:.*empty cell.*masked")


def panel_of(*values):
    tables = [
        pd.DataFrame({"unique_id": f"s{n}", "ds": pd.date_range("2024-01-01", periods=len(y), freq="h"), "y": y})
        for n, y in enumerate(values)
    ]
    return panel_from_table(pd.concat(tables).astype({"y": float}), DataConfig(freq="h"))


@hypothesis.given(
    lengths=st.lists(st.integers(5, 60), min_size=1, max_size=3),
    h=st.integers(1, 6),
    n_windows=st.integers(1, 6),
    step_size=st.one_of(st.none(), st.integers(1, 9)),
)
def test_windows_are_counted_from_the_end_of_each_series(lengths, h, n_windows, step_size):
    panel = panel_of(*(np.arange(rows) for rows in lengths))
    config = DataConfig(h=h, freq="h")
    step = step_size or h
    expected = np.array([[rows - h - step * (n_windows - 1 - k) for rows in lengths] for k in range(n_windows)])
    if not (expected[0] > 0).any():
        with pytest.raises(DataError, match=rf"n_windows is {n_windows}, with {step} rows"):
            cutoff_rows(panel, config, n_windows=n_windows, step_size=step_size)
        return
    rows = cutoff_rows(panel, config, n_windows=n_windows, step_size=step_size)
    np.testing.assert_array_equal(rows, np.where(expected > 0, expected, 0))
    windows, cutoff = windows_at(rows)
    np.testing.assert_array_equal(rows[cutoff, windows.series], windows.origin)
    assert len(cutoff) == (rows > 0).sum()
    assert (np.diff(windows.series * 1000 + windows.origin) > 0).all()


def test_the_message_names_the_largest_number():
    panel = panel_of(np.arange(30))
    config = DataConfig(h=5, freq="h")
    with pytest.raises(DataError, match="the longest series has 30 rows, room for 5; give fewer windows"):
        cutoff_rows(panel, config, n_windows=6)
    assert cutoff_rows(panel, config, n_windows=5)[0, 0] == 5


def test_cutoffs_lie_on_the_grid_of_origins():
    times = pd.date_range("2024-03-25", periods=24 * 10 + 7, freq="h", tz="Europe/Berlin")  # clocks change on the 31st
    table = pd.DataFrame({"unique_id": "a", "ds": times, "y": np.arange(float(len(times)))})
    config = DataConfig(h=10, origins="00:00", time_zone="Europe/Berlin")
    panel = panel_from_table(table, config)
    rows = cutoff_rows(panel, config, n_windows=5)
    begins = panel.timestamps(np.zeros(5, int), rows[:, 0])
    assert [f"{time:%d %H:%M}" for time in begins] == ["30 00:00", "31 00:00", "01 00:00", "02 00:00", "03 00:00"]
    every_other = cutoff_rows(panel, config, n_windows=3, step_size=48)
    np.testing.assert_array_equal(every_other, rows[::2])
    with pytest.raises(ConfigError, match="step_size is 30, and data.origins 00:00 has 24 rows .* multiple of 24"):
        cutoff_rows(panel, config, n_windows=3, step_size=30)


def test_a_default_step_is_the_next_on_the_grid():
    panel = panel_of(np.arange(60))
    rows = cutoff_rows(panel, DataConfig(h=5, freq="h", origins="4"), n_windows=3)
    assert rows[:, 0].tolist() == [36, 44, 52]


@hypothesis.given(
    lengths=st.lists(st.integers(40, 70), min_size=1, max_size=3),
    train_size=st.integers(12, 30),
    val_size=st.sampled_from([0, 5, 8]),
    calibration_size=st.sampled_from([0, 6]),
)
def test_a_sliding_training_part_is_that_of_a_shorter_table(lengths, train_size, val_size, calibration_size):
    random = np.random.default_rng(0)
    values = [random.normal(size=rows) for rows in lengths]
    panel = panel_of(*values)
    config = DataConfig(h=4, input_size=8, freq="h", val_size=val_size, calibration_size=calibration_size)
    rows = cutoff_rows(panel, config, n_windows=2)[0]
    found = prepare_before(panel, rows, config, train_size=train_size)
    kept = train_size + val_size + calibration_size
    shorter = panel_of(*(y[max(0, end - kept) : end] for y, end in zip(values, rows, strict=True)))
    alone = prepare(shorter, config, with_test=False)
    shift = np.maximum(0, rows - kept)
    for part in ("train", "validation", "calibration"):
        ours, theirs = getattr(found, part), getattr(alone, part)
        np.testing.assert_array_equal(ours.series, theirs.series)
        np.testing.assert_array_equal(ours.origin, theirs.origin + shift[theirs.series])
    for name in ("y_center", "y_scale", "y_deviation"):
        np.testing.assert_array_equal(getattr(found.scaling, name), getattr(alone.scaling, name))
    np.testing.assert_array_equal(found.split.calibration_end, alone.split.calibration_end + shift)
    assert len(found.arrays.y) == len(panel.y)
    begin, end = panel.offsets[0] + shift[0], panel.offsets[0] + rows[0]
    np.testing.assert_array_equal(found.arrays.y[begin:end], alone.arrays.y[: end - begin])


def test_a_training_part_that_holds_no_window_is_refused():
    panel, config = panel_of(np.arange(60)), DataConfig(h=4, input_size=8, freq="h", val_size=4)
    with pytest.raises(ConfigError, match=r"train_size is 11: expected at least data.input_size \+ data.h \(12\)"):
        prepare_before(panel, np.array([50]), config, train_size=11)


def test_nothing_later_is_observed():
    panel = panel_of(np.arange(30), np.arange(20))
    seen = before(panel, np.array([12, 0]))
    assert seen.observed.tolist() == [12, 0]
    assert seen.y is panel.y  # what is known ahead stays
