"""Reading tables: every mistake is one line that names the file, the row and the column."""

import gzip

import numpy as np
import pandas as pd
import pytest

from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.table import DataWarning, read_table
from lstmjax.data.table_cells import number_column
from lstmjax.data.times import time_column
from lstmjax.errors import DataError

GOOD = "ds,y\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n"


def _write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is not a CSV file: it holds binary data"),
        ("a.csv", b"ds,y\n2024-01-01,\xff\xfe\xfa\n", "is not a CSV file in UTF-8, or it is damaged"),
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n  \n", "is empty"),
        ("a.csv", b"ds,y\n", "has a header and no rows"),
        ("a.csv", b"ds,y\n1,2\n1,2,3,4\n", "is not a CSV table: .*line 3"),
        ("a.csv", b"ds,y\n2024-01-01,1,\n2024-01-02,2,\n", "is not a CSV table: its rows have more fields"),
        ("a.csv.gz", b"not compressed", "is not a CSV file in UTF-8, or it is damaged"),
        ("a.csv.gz", gzip.compress(GOOD.encode(), mtime=0)[:-12], "is not a CSV file in UTF-8, or it is damaged"),
        ("a.parquet", b"no parquet", "is not a Parquet file"),
    ],
)
def test_a_file_that_is_not_a_table_is_refused_in_one_line(tmp_path, name, content, message):
    path = _write(tmp_path / name, content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: no such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path)


def test_csv_compressed_csv_and_parquet_hold_the_same_table(tmp_path):
    plain = read_table(_write(tmp_path / "a.csv", GOOD))
    packed = read_table(_write(tmp_path / "a.csv.gz", gzip.compress(GOOD.encode())))
    pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=3), "y": [1, 2, 3]}).to_parquet(tmp_path / "a.parquet")
    columns = read_table(tmp_path / "a.parquet")
    panels = [panel_from_table(table, DataConfig()) for table in (plain, packed, columns)]
    for panel in panels:
        np.testing.assert_array_equal(panel.y[:, 0], [1.0, 2.0, 3.0])
        assert panel.timestamps(np.array([0]), np.array([3]))[0] == pd.Timestamp("2024-01-04")


def test_a_missing_column_suggests_the_nearest(tmp_path):
    table = read_table(_write(tmp_path / "a.csv", "date,Demand\n2024-01-01,1\n"))
    with pytest.raises(DataError, match=r"a\.csv has no column 'demand': did you mean 'Demand'\?"):
        panel_from_table(table, DataConfig(time_col="date", target_cols=("demand",)), source="a.csv")
    with pytest.raises(DataError, match="has no column 'volume': the columns are date, Demand"):
        panel_from_table(table, DataConfig(time_col="date", target_cols=("volume",)))
    with pytest.raises(DataError, match="has no column 'shop'"):
        panel_from_table(table, DataConfig(time_col="date", target_cols=("Demand",), id_col="shop"))


def test_a_column_that_is_there_twice_is_ambiguous():
    table = pd.DataFrame([["2024-01-01", 1.0, 2.0]], columns=["ds", "y", "y"])
    with pytest.raises(DataError, match="has 2 columns called 'y'"):
        panel_from_table(table, DataConfig())


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("n/k", r"a\.csv: row 5, column 'y' is 'n/k': expected a number"),
        ("1,5", None),
        ("inf", r"a\.csv: row 5, column 'y' is inf: expected a finite number"),
        ("-inf", r"a\.csv: row 5, column 'y' is -inf: expected a finite number"),
    ],
)
def test_a_cell_that_is_not_a_number_is_named_by_row_and_column(tmp_path, cell, message):
    text = f'ds,y\n2024-01-01,1\n\n2024-01-02,2\n2024-01-03,"{cell}"\n'  # the empty line counts as row 3
    table = read_table(_write(tmp_path / "a.csv", text))
    with pytest.raises(DataError, match=message or "row 5, column 'y' is '1,5': expected a number"):
        panel_from_table(table, DataConfig(), source="a.csv")


def test_empty_cells_are_missing_and_truth_counts_as_one():
    table = pd.DataFrame(
        {
            "text": ["1.5", " ", "", "nan"],
            "truth": [True, False, None, True],
            "words": ["True", "false", None, "TRUE"],
            "nullable": pd.array([1, None, 3, 4], dtype="Int64"),
            "kinds": pd.Categorical(["1", "2", None, "1"]),
        }
    )
    found = {name: number_column(table, name, "t").tolist() for name in table}
    nan = np.nan
    np.testing.assert_array_equal(found["text"], [1.5, nan, nan, nan])
    np.testing.assert_array_equal(found["truth"], [1.0, 0.0, nan, 1.0])
    np.testing.assert_array_equal(found["words"], [1.0, 0.0, nan, 1.0])
    np.testing.assert_array_equal(found["nullable"], [1.0, nan, 3.0, 4.0])
    np.testing.assert_array_equal(found["kinds"], [1.0, 2.0, nan, 1.0])


