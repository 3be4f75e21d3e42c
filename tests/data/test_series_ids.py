"""A series is known by its name, whatever type its column has, and gets it back in that type."""

import json

import numpy as np
import pandas as pd
import polars
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lstmjax
from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.frames import forecast_frame
from lstmjax.data.origins import forecast_windows
from lstmjax.data.panel import Panel
from lstmjax.data.series_ids import id_text, known_ids
from lstmjax.data.table import DataWarning, read_table

NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=8)
IDS = st.one_of(
    st.lists(NAMES.filter(lambda name: name.strip()), min_size=1, max_size=5, unique=True),
    st.lists(
        st.sampled_from(["007", "7", "NA", "nan", "None", "null", "1e5", "0x1", "True", "-0", "+3", "1_000"]),
        min_size=1,
        unique=True,
    ),
    st.lists(st.integers(-(2**53), 2**53), min_size=1, max_size=5, unique=True),
)


def table_of(ids):
    times = pd.date_range("2024-01-01", periods=3)
    parts = [pd.DataFrame({"unique_id": [name] * 3, "ds": times, "y": [1.0, 2.0, 3.0]}) for name in ids]
    return pd.concat(parts, ignore_index=True)


def ids_of(table):
    return panel_from_table(table, DataConfig()).ids.tolist()


@given(ids=IDS)
def test_identifiers_survive_csv_parquet_and_json(ids, tmp_path_factory):
    folder, table, names = tmp_path_factory.mktemp("ids"), table_of(ids), [str(name) for name in ids]
    table.to_csv(folder / "a.csv", index=False)
    table.to_csv(folder / "b.csv", index=False, sep=";", decimal=",")
    table.to_parquet(folder / "a.parquet")
    assert ids_of(table) == names
    assert ids_of(read_table(folder / "a.csv")) == names
    assert ids_of(read_table(folder / "b.csv", DataConfig(sep=";", decimal=","))) == names
    assert ids_of(read_table(folder / "a.parquet")) == names
    assert ids_of(pd.DataFrame(json.loads(table.assign(ds=table["ds"].astype(str)).to_json(orient="records")))) == names
    arrays, metadata = panel_from_table(table, DataConfig()).to_arrays()
    again = Panel.from_arrays(arrays, json.loads(json.dumps(metadata)))
    assert again.ids.tolist() == names
    assert again.id_column(np.arange(len(ids))).tolist() == ids


