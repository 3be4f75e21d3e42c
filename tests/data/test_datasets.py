"""Named data sets: what is embedded, what is downloaded and refused, and the published figures of naive forecasts."""

import functools
import gc
import hashlib
import http.server
import logging
import os
import threading
import typing
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pooch
import pytest

from lstmjax.config import DataConfig, DatasetName
from lstmjax.data import datasets
from lstmjax.data.build import panel_from_table
from lstmjax.data.datasets import RemoteFile, fetch, load, settings
from lstmjax.data.origins import test_windows
from lstmjax.data.scaling import scale
from lstmjax.data.scaling_fit import fit_scaling
from lstmjax.data.split import split_panel
from lstmjax.data.windows import gather
from lstmjax.errors import ConfigError, DataError
from lstmjax.ops.naive import repeat_last, seasonal_naive

CONTENT = b"ds,y\n1,2\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def server(tmp_path):
    """The address of a server on loopback that has one file, ``file.csv``."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "file.csv").write_bytes(CONTENT)
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_a_file_is_downloaded_once_and_silently(server, tmp_path, capfd):
    file = RemoteFile("mine.csv", f"{server}/file.csv", DIGEST)
    path = fetch(file, tmp_path / "cache")
    assert path == tmp_path / "cache" / "mine.csv"
    assert path.read_bytes() == CONTENT
    unreachable = RemoteFile("mine.csv", "http://127.0.0.1:1/file.csv", DIGEST)
    assert fetch(unreachable, tmp_path / "cache") == path
    assert capfd.readouterr() == ("", "")


def test_a_download_leaves_the_level_of_poochs_logger(server, tmp_path):
    level = pooch.get_logger().level
    fetch(RemoteFile("mine.csv", f"{server}/file.csv", DIGEST), tmp_path / "cache")
    with pytest.raises(DataError):
        fetch(RemoteFile("other.csv", f"{server}/file.csv", "0" * 64), tmp_path / "cache")
    assert pooch.get_logger().level == level
    assert pooch.get_logger().isEnabledFor(logging.INFO)


def test_a_download_with_another_digest_is_refused_and_removed(server, tmp_path):
    with pytest.raises(DataError, match=rf"mine\.csv from {server}/file\.csv is not the published file") as caught:
        fetch(RemoteFile("mine.csv", f"{server}/file.csv", "0" * 64), tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_file_at_hand_with_another_digest_is_refused_and_kept(tmp_path):
    (tmp_path / "mine.csv").write_bytes(b"other")
    found = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(DataError, match=rf"mine\.csv has SHA-256 {found}, expected {DIGEST}: remove it"):
        fetch(RemoteFile("mine.csv", "http://127.0.0.1:1/file.csv", DIGEST), tmp_path)
    assert (tmp_path / "mine.csv").read_bytes() == b"other"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # requests leaves a refused answer open
@pytest.mark.parametrize("address", ["http://127.0.0.1:1/file.csv", "{server}/none.csv"])
def test_what_cannot_be_downloaded_can_be_put_there_by_hand(server, tmp_path, address):
    address = address.format(server=server)
    message = rf"mine\.csv cannot be downloaded from {address} .*put the file there by hand, as {tmp_path}/mine\.csv"
    with pytest.raises(DataError, match=message) as caught:
        fetch(RemoteFile("mine.csv", address, DIGEST), tmp_path)
    assert "\n" not in str(caught.value)
    del caught
    gc.collect()  # here, rather than in a test that would be blamed for it


def test_the_cache_is_the_folder_that_the_environment_names(tmp_path, monkeypatch):
    monkeypatch.setenv("LSTMJAX_DATA", str(tmp_path))
    (tmp_path / "ETTh1.csv").write_bytes(b"wrong")
    with pytest.raises(DataError, match=f"{tmp_path}/ETTh1.csv has SHA-256 .*f18de3ad269cef59bb07b5438d79bb3042d3be49"):
        load("etth1")


def test_every_name_has_a_table_and_settings_that_a_config_takes():
    assert typing.get_args(DatasetName) == tuple(datasets.DATASETS)
    for name in datasets.DATASETS:
        config = DataConfig(dataset=name, **settings(name))
        assert config.futr_exog == config.hist_exog == ()
        assert config.val_size >= config.h
        assert config.test_size >= config.h
    with pytest.raises(ConfigError, match=r"data\.dataset is 'etth3': expected one of elecdemand, etth1"):
        settings("etth3")


def test_elecdemand_is_half_hourly_for_a_year():
    table = load("elecdemand")
    panel = panel_from_table(table, DataConfig(**settings("elecdemand")), series_id="elecdemand")
    assert panel.ids.tolist() == ["elecdemand"]
    assert panel.lengths.tolist() == [17_520]
    last = panel.timestamps(np.array([0]), np.array([17_519]))[0]
    assert last == pd.Timestamp("2014-12-31 23:30")
    assert table.columns.tolist() == ["ds", "y", "temperature", "workday"]
    # the table of the R package fpp2: first value, extremes of demand, share of working days
    assert table["y"].iloc[0] == 3.91464713
    assert (round(table["y"].min(), 3), round(table["y"].max(), 3)) == (2.858, 9.345)
    assert set(table["workday"]) == {0, 1}
    assert table["temperature"].max() == 43.2
    weekend = pd.to_datetime(table["ds"]).dt.day_of_week >= 5
    assert table.loc[weekend, "workday"].max() == 0


def test_the_note_on_the_embedded_file_has_its_digest():
    folder = Path(datasets.__file__).parent
    digest = hashlib.sha256((folder / "elecdemand.csv.gz").read_bytes()).hexdigest()
    assert digest in (folder / "PROVENANCE.md").read_text()


def test_seasonal_naive_on_elecdemand_errs_by_the_published_figure():
    """MAE over the last six weeks, one week back, every window of 96 half hours: 0.334 GW."""
    y = load("elecdemand")["y"].to_numpy()
    errors = np.abs(y[336:] - y[:-336])[-2016:]
    windows = np.lib.stride_tricks.sliding_window_view(errors, 96)
    assert round(windows.mean(), 3) == 0.334


@pytest.fixture
def shared_data(monkeypatch):
    """Points the cache at the files at hand: ``$LSTMJAX_DATA``, else ``../shared/data`` next to the repository."""
    folder = Path(os.environ.get("LSTMJAX_DATA") or Path(__file__).parents[3] / "shared" / "data")
    monkeypatch.setenv("LSTMJAX_DATA", str(folder))

    def need(*names: str) -> None:
        missing = [name for name in names if not (folder / name).exists()]
        if missing:
            pytest.skip(f"{', '.join(missing)} not in {folder}")

    return need


def test_the_etth1_protocol_reproduces_the_figures_of_repeat_last_and_seasonal_naive(shared_data):
    shared_data("ETTh1.csv")
    config = DataConfig(dataset="etth1", **settings("etth1"))
    panel = panel_from_table(load("etth1"), config)
    split, val_size, test_size = split_panel(panel, config, with_test=True)
    assert (val_size, test_size) == (2880, 2880)
    windows = test_windows(split, h=96)
    assert len(windows.series) == 7 * 2785
    arrays = scale(panel, fit_scaling(panel, split, config))

    @jax.jit
    def forecasts(arrays, windows):
        window, target = gather(arrays, windows, input_size=96, h=96)
        return repeat_last(window.y, window.y_mask, 96), seasonal_naive(window.y, window.y_mask, 96, 24), target.y

    last, seasonal, y = (np.asarray(array, np.float64) for array in forecasts(arrays, windows))
    assert [round(np.mean((last - y) ** 2), 4), round(np.mean(np.abs(last - y)), 4)] == [1.2944, 0.7132]
    assert [round(np.mean((seasonal - y) ** 2), 4), round(np.mean(np.abs(seasonal - y)), 4)] == [0.5122, 0.4333]


def test_the_m4_hourly_protocol_reproduces_the_figures_of_seasonal_naive(shared_data):
    shared_data("M4-Hourly-train.csv", "M4-Hourly-test.csv")
    config = DataConfig(dataset="m4_hourly", **settings("m4_hourly"))
    panel = panel_from_table(load("m4_hourly"), config)
    assert panel.ids[[0, 1, -1]].tolist() == ["H1", "H2", "H414"]
    assert panel.observed.min() == 700 + 48
    smape, mase = [], []
    for begin, end in zip(panel.offsets[:-1], panel.offsets[1:], strict=True):
        train, y = panel.y[begin : end - 48, 0], panel.y[end - 48 : end, 0]
        forecast = np.tile(train[-24:], 2)
        smape.append(np.mean(200 * np.abs(y - forecast) / (np.abs(y) + np.abs(forecast))))
        mase.append(np.mean(np.abs(y - forecast)) / np.mean(np.abs(train[24:] - train[:-24])))
    assert [round(np.mean(smape), 3), round(np.mean(mase), 3)] == [13.912, 1.193]


def test_m4_files_are_melted_with_the_test_rows_last(tmp_path):
    (tmp_path / "train.csv").write_text('"V1","V2","V3","V4"\n"W2","1","2","3"\n"W10","4","5",""\n')
    (tmp_path / "test.csv").write_text('"V1","V2"\n"W2","7"\n"W10","8"\n')
    table = datasets._read_m4(tmp_path / "train.csv", tmp_path / "test.csv")
    expected = {"unique_id": ["W2"] * 4 + ["W10"] * 3, "ds": [1, 2, 3, 4, 1, 2, 3], "y": [1.0, 2, 3, 7, 4, 5, 8]}
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected), check_dtype=False)


def test_exchange_has_eight_columns_and_whole_numbers_for_times(tmp_path):
    rows = [",".join(f"{row + column / 10:.1f}" for column in range(8)) for row in range(3)]
    pd.Series(rows).to_csv(tmp_path / "x.txt.gz", index=False, header=False, quoting=3, escapechar="\\", sep="|")
    table = datasets._read_exchange(tmp_path / "x.txt.gz")
    panel = panel_from_table(table, DataConfig(**settings("exchange")))
    assert panel.y.reshape(8, 3)[:, 1].tolist() == [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
    assert panel.timestamps(np.array([0]), np.array([3])).tolist() == [4]


def test_ett_is_cut_at_twenty_months(tmp_path):
    rows = 14_500
    table = pd.DataFrame({"date": pd.date_range("2016-07-01", periods=rows, freq="h"), "OT": np.arange(rows)})
    table.to_csv(tmp_path / "a.csv", index=False)
    assert datasets._read_ett(tmp_path / "a.csv")["OT"].tolist() == list(range(14_400))
