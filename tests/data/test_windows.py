"""Windows: gathered on the device exactly as plain slicing would cut them, and blind to what comes after."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.origins import (
    calibration_windows,
    forecast_windows,
    test_windows,
    train_windows,
    validation_windows,
)
from lstmjax.data.scaling import scale
from lstmjax.data.scaling_fit import fit_scaling
from lstmjax.data.split import Split, split_panel
from lstmjax.data.windows import PanelArrays, Windows, gather

pytestmark = pytest.mark.filterwarnings("ignore:.*empty cell.*masked", "ignore:.*the forecast begins there")


_gather = jax.jit(gather, static_argnames=("input_size", "h"))


def _arrays(lengths: list[int], widths: tuple[int, int, int], seed: int) -> PanelArrays:
    rng = np.random.default_rng(seed)
    groups = []
    for width in widths:
        mask = rng.random((sum(lengths), width)) < 0.8
        groups += [np.where(mask, rng.normal(size=mask.shape), 0).astype(np.float32), mask]
    stat = rng.normal(size=(len(lengths), 2)).astype(np.float32)
    return PanelArrays(*groups, stat, np.cumsum([0, *lengths]).astype(np.int32))


def _sliced(values: np.ndarray, mask: np.ndarray, begin: int, end: int, rows: range) -> tuple[list, list]:
    """Row by row: the value where the series has the row and the value is observed, else 0."""
    inside = [0 <= row < end - begin for row in rows]
    known = [mask[begin + row] & ok if ok else mask[0] & False for row, ok in zip(rows, inside, strict=True)]
    cells = [values[begin + row] if ok else values[0] for row, ok in zip(rows, inside, strict=True)]
    return [np.where(k, cell, 0) for k, cell in zip(known, cells, strict=True)], known


SHAPES = (  # lengths, input_size, h, widths: few, since each is a program to compile
    ([12, 1, 7, 3], 5, 4, (2, 1, 2)),
    ([4, 4], 6, 1, (1, 0, 1)),
    ([9], 1, 3, (1, 2, 0)),
)


@given(st.sampled_from(SHAPES), st.integers(0, 1000), st.data())
def test_gathering_equals_plain_slicing(shape, seed, data):
    lengths, input_size, h, widths = shape
    arrays = _arrays(lengths, widths, seed)
    series = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=3, max_size=3)))
    origin = np.array([data.draw(st.integers(0, lengths[number])) for number in series])  # also one past the end
    windows = Windows(series.astype(np.int32), origin.astype(np.int32))
    window, target = jax.tree.map(np.asarray, _gather(arrays, windows, input_size=input_size, h=h))
    for place, (number, row) in enumerate(zip(series, origin, strict=True)):
        begin, end = arrays.offsets[number : number + 2]
        past, future = range(row - input_size, row), range(row, row + h)
        whole = range(row - input_size, row + h)
        for (values, mask), rows, stored in (
            ((window.y, window.y_mask), past, (arrays.y, arrays.y_mask)),
            ((target.y, target.mask), future, (arrays.y, arrays.y_mask)),
            ((window.hist_exog, window.hist_mask), past, (arrays.hist, arrays.hist_mask)),
            ((window.futr_exog, window.futr_mask), whole, (arrays.futr, arrays.futr_mask)),
        ):
            expected, known = _sliced(*stored, begin, end, rows)
            np.testing.assert_array_equal(values[place], expected)
            np.testing.assert_array_equal(mask[place], known)
        np.testing.assert_array_equal(window.stat_exog[place], arrays.stat[number])


@given(st.integers(0, 30), st.integers(0, 1000))
def test_nothing_after_the_cut_off_reaches_a_window(origin, seed):
    arrays = _arrays([30, 20], (2, 1, 1), seed)
    windows = Windows(np.zeros(1, np.int32), np.array([origin], np.int32))
    window, _ = _gather(arrays, windows, input_size=8, h=4)
    rng = np.random.default_rng(seed + 1)
    noise = {}
    for name in ("y", "hist"):
        values, mask = getattr(arrays, name).copy(), getattr(arrays, f"{name}_mask").copy()
        values[origin:] = rng.normal(size=values[origin:].shape)
        mask[origin:] = ~mask[origin:]
        noise |= {name: values, f"{name}_mask": mask}
    futr = arrays.futr.copy()
    futr[origin + 4 :] = 1e9  # beyond the horizon
    changed, _ = _gather(arrays._replace(**noise, futr=futr), windows, input_size=8, h=4)
    for name, before, after in zip(window._fields, window, changed, strict=True):
        np.testing.assert_array_equal(before, after, err_msg=name)


def test_changing_test_rows_changes_no_window_before_them(hourly):
    """From the table on: through splits and statistics, to the windows of training and validation."""
    config = DataConfig(h=3, input_size=5, val_size=8, test_size=10, hist_exog=("x",), futr_exog=("z",))
    table = hourly(60, x=np.sin(np.arange(60)), z=np.cos(np.arange(60)))
    changed = table.copy()
    changed.loc[50:, ["y", "x", "z"]] = 1e3 * np.random.default_rng(0).normal(size=(10, 3))
    cut = []
    for version in (table, changed):
        panel = panel_from_table(version, config)
        split, _, _ = split_panel(panel, config, with_test=True)
        arrays = scale(panel, fit_scaling(panel, split, config))
        train = train_windows(panel, split, input_size=5, h=3)
        for windows in (train, validation_windows(split, h=3)):
            cut.append(_gather(arrays, windows, input_size=5, h=3))
    for before, after in zip(jax.tree.leaves(cut[:2]), jax.tree.leaves(cut[2:]), strict=True):
        np.testing.assert_array_equal(before, after)


def _split(*ends: tuple[int, int, int]) -> Split:
    return Split(*np.array([(train, val, val, test) for train, val, test in ends], np.int64).T)


def _pairs(windows: Windows) -> list[tuple[int, int]]:
    assert windows.series.dtype == windows.origin.dtype == np.int32
    return list(zip(windows.series.tolist(), windows.origin.tolist(), strict=True))


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), st.integers(1, 25))
def test_training_windows_are_those_whose_targets_are_training_rows(input_size, h, step_size, train_end):
    table = pd.DataFrame({"ds": range(30), "y": np.arange(30.0)})
    panel = panel_from_table(table, DataConfig())
    split = _split((train_end, 28, 30))
    first = input_size if train_end >= input_size + h else max(1, train_end - h)
    expected = [(0, origin) for origin in range(first, 31, step_size) if origin + h <= train_end]
    windows = train_windows(panel, split, input_size=input_size, h=h, step_size=step_size)
    assert _pairs(windows) == expected


def test_a_series_too_short_to_look_back_has_one_padded_window(series_of):
    panel = series_of(np.arange(6), np.arange(3), np.arange(30))
    split = _split((6, 6, 6), (3, 3, 3), (12, 20, 30))
    windows = train_windows(panel, split, input_size=8, h=4)
    assert _pairs(windows) == [(0, 2), (2, 8)]  # the second has no row before it
    window, _ = _gather(scale(panel, fit_scaling(panel, split, DataConfig())), windows, input_size=8, h=4)
    assert window.y_mask[0, :, 0].tolist() == [False] * 6 + [True] * 2


def test_windows_without_an_observed_target_are_not_trained_on(series_of):
    y = np.arange(20.0)
    y[6:11] = np.nan
    windows = train_windows(series_of(y), _split((20, 20, 20)), input_size=2, h=3)
    assert [origin for _, origin in _pairs(windows)] == [2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17]


def test_every_window_of_validation_and_test_counts():
    split = _split((10, 15, 21), (0, 0, 0), (5, 8, 12))
    assert _pairs(validation_windows(split, h=4)) == [(0, 10), (0, 11)]
    assert _pairs(test_windows(split, h=4)) == [(0, 15), (0, 16), (0, 17), (2, 8)]
    assert _pairs(calibration_windows(split, h=4)) == []
    split = split._replace(calibration_end=np.array([20, 0, 12]))
    assert _pairs(calibration_windows(split, h=4)) == [(0, 15), (0, 16), (2, 8)]
    assert _pairs(test_windows(split._replace(test_end=np.array([24, 0, 12])), h=4)) == [(0, 20)]


@pytest.mark.parametrize(("h", "count"), [(96, 2785), (192, 2689), (336, 2545), (720, 2161)])
def test_the_benchmark_has_its_published_numbers_of_windows(h, count):
    assert len(test_windows(_split((8640, 11520, 14400)), h=h).series) == count


def test_a_forecast_begins_after_the_last_observation(series_of):
    panel = series_of([1, 2, 3, np.nan], [1, 2])
    assert _pairs(forecast_windows(panel)) == [(0, 3), (1, 2)]


def test_groups_without_columns_cost_nothing():
    arrays = _arrays([40], (1, 0, 0), seed=0)
    windows = Windows(np.zeros(4, np.int32), np.arange(10, 14, dtype=np.int32))
    jaxpr = jax.make_jaxpr(lambda *args: gather(*args, input_size=8, h=2))(arrays, windows)
    gathers = str(jaxpr).count(" gather[")
    assert gathers <= 5  # offsets twice, values, mask, static
    window, _ = _gather(arrays, windows, input_size=8, h=2)
    assert window.hist_exog.shape == (4, 8, 0)
    assert window.futr_mask.shape == (4, 10, 0)
    assert window.futr_mask.dtype == jnp.bool_


def test_windows_are_cut_without_pandas():
    code = "import sys, lstmjax.data.windows; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