def test_timestamps_are_not_numbers():
    table = pd.DataFrame({"ds": [1, 2], "y": pd.date_range("2024", periods=2)})
    with pytest.raises(DataError, match="column 'y' holds timestamps where numbers are expected"):
        number_column(table, "y", "t")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["2024-01-01", "soon"], "t: row 1, column 'ds' is 'soon': expected a timestamp"),
        (["2024-01-01", "2024-13-01"], "t: row 1, column 'ds' is '2024-13-01': expected a timestamp"),
        (["2024-01-01", None], "t: row 1, column 'ds' is empty: every row needs a time"),
        (["2024-01-01 00:00+01:00", "2024-01-01 00:00+02:00"], "t: column 'ds' mixes time zones"),
        (["2024-01-01 00:00Z", "2024-01-01 01:00"], "t: column 'ds' mixes time zones"),
        (["2024-01-01 00:00", "2024-01-01 01:00Z"], "t: column 'ds' mixes time zones"),
        ([1.0, 2.5], "t: row 1, column 'ds' is 2.5: expected a timestamp or a whole number"),
        ([0.0, np.inf], "t: row 1, column 'ds' is inf: expected a timestamp or a whole number"),
        ([0.0, 1e300], "t: row 1, column 'ds' is 1e.300: expected a timestamp or a whole number"),
        (np.array([0, 2**64 - 1], np.uint64), "t: row 1, column 'ds' is 18446744073709551615: expected a timestamp or"),
        (np.array([-(2**63), 0]), "t: row 0, column 'ds' is -9223372036854775808: expected a timestamp or a whole"),
        ([True, False], "t: row 0, column 'ds' is 'True': expected a timestamp"),
    ],
)
def test_a_cell_that_is_not_a_time_is_named(cells, message):
    with pytest.raises(DataError, match=message) as caught:
        time_column(pd.DataFrame({"ds": cells}), "ds", "t")
    assert "\n" not in str(caught.value)


def test_the_largest_whole_numbers_that_are_times_are_counted_without_overflow():
    table = pd.DataFrame({"unique_id": list("aaabbbccc"), "ds": [0, 1, 2**62 - 1] * 3, "y": 1.0})
    with pytest.raises(DataError, match="in steps of '1' it would have 1383505805528216371. rows, but it has 9"):
        panel_from_table(table, DataConfig())


def test_mixed_zones_in_timestamps_of_python_are_refused():
    cells = [pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-02", tz="Europe/Berlin")]
    with pytest.raises(DataError, match="mixes time zones"):
        time_column(pd.DataFrame({"ds": pd.Series(cells, dtype=object)}), "ds", "t")


@pytest.mark.parametrize(
    "cells",
    [
        ["2024-01-02", "2024-01-02 00:30"],
        ["31.01.2024 00:00", "31.01.2024 00:30"],
        ["2024-01-02T00:00:00.000", "2024-01-02T00:30:00.000"],
    ],
)
def test_common_forms_of_timestamps_are_read(cells):
    times = time_column(pd.DataFrame({"ds": cells}), "ds", "t")
    assert np.diff(times.wall).tolist() == [30 * 60 * 1_000_000]


def test_offsets_become_a_time_zone():
    times = time_column(pd.DataFrame({"ds": ["2024-01-01 02:00+02:00", "2024-01-01 03:00+02:00"]}), "ds", "t")
    assert (times.wall - times.utc).tolist() == [7_200_000_000] * 2
    assert times.zone == "UTC+02:00"


def test_rows_out_of_order_are_sorted_and_named(hourly):
    table = hourly(5).iloc[[0, 2, 1, 3, 4]].reset_index(drop=True)
    with pytest.warns(DataWarning, match="the table: row 2 is before the row above it: sorted by 'ds'"):
        panel = panel_from_table(table, DataConfig())
    np.testing.assert_array_equal(panel.y[:, 0], np.arange(5.0))


def test_a_time_that_occurs_twice_is_named_with_both_rows(hourly):
    table = pd.concat([hourly(4), hourly(4).iloc[[1]]], ignore_index=True)
    with (
        pytest.warns(DataWarning, match="row 4 is before the row above it"),
        pytest.raises(DataError, match=r"row 4 has the same time as row 1 of series 'series'.*data.id_col"),
    ):
        panel_from_table(table, DataConfig())
    named = pd.concat([hourly(3, unique_id="a"), hourly(3, unique_id="b"), hourly(1, unique_id="b")], ignore_index=True)
    named.loc[6, "ds"] = named.loc[5, "ds"]
    with pytest.raises(
        DataError, match=r"the table: row 6 has the same time as row 5 of series 'b': keep one of them$"
    ):
        panel_from_table(named, DataConfig())