COLUMNS = {
    "int64": pd.Series([7, 12]),
    "int32": pd.Series([7, 12], dtype="int32"),
    "uint8": pd.Series([7, 12], dtype="uint8"),
    "Int64": pd.Series([7, 12], dtype="Int64"),
    "float64": pd.Series([7.0, 12.0]),
    "text": pd.Series(["007", "NA"]),
    "object": pd.Series(["007", "NA"], dtype=object),
    "mixed": pd.Series([7, "b"], dtype=object),
    "category": pd.Series(["a", "b"], dtype="category"),
    "numbers in categories": pd.Series([7, 12], dtype="category"),
    "arrow text": pd.Series(["a", "b"], dtype="string[pyarrow]"),
    "arrow numbers": pd.Series([7, 12], dtype=pd.ArrowDtype(pyarrow.int64())),
    "bool": pd.Series([True, False]),
    "date": pd.Series(pd.to_datetime(["2024-01-01", "2025-01-01"])),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_forecasts_have_the_identifiers_of_the_frame_that_was_given(kind):
    table = table_of(["a", "b"])
    table["unique_id"] = COLUMNS[kind].take([0, 0, 0, 1, 1, 1]).reset_index(drop=True)
    panel = panel_from_table(table, DataConfig())
    frame = forecast_frame(panel, forecast_windows(panel), {"lstm": np.zeros((2, 1, 1))}, cutoff=False)
    assert frame["unique_id"].dtype == table["unique_id"].dtype
    merged = table.merge(frame, on="unique_id")
    assert len(merged) == 6
    arrays, metadata = panel.to_arrays()
    again = Panel.from_arrays(arrays, json.loads(json.dumps(metadata)))
    assert again.ids.tolist() == panel.ids.tolist()
    assert again.id_column(np.arange(2)).dtype == table["unique_id"].dtype


@pytest.mark.filterwarnings("ignore:.*is before the row above it")
def test_whole_numbers_are_one_name_in_any_column():
    names = [id_text(label) for label in (7, 7.0, np.int8(7), np.float32(7), "7")]
    assert names == ["7"] * 5
    with pytest.raises(lstmjax.errors.DataError, match="has the same time"):
        panel_from_table(table_of([7, "7"]), DataConfig())


def test_identifiers_of_a_csv_that_are_empty_are_named_by_line(tmp_path):
    (tmp_path / "a.csv").write_text("unique_id,ds,y\na,2024-01-01,1\n\n,2024-01-02,2\n")
    with pytest.raises(lstmjax.errors.DataError, match="row 4, column 'unique_id' is empty"):
        ids_of(read_table(tmp_path / "a.csv"))


def test_most_unseen_series_are_reported():
    known = np.array(["a", "b", "c"], object)
    with pytest.warns(
        DataWarning, match=r"t: 2 of 3 series were not trained on \('x', 'y'; those that were: 'a', 'b', 'c'\)"
    ):
        known_ids(known, "str", np.array(["a", "x", "y"], object), "str", "t")
    assert known_ids(known, "str", np.array(["a", "x"], object), "str", "t").tolist() == ["a", "x"]


@pytest.mark.parametrize(
    ("trained", "new", "found"),
    [
        ((["007", "012"], "str"), ([7, 12], "int64"), ["007", "012"]),
        (([7, 12], "int64"), (["007", "12"], "str"), ["7", "12"]),
        (([7.0, 12.0], "float64"), (["7.0", "12.0"], "str"), ["7", "12"]),
        ((["007", "07"], "str"), ([7], "int64"), ["7"]),
        ((["007"], "str"), (["7"], "str"), ["7"]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*not trained on")
def test_only_columns_of_numbers_are_matched_without_leading_zeros(trained, new, found, recwarn):
    ids = known_ids(np.array(trained[0], object), trained[1], np.array(new[0], object), new[1], "t")
    assert ids.tolist() == found
    said = [str(warning.message) for warning in recwarn]
    matched = found != [id_text(label) for label in new[0]]
    assert any("taken for those that were trained on by their number" in line for line in said) == matched


CONFIG = lstmjax.RunConfig().replace(
    {
        "data.h": 2,
        "data.input_size": 4,
        "data.val_size": 4,
        "data.test_size": 10,
        "train.max_steps": 2,
        "model.hidden_size": 4,
    }
)


def shops(*names):
    days = pd.date_range("2024-01-01", periods=40)
    parts = [pd.DataFrame({"unique_id": name, "ds": days, "y": np.sin(np.arange(40.0)) + 5}) for name in names]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def trained():
    return lstmjax.Forecaster(CONFIG).fit(shops("007", "012"))


def test_a_table_by_csv_has_the_same_test_windows(trained, tmp_path):
    table = shops("007", "012")
    table.to_csv(tmp_path / "a.csv", index=False)
    right = trained.evaluate(table)
    found = trained.evaluate(read_table(tmp_path / "a.csv"))
    pd.testing.assert_frame_equal(found, right)
    with pytest.warns(DataWarning, match="'7' for '007', '12' for '012': read the column of identifiers as text"):
        numbers = trained.evaluate(pd.read_csv(tmp_path / "a.csv"))
    assert numbers["unique_id"].unique().tolist() == [7, 12]
    np.testing.assert_array_equal(numbers["lstm"], right["lstm"])


def test_one_series_without_a_name_is_the_only_one_and_that_is_said():
    one = shops(1)
    forecaster = lstmjax.Forecaster(CONFIG).fit(one)
    with pytest.warns(DataWarning, match="has no column 'unique_id': its rows are taken for those of series '1'"):
        found = forecaster.evaluate(one.drop(columns="unique_id"))
    pd.testing.assert_frame_equal(found, forecaster.evaluate(one))
    unnamed = lstmjax.Forecaster(CONFIG).fit(one.drop(columns="unique_id"))
    unnamed.evaluate(one.drop(columns="unique_id"))
    with pytest.warns(DataWarning, match=r"1 of 1 series were not trained on \('1'; those that were: 'series'\)"):
        unnamed.predict(one)


@pytest.mark.parametrize(
    "kind", [polars.from_pandas, pyarrow.Table.from_pandas, lambda table: polars.from_pandas(table).lazy()]
)
@pytest.mark.parametrize("names", [("a", "b"), (7, 12)])
def test_frames_of_other_libraries_come_back_in_their_kind(kind, names):
    table = shops(*names)
    forecaster = lstmjax.Forecaster(CONFIG).fit(kind(table))
    own = lstmjax.Forecaster(CONFIG).fit(table)
    expected = pyarrow.Table if isinstance(kind(table), pyarrow.Table) else polars.DataFrame
    for found, right in (
        (forecaster.predict(), own.predict()),
        (forecaster.predict(kind(table)), own.predict(table)),
        (forecaster.evaluate(kind(table)), own.evaluate(table)),
    ):
        assert isinstance(found, expected)
        frame = found.to_pandas()
        pd.testing.assert_frame_equal(frame, right, check_dtype=False)
    assert isinstance(forecaster.predict(table), pd.DataFrame)
    assert isinstance(own.predict(kind(table)), expected)
    if expected is polars.DataFrame:
        joined = polars.from_pandas(table).join(forecaster.predict(), on="unique_id")
        assert len(joined) == len(table) * 2


@pytest.mark.parametrize("ds", [polars.Date, polars.Datetime("ns"), polars.Datetime("ms")], ids=str)
@pytest.mark.parametrize("name", [polars.Categorical, polars.Enum(["007", "012"]), polars.String], ids=str)
def test_results_of_polars_can_be_joined_on_series_and_time(trained, ds, name):
    frame = polars.from_pandas(shops("007", "012"))
    frame = frame.with_columns(polars.col("ds").cast(ds), polars.col("unique_id").cast(name))
    found = trained.evaluate(frame)
    joined = found.join(frame, on=["unique_id", "ds"], suffix="_given")
    assert len(joined) == len(found)
    assert (joined["y"] == joined["y_given"]).all()
    assert trained.predict(frame).schema["ds"] == ds


@pytest.mark.parametrize(
    "given", [{"ds": [1], "y": [1.0]}, [1, 2], None, 3.0, np.zeros(3), pd.Series([1.0]), "table.csv"]
)
def test_what_is_no_table_is_refused_in_one_line(given):
    with pytest.raises(lstmjax.errors.DataError, match="expected a DataFrame of pandas, polars or pyarrow") as caught:
        lstmjax.Forecaster(CONFIG).fit(given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "index",
    [
        *(["ds"], ["unique_id"], ["unique_id", "ds"], ["y"]),
    ],
)
@pytest.mark.parametrize("drop", [True, False])
def test_an_index_may_have_the_name_of_a_column(index, drop):
    table = shops("a", "b")
    if index == ["y"] and drop:
        return
    panel = panel_from_table(table.set_index(index, drop=drop), DataConfig())
    right = panel_from_table(table, DataConfig())
    np.testing.assert_array_equal(panel.y, right.y)
    assert panel.ids.tolist() == right.ids.tolist()
    assert panel.start.tolist() == right.start.tolist()
