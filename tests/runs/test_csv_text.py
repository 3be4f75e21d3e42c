"""CSV text that is made part by part: byte for byte what pandas writes of the whole table."""

import csv
import itertools

import numpy as np
import pandas as pd
import pytest

from lstmjax.runs.csv_text import csv_text
from lstmjax.runs.table_file import replace_table, texts_of

ROWS = 26_000  # more than pandas formats at once
RANDOM = np.random.default_rng(0)
SOME = pd.Series(["a", "b,c", 'd"e', "f\ng", " h", "", "é", "NA", "007"])


def table(**columns):
    names = pd.Series(SOME.to_numpy()[np.sort(RANDOM.integers(len(SOME), size=ROWS))])
    numbers = RANDOM.normal(size=ROWS) * 10.0 ** RANDOM.integers(-320, 300, ROWS)
    numbers[::7] = np.nan
    few = RANDOM.choice([0.0, -0.0, 1.0, 1e16, 1e15, 1e-5, 1e-4, np.inf, -np.inf, 0.1, 123456789.125], ROWS)
    return pd.DataFrame({"unique_id": names, "y": numbers, "lstm": few, **columns})


TABLES = {
    "text and numbers": {},
    "whole numbers": {"n": RANDOM.integers(-9, 9, ROWS)},
    "days": {"ds": pd.date_range("2024-01-01", periods=ROWS)},
    "hours": {"ds": pd.date_range("2024-01-01", periods=ROWS, freq="h")},
    "days and an hour": {
        "ds": pd.date_range("1900-01-01", periods=ROWS).where(np.arange(ROWS) < ROWS - 5, "2020-01-01 01:00")
    },
    "microseconds": {"ds": pd.date_range("2024-01-01", periods=ROWS, freq="us")},
    "a zone": {"ds": pd.date_range("2024-01-01", periods=ROWS, freq="h", tz="Europe/Berlin")},
    "float32": {"x": RANDOM.normal(size=ROWS).astype(np.float32)},
    "truth values": {"x": RANDOM.random(ROWS) < 0.5},
    "objects": {"x": pd.Series([1, "a"] * (ROWS // 2), dtype=object)},
    "empty text": {"x": pd.Series(["a", None] * (ROWS // 2))},
    "categories": {"x": pd.Series(["a", "b"] * (ROWS // 2), dtype="category")},
}


@pytest.mark.parametrize(("name", "quoted"), [("hours", True), *((name, False) for name in TABLES)])
def test_the_text_is_that_of_pandas(name, quoted):
    columns = TABLES[name]
    whole = table(**columns)
    expected = whole.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC if quoted else csv.QUOTE_MINIMAL)
    cuts = [0, 0, 1, 11_111, 11_111, ROWS]
    parts = [whole.iloc[first:last] for first, last in itertools.pairwise(cuts)]
    assert "".join(csv_text(parts, quoted=quoted)) == expected


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_small_tables(rows):
    for whole in (table().iloc[:rows], pd.DataFrame({"only": ["", "a", "b"]}).iloc[:rows]):
        assert "".join(csv_text([whole], quoted=False)) == whole.to_csv(index=False)


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("name", ["test_forecasts.csv.gz", "forecast.csv"])
def test_a_file_of_parts_has_the_bytes_of_one_of_the_whole(tmp_path, name, form):
    whole = table(ds=pd.date_range("2024-01-01", periods=ROWS, freq="h"))
    (one := tmp_path / "one").mkdir()
    (other := tmp_path / "other").mkdir()
    (other / (name if form == "parquet" else f"{name.split('.')[0]}.parquet")).write_text("of an earlier run")
    replace_table([whole], one, name, form, texts=texts_of(whole))
    replace_table((whole.iloc[at : at + 9999] for at in range(0, ROWS, 9999)), other, name, form, texts=texts_of(whole))
    (written,) = other.iterdir()
    if form == "csv":
        assert written.read_bytes() == (one / name).read_bytes()
    else:
        pd.testing.assert_frame_equal(pd.read_parquet(written), whole, check_exact=True)
