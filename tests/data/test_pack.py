"""A packed table is the panel that the table makes, and what is wrong with it is said in the same words."""

import dataclasses
import gzip
import json
import re
import warnings
from pathlib import Path

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import pytest

from lstmjax.config import DataConfig
from lstmjax.data import pack_intake
from lstmjax.data.build import panel_from_table
from lstmjax.data.digest import panel_digest
from lstmjax.data.pack import pack
from lstmjax.data.panel import BY_ROW
from lstmjax.data.store import BY_SERIES, Store
from lstmjax.data.table import read_table
from lstmjax.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def few_rows_at_a_time(monkeypatch):
    monkeypatch.setattr(pack_intake, "ROWS", 7)


def hourly(series=5, rows=20, seed=0):
    rng = np.random.default_rng(seed)
    parts = []
    for number in range(series):
        times = pd.date_range(f"2024-01-0{number + 1}", periods=rows + number, freq="h")
        columns = {"unique_id": f"s{number}", "ds": times, "y": rng.normal(size=len(times))}
        columns |= {"price": rng.normal(size=len(times)), "shop": f"shop {number % 2}", "w": 1.0}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


COVARIATES = {"hist_exog": ("price",), "stat_exog": ("shop",), "weight_col": "w"}
TABLES = {
    "grouped": lambda: (hourly(), {}),
    "covariates": lambda: (hourly(), COVARIATES),
    "by time": lambda: (hourly().sort_values("ds", kind="stable"), COVARIATES),
    "shuffled": lambda: (hourly().sample(frac=1.0, random_state=1), COVARIATES),
    "gaps": lambda: (hourly().drop(index=[3, 4, 50]), {}),
    "empty cells": lambda: (hourly().assign(y=lambda t: t.y.where(t.index % 6 > 0)), {}),
    "empty ends": lambda: (hourly().assign(y=lambda t: t.y.where(t.index != 19)), {}),
    "known future": lambda: (hourly().assign(y=lambda t: t.y.where(t.index % 20 < 19)), {"futr_exog": ("price",)}),
    "one series": lambda: (hourly(1).drop(columns="unique_id"), {}),
    "whole numbers": lambda: (hourly().assign(ds=lambda t: t.groupby("unique_id").cumcount() * 2 + 5), {}),
    "numbered series": lambda: (hourly().assign(unique_id=lambda t: t.unique_id.str[1:].astype(int) + 7), {}),
    "calendar": lambda: (hourly(), {"calendar": ("hour", "weekday"), "h": 3}),
    "wide": lambda: (
        pd.DataFrame({"ds": pd.date_range("2024", periods=40, freq="D"), "a": np.arange(40.0), "b": 1.5}),
        {"layout": "wide", "target_cols": ("a", "b")},
    ),
    "summer time": lambda: (
        pd.concat(
            pd.DataFrame({"unique_id": name, "ds": local.astype(str), "y": np.arange(9.0)})
            for name in "ab"
            for local in [pd.date_range("2024-10-26 22:00", periods=9, freq="h", tz="UTC").tz_convert("Europe/Berlin")]
            for local in [local.tz_localize(None)]
        ),
        {"time_zone": "Europe/Berlin"},
    ),
    "a part without targets": lambda: (hourly().assign(y=lambda t: t.y.where(t.unique_id != "s1")), {}),
    "text after empty cells": lambda: (
        hourly().assign(shop=lambda t: t["shop"].where(t.index > 40)),
        {"hist_exog": ("shop",)},
    ),
    "numbers after empty cells": lambda: (
        hourly().assign(price=lambda t: t.price.where(t.index > 40)),
        {"hist_exog": ("price",)},
    ),
    "two targets": lambda: (hourly(), {"target_cols": ("y", "price"), "freq": "h"}),
    "business days": lambda: (
        pd.DataFrame({"unique_id": np.repeat(["a", "b"], 9), "ds": [*pd.bdate_range("2024", periods=9)] * 2, "y": 1.0}),
        {},
    ),
}


