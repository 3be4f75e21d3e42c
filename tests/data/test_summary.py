"""`lstmjax check` and `Forecaster.check`: what is understood of a table, without training."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars
import pytest

import lstmjax
from lstmjax.cli import main
from lstmjax.data.build import panel_from_table
from lstmjax.data.prepare import prepare
from lstmjax.data.summary import as_text, header, summarize
from lstmjax.errors import DataError

OPTIONS = {"h": 4, "input_size": 8, "futr_exog": ("price", "promo"), "calendar": ("weekday",), "stat_exog": ("size",)}
FLAGS = ["--data.h", "4", "--data.input-size", "8", "--data.futr-exog", "price", "promo", "--data.calendar", "weekday"]
FLAGS += ["--data.stat-exog", "size"]


@pytest.fixture
def table():
    days = pd.date_range("2024-01-01", periods=60)
    frame = pd.DataFrame(
        {
            "unique_id": ["001"] * 60 + ["002"] * 60 + ["003"] * 9,
            "ds": [*days, *days, *days[-9:]],
            "y": [*np.sin(np.arange(60)), *np.full(60, 3.0), *np.arange(9.0)],
            "price": np.arange(129.0),
            "promo": ["yes", "no", "no"] * 43,
            "size": [1] * 60 + [2] * 60 + [3] * 9,
            "remark": "-",
        }
    )
    frame.loc[5:8, "y"] = np.nan
    return frame.drop(index=[70, 71]).reset_index(drop=True)


def test_the_command_and_the_method_say_the_same(table, tmp_path, capsys, monkeypatch):
    path = tmp_path / "shops.csv"
    table.to_csv(path, index=False)
    before = set(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    main(["check", str(path), *FLAGS, "--json"])
    said = json.loads(capsys.readouterr().out)
    found = lstmjax.Forecaster(
        lstmjax.RunConfig().replace({f"data.{name}": value for name, value in OPTIONS.items()})
    ).check(table)
    assert set(tmp_path.iterdir()) == before
    for warning, other in zip(said.pop("warnings"), found.pop("warnings"), strict=True):
        assert warning.replace(str(path), "the table") == other
    assert said.pop("table") == str(path)
    assert found.pop("table") == "the table"
    assert said == found
    assert found["rows"] == 127
    assert found["series"] == 3
    assert found["ids"] == ["001", "002", "003"]
    assert (found["freq"], found["time_zone"]) == ("D", None)
    assert (found["first"], found["last"]) == ("2024-01-01 00:00:00", "2024-02-29 00:00:00")
    assert found["missing_steps"] == 2
    assert found["empty_cells"] == {"y": 4}
    assert found["constant_series"] == ["002"]
    assert found["short_series"] == ["003"]
    assert found["roles"]["known ahead"] == ["price", "promo"]
    assert found["roles"]["categories"] == {"promo": ["yes", "no"]}
    assert found["unused_columns"] == ["remark"]
    assert found["windows"]["test"] == 2 * (12 - 4 + 1)
    assert found["parts"]["test"]["rows"] == 24
    assert found["parts"]["training"]["first"] == "2024-01-01 00:00:00"


def test_it_fits_on_one_screen(table, tmp_path, capsys):
    table.to_csv(tmp_path / "shops.csv", index=False)
    main(["check", str(tmp_path / "shops.csv"), *FLAGS])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    text = "\n".join(lines)
    for part in (
        "127",
        "3 (001, 002, 003)",
        "every D",
        "missing time steps",
        "4 in 'y'",
        "price, promo",
        "yes, no",
        "window",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("ds,y\n01/02/2024,1\n01/03/2024,2\n", "data.time_format"),
        ("ds;y\n2024-01-01;1,5\n", "data.sep ';', and data.decimal ','"),
        ("ds,y\n2024-01-01,1\n2024-01-01,2\n", "row 3 has the same time as row 2"),
        ("ds,y\n2024-01-01,1\n2024-01-02,2\n", "no series has a whole training window|leave nothing to train on"),
        ("", "is empty"),
    ],
)
def test_a_table_that_cannot_be_used_ends_with_status_2_and_one_line(tmp_path, capsys, content, said):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(SystemExit) as ended:
        main(["check", str(tmp_path / "a.csv")])
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("lstmjax: error: ")
    assert __import__("re").search(said, line)
    assert [path.name for path in Path(tmp_path).iterdir()] == ["a.csv"]


def test_a_forecaster_that_is_trained_or_not_checks_any_frame(table):
    forecaster = lstmjax.Forecaster(lstmjax.RunConfig().replace({"data.h": 4, "data.input_size": 8}))
    assert forecaster.check(polars.from_pandas(table)) == forecaster.check(table)
    assert forecaster._fitted is None
    with pytest.raises(DataError, match="expected a DataFrame"):
        forecaster.check({"ds": [1]})


@pytest.mark.filterwarnings("ignore:.*empty")
def test_suspicious_times_and_empty_ends_are_listed():
    early = pd.date_range("1969-12-25", periods=40).append(pd.date_range("1970-01-01", periods=40))
    frame = pd.DataFrame(
        {"unique_id": ["a"] * 40 + ["b"] * 40, "ds": early, "y": np.r_[np.arange(78.0), np.nan, np.nan]}
    )
    found = summarize(frame, lstmjax.config.DataConfig(h=4, input_size=8))
    assert found["suspicious_times"] == ["series 'b': 1970-01-01 00:00:00"]
    assert found["rows_without_target_at_the_end"] == 2
    assert "2 rows" in as_text(found)
    numbers = pd.DataFrame({"ds": range(50), "y": np.arange(50.0)})
    assert "whole numbers" in as_text(summarize(numbers, lstmjax.config.DataConfig(h=4, input_size=8)))


def test_the_header_counts_no_rows_that_only_the_calendar_knows():
    frame = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=100, freq="h"), "y": np.sin(np.arange(100.0))})
    data = lstmjax.config.DataConfig(h=36, input_size=8, val_size=36, test_size=0, calendar=("hour",))
    line = header(prepare(panel_from_table(frame, data), data, with_test=False))
    assert line.startswith("100 rows, 1 series, every h, 2024-01-01 00:00:00 to 2024-01-05 03:00:00; windows: ")


def test_names_with_line_breaks_and_escapes_leave_one_line_per_fact():
    name = "a\nb\x1b[31m"
    table = pd.DataFrame({"unique_id": name, "ds": range(60), "y": np.ones(60), "x\ty": "p\rq"})
    config = lstmjax.config.DataConfig(h=4, input_size=8, stat_exog=("x\ty",))
    text = as_text(summarize(table, config))
    assert all(line.isprintable() for line in text.split("\n"))
    assert "a\\nb\\x1b[31m" in text
