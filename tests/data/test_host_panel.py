"""Windows that are cut out and scaled on the host have the bytes of those that are cut out of the scaled panel."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest

from lstmjax import parallel
from lstmjax.config import DataConfig
from lstmjax.data import host_panel
from lstmjax.data.build import panel_from_table
from lstmjax.data.host_panel import HostPanel, feed_of, scaled_panel
from lstmjax.data.origins import forecast_windows
from lstmjax.data.pack import pack
from lstmjax.data.prepare import prepare
from lstmjax.data.scaling import scale
from lstmjax.data.windows import Windows, gather
from lstmjax.errors import DataError


def table():
    rng = np.random.default_rng(0)
    parts = []
    for number, rows in enumerate((50, 12, 40)):
        columns = {"unique_id": f"s{number}", "ds": pd.date_range("2024-03-29", periods=rows, freq="h")}
        columns |= {"y": 3 + 1000 * number + rng.gamma(2.0, size=rows), "x": rng.normal(size=rows)}
        columns |= {"kind": rng.choice(["a", "b", "c"], size=rows), "w": rng.random(rows), "where": f"at {number % 2}"}
        parts.append(pd.DataFrame(columns))
    whole = pd.concat(parts, ignore_index=True)
    whole.loc[[5, 6, 30, 70], "y"] = np.nan
    whole.loc[[9, 55], "x"] = np.nan
    return whole.drop(index=[20, 21])


OPTIONS = {
    "plain": {},
    "global": {"scaler_scope": "global", "scaler": "robust"},
    "logarithm": {"transform": "log"},
    "covariates": {"hist_exog": ("x",), "futr_exog": ("kind",), "stat_exog": ("where",), "weight_col": "w"},
    "calendar": {"calendar": ("hour", "weekday"), "hist_exog": ("kind",), "time_zone": "Europe/Berlin"},
    "two targets": {"target_cols": ("y", "x"), "scaler": "minmax"},
}


@pytest.mark.filterwarnings("ignore::lstmjax.data.table.DataWarning")
@pytest.mark.parametrize("name", OPTIONS)
def test_a_cut_has_the_bytes_of_the_scaled_panel(name, tmp_path):
    config = DataConfig(h=4, input_size=9, val_size=4, test_size=4, **OPTIONS[name])
    panel = panel_from_table(table(), config)
    found = prepare(panel, config, with_test=True, feed="host")
    assert isinstance(found.arrays, HostPanel)
    arrays = scale(panel, found.scaling)
    every = [found.train, found.validation, found.test, forecast_windows(panel)]
    windows = Windows(*(np.concatenate(columns) for columns in zip(*every, strict=True)))
    cut = jax.jit(lambda *given: gather(*given, input_size=9, h=4))
    expected, target = cut(arrays, windows)
    first = Windows(np.arange(len(windows.series), dtype=np.int32), np.full(len(windows.series), 9, np.int32))
    given = found.arrays
    store = HostPanel(pack([table()], tmp_path / "store", config).data, found.scaling)
    for other in (given, store):
        own = cut(other.part(windows, input_size=9, h=4), first)
        for one, mine in zip(jax.tree.leaves((expected, target)), jax.tree.leaves(own), strict=True):
            if one is target.weight:  # that of a row after the end counts nowhere
                one, mine = (np.where(target.mask.any(axis=2), values, 0) for values in (one, mine))
            assert one.dtype == mine.dtype
            np.testing.assert_array_equal(mine, one)
    for group in ("y", "hist", "futr", "stat"):
        assert found.arrays.width(group) == arrays.width(group)


def test_a_target_outside_a_transform_is_refused_when_the_panel_is_made():
    config = DataConfig(h=2, input_size=3, val_size=0, test_size=0)
    panel = panel_from_table(pd.DataFrame({"ds": range(20), "y": np.arange(20.0)}), config)
    scaling = dataclasses.replace(prepare(panel, config, with_test=False).scaling, transform="log")
    with pytest.raises(DataError, match=r"series 'series', column 'y' is 0 at 0: data\.transform 'log' needs positive"):
        scaled_panel(panel, scaling, "host")


def test_auto_keeps_a_store_on_the_host_where_it_does_not_fit_comfortably(tmp_path, monkeypatch):
    config = DataConfig(h=2, input_size=3, val_size=0, test_size=0)
    frame = pd.DataFrame({"ds": range(200), "y": np.arange(200.0)})
    panel, store = panel_from_table(frame, config), pack([frame], tmp_path / "s", config).data
    scaling = prepare(panel, config, with_test=False).scaling
    for available, expected in ((None, "device"), (200 * 5 * host_panel.COMFORTABLE, "device"), (60_000, "host")):
        monkeypatch.setattr(parallel, "available_bytes", lambda available=available: available)
        assert feed_of(scaled_panel(store, scaling)) == expected
        assert feed_of(scaled_panel(panel, scaling)) == "device"  # it is in memory already
        assert feed_of(scaled_panel(store, scaling, "device")) == "device"
        assert feed_of(scaled_panel(panel, scaling, "host")) == "host"