def both(make, options):
    """What a table gives or says, and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            made = make(DataConfig(**options))
        except (DataError, ConfigError) as error:
            made = error
    return made, [str(warning.message) for warning in caught]


@pytest.mark.parametrize("name", TABLES)
def test_a_store_is_the_panel_of_its_table(tmp_path, name):
    table, options = TABLES[name]()
    file = tmp_path / "table.csv"
    table.to_csv(file, index=False)
    asked = {"source": str(file), "series_id": "table"}
    panel, warned = both(lambda config: panel_from_table(read_table(file, config), config, **asked), options)
    store, also_warned = both(lambda config: pack(file, tmp_path / "store", config), options)
    assert also_warned == warned
    for field in (*BY_SERIES, *BY_ROW):
        np.testing.assert_array_equal(getattr(store.data, field), getattr(panel, field), field)
    assert (store.data.schema, store.data.form) == (panel.schema, panel.form)
    assert store.data.labels.tolist() == panel.labels.tolist()
    assert store.description["digest"] == panel_digest(panel)
    assert isinstance(store.data.y, np.memmap)
    assert store.panel(store.settle(DataConfig(h=options.get("h", 24)))) is store.data
    assert [path.name for path in tmp_path.iterdir() if path != file] == ["store"]


@pytest.mark.parametrize("form", ["csv.gz", "parquet", "folder", "frames", "polars"])
def test_a_table_has_one_digest_in_every_form(tmp_path, form):
    table, config = hourly().sort_values("ds", kind="stable").reset_index(drop=True), DataConfig(**COVARIATES)
    digest = panel_digest(panel_from_table(table, config))
    given = tmp_path / f"table.{form}"
    if form == "csv.gz":
        given.write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    elif form == "parquet":
        table.to_parquet(given)
    elif form == "folder":
        (given / "deep").mkdir(parents=True)
        table[:50].to_csv(given / "a.csv", index=False)
        table[50:].to_parquet(given / "deep" / "b.parquet")
        (given / "_SUCCESS").touch()
    elif form == "frames":
        given = (table[first : first + 11] for first in range(0, len(table), 11))
    else:
        given = [pytest.importorskip("polars").from_pandas(table)]
    assert pack(given, tmp_path / "store", config).description["digest"] == digest


BROKEN = {
    "text": ("y", 60, "high"),
    "no time": ("ds", 60, None),
    "no time at all": ("ds", 60, "soon"),
    "twice": ("ds", 61, "2024-01-03 19:00:00"),
    "off the grid": ("ds", 61, "2024-01-03 19:17:00"),
    "no series": ("unique_id", 60, None),
    "infinite": ("price", 60, "inf"),
    "weight": ("w", 60, -1),
    "static": ("shop", 60, "elsewhere"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_said_as_of_a_table_and_leaves_nothing(tmp_path, name):
    column, row, value = BROKEN[name]
    table, file = hourly().astype(object), tmp_path / "table.csv"
    table.loc[row, column] = value
    table.to_csv(file, index=False)
    panel, _ = both(lambda config: panel_from_table(read_table(file, config), config, source=str(file)), COVARIATES)
    store, _ = both(lambda config: pack(file, tmp_path / "store", config), COVARIATES)
    assert isinstance(panel, DataError)
    assert isinstance(store, DataError)
    assert str(store) == str(panel)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_a_wrong_row_of_a_later_file_is_named_by_that_file(tmp_path):
    folder, table = tmp_path / "table", hourly()
    folder.mkdir()
    table[:50].to_csv(folder / "a.csv", index=False)
    table[50:].astype({"y": object}).assign(y="much").to_csv(folder / "b.csv", index=False)
    with pytest.raises(DataError, match=re.escape(f"{folder / 'b.csv'}: row 2, column 'y' is 'much'")):
        pack(folder, tmp_path / "store")
    for wrong in ([], [hourly()[:0]], [3], tmp_path / "nowhere", tmp_path):
        with pytest.raises(DataError):
            pack(wrong, tmp_path / "store")
    zones = [hourly().assign(ds=lambda t, zone=zone: t.ds.dt.tz_localize(zone)) for zone in ("UTC", "Europe/Berlin")]
    with pytest.raises(DataError, match=r"frame 2: column 'ds' holds timestamps in Europe/Berlin, before it .* UTC"):
        pack(zones, tmp_path / "store")


def test_a_folder_is_packed_without_its_hidden_files(tmp_path):
    folder, table = tmp_path / "table", hourly(2)
    for name in ("a.CSV", ".ipynb_checkpoints/a-checkpoint.csv", "_temporary/0/b.csv", "spark.csv/part-0.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        own = table.assign(unique_id=name + table.unique_id)
        own.to_csv(folder / name, index=False)
    (folder / "c.csv.gz").with_suffix(".GZ").write_bytes(gzip.compress(table.to_csv(index=False).encode()))
    ids = pack(folder, tmp_path / "store").data.ids.tolist()
    assert ids == ["a.CSVs0", "a.CSVs1", "s0", "s1", "spark.csv/part-0.csvs0", "spark.csv/part-0.csvs1"]


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_one_frame_is_a_table(tmp_path, kind):
    table = hourly(2)[["unique_id", "ds", "y"]]
    frame = table if kind == "pandas" else nw.from_native(table).lazy(kind if kind == "polars" else None).collect(kind)
    store = pack(frame.to_native() if kind != "pandas" else frame, tmp_path / "store")
    assert store.description["digest"] == panel_digest(panel_from_table(table, DataConfig()))
    with pytest.raises(DataError, match="frame 1 is of the type 'dict': expected a DataFrame"):
        pack(table.to_dict("list"), tmp_path / "other")


def test_an_interrupt_between_the_two_renames_keeps_the_old_store(tmp_path, monkeypatch):
    path, rename = tmp_path / "store", Path.rename
    digest = pack([hourly()], path).description["digest"]

    def interrupted(self, target):
        if self.name == "new":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack([hourly(seed=1)], path, overwrite=True)
    assert Store.open(path).description["digest"] == digest


def test_gaps_are_refused_where_the_config_says_so(tmp_path):
    table = hourly().drop(index=[3, 50])
    with pytest.raises(DataError, match=r"frame 1: 2 missing time steps in 2 of 5 series, the first in series 's0' at"):
        pack([table], tmp_path / "store", DataConfig(gaps="error"))
    with pytest.warns(match="2 missing time steps"):
        store = pack([table], tmp_path / "store")
    with pytest.raises(DataError, match=r"has 2 missing time steps, and data\.gaps is 'error'"):
        store.panel(DataConfig(gaps="error"))


def test_a_store_is_replaced_only_where_asked(tmp_path):
    path = tmp_path / "store"
    first = pack([hourly()], path).description["digest"]
    with pytest.raises(ConfigError, match="exists already"):
        pack([hourly(seed=1)], path)
    with pytest.raises(DataError):  # the old store stays
        pack([hourly().assign(y="x")], path, overwrite=True)
    assert Store.open(path).description["digest"] == first
    assert pack([hourly(seed=1)], path, overwrite=True).description["digest"] != first
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(ConfigError, match="is not a store, and is not replaced"):
        pack([hourly()], tmp_path / "mine", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "store"]


def test_a_store_that_was_being_replaced_when_killed_comes_back(tmp_path):
    path, beside = tmp_path / "store", tmp_path / ".store.packing"
    digest = pack([hourly()], path).description["digest"]
    beside.mkdir()
    path.rename(beside / "old")
    with pytest.raises(ConfigError, match="exists already"):
        pack([hourly(seed=1)], path)
    assert Store.open(path).description["digest"] == digest
    assert not beside.exists()


class TestStore:
    @pytest.fixture
    def store(self, tmp_path):
        return pack([hourly()], tmp_path / "store", DataConfig(**COVARIATES, freq="60min"))

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("target_cols", ("z",), "data.target_cols is z, but .* was packed with y"),
            ("hist_exog", ("w",), "data.hist_exog is w, but .* was packed with price"),
            ("freq", "D", "data.freq is 'D', but .* was packed with '60min'"),
            ("weight_col", "v", "data.weight_col is 'v', but .* was packed with 'w'"),
            ("time_zone", "Europe/Berlin", "data.time_zone is 'Europe/Berlin', but .* was packed with None"),
            ("calendar", ("hour",), "data.calendar is hour, but .* was packed with none"),
            ("layout", "wide", "data.layout is 'wide', but .* was packed with 'long'"),
            ("futr_path", "f.csv", "data.futr_path is 'f.csv', and a store holds the known future itself"),
        ],
    )
    def test_options_that_contradict_it_are_refused(self, store, name, value, message):
        config = dataclasses.replace(DataConfig(), **{name: value})
        with pytest.raises(ConfigError, match=message):
            store.panel(config)

    def test_the_same_frequency_by_another_name_is_none(self, store):
        assert store.panel(DataConfig(freq="h")) is store.data
        assert store.settle(DataConfig()).freq == "60min"
        assert store.settle(DataConfig()).hist_exog == ("price",)

    def test_rows_packed_for_another_horizon_are_refused(self, tmp_path):
        store = pack([hourly()], tmp_path / "made", DataConfig(calendar=("hour",), h=3))
        with pytest.raises(ConfigError, match=r"data\.h is 24, but .* was packed with 3"):
            store.panel(DataConfig())

    def test_damage_is_found(self, store):
        values = np.load(store.path / "y.npy", mmap_mode="r+")
        values[3] += 1.0
        values.flush()
        with pytest.raises(DataError, match="is damaged .its SHA-256"):
            Store.open(store.path).panel(DataConfig())
        np.save(store.path / "y.npy", np.zeros((3, 1)))
        with pytest.raises(DataError, match="y.npy has 3 entries, not 110"):
            Store.open(store.path)
        (store.path / "y.npy").write_bytes(b"1")
        with pytest.raises(DataError, match="is damaged"):
            Store.open(store.path)
        (store.path / "store.json").write_text("{}")
        with pytest.raises(DataError, match=r"store\.json is damaged"):
            Store.open(store.path)
        (store.path / "store.json").write_text('{"format_version": 99}')
        with pytest.raises(DataError, match="newer lstmjax"):
            Store.open(store.path)
        with pytest.raises(DataError, match="is not a store"):
            Store.open(store.path / "nowhere")

    @pytest.mark.parametrize("value", ["lacking", "x"])
    @pytest.mark.parametrize("name", ["format_version", "digest", "schema", "form", "rows", "weight_col", "h"])
    def test_damage_of_its_description_is_found(self, store, name, value):
        file = store.path / "store.json"
        described = json.loads(file.read_text())
        if value == "lacking":
            del described[name]
        else:
            described[name] = value
        file.write_text(json.dumps(described))
        with pytest.raises((DataError, ConfigError), match="is damaged|was packed with 'x'"):
            Store.open(store.path).panel(DataConfig(**COVARIATES))
