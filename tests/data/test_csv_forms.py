"""CSV files of other forms, and messages that name what is in a table: lines, empty cells, frequencies."""

import numpy as np
import pandas as pd
import pytest

from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.frequency import parse_frequency
from lstmjax.data.table import DataWarning, read_table
from lstmjax.errors import ConfigError, DataError

NAN = np.nan


@pytest.mark.parametrize(
    ("sep", "number", "said"),
    [
        (";", "1,5", "data.sep ';', and data.decimal ','"),
        (";", "1.5", "is separated by ';': give data.sep ';'$"),
        ("\t", "1,5", r"data.sep '\\t' \(a tab\), and data.decimal ','"),
        ("|", "1.5", r"data.sep '\|'$"),
    ],
)
def test_another_separator_and_a_decimal_comma_are_named_with_their_options(tmp_path, sep, number, said):
    path = tmp_path / "a.csv"
    path.write_text(
        "\n".join(sep.join(row) for row in (["ds", "y"], *([f"2024-01-0{day}", number] for day in range(1, 5))))
    )
    with pytest.raises(DataError, match=said):
        read_table(path)
    options = DataConfig(sep="\\t" if sep == "\t" else sep, decimal="," if "," in number else ".")
    np.testing.assert_array_equal(panel_from_table(read_table(path, options), options).y[:, 0], [1.5] * 4)


def test_a_decimal_comma_between_quotes_is_named(tmp_path):
    (tmp_path / "a.csv").write_text('ds,y\n2024-01-01,"1,5"\n')
    with pytest.raises(DataError, match=r"row 2, column 'y' is '1,5': expected a number; .* data.decimal ','"):
        panel_from_table(read_table(tmp_path / "a.csv"), DataConfig())


@pytest.mark.parametrize("options", [{"sep": ",", "decimal": ","}, {"sep": ""}, {"sep": "::"}, {"decimal": ""}])
def test_marks_that_cannot_be_are_refused(options):
    with pytest.raises(ConfigError, match=r"data\.(sep|decimal)"):
        DataConfig(**options)


@pytest.mark.parametrize(
    ("index", "label"),
    [
        (range(5), "3"),
        (list("abcde"), "d"),
        (pd.date_range("2020", periods=5), "2020-01-04 00:00:00"),
        (pd.MultiIndex.from_product([["x"], range(5)]), "x, 3"),
        ([9, 9, 7, 1, 1], "1"),
    ],
)
def test_rows_of_a_data_frame_are_named_by_their_labels(index, label):
    table = pd.DataFrame({"ds": range(5), "y": ["1", "2", "3", "n/k", "5"]}, index=index)
    with pytest.raises(DataError, match=f"row {label}, column 'y' is 'n/k'"):
        panel_from_table(table, DataConfig())


def test_times_in_the_index_name_the_rows():
    table = pd.DataFrame({"y": ["1", "n/k"]}, index=pd.DatetimeIndex(["2024-01-01", "2024-01-02"], name="ds"))
    with pytest.raises(DataError, match="row 2024-01-02 00:00:00, column 'y' is 'n/k'"):
        panel_from_table(table, DataConfig())


def days(y, **columns):
    return pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=len(y)), "y": y, **columns})


@pytest.mark.parametrize(
    ("table", "config", "said"),
    [
        (days([1, NAN, NAN, 4.0]), {}, "the table: 2 empty cells: 2 in column 'y': masked"),
        (days([NAN, 2, 3.0]), {}, "the table: 1 empty cell: 1 in column 'y': masked"),
        (days([1, 2, 3.0], x=[NAN, 1, 1]), {"hist_exog": ("x",)}, "1 empty cell: 1 in column 'x'"),
        (
            days([1, 2, NAN, 4], x=[NAN, 1, 1, 1]),
            {"futr_exog": ("x",)},
            "2 empty cells: 1 in column 'y', 1 in column 'x'",
        ),
        (
            days([1, 2, NAN, NAN]),
            {},
            "the last 2 rows of 1 of 1 series .*: the forecast begins there: 'series' at 2024-01-03",
        ),
        (days([1, 2, NAN], x=[1, 1, NAN]), {"futr_exog": ("x",)}, "the last 1 row of 1 of 1 series"),
        (
            days([1, 2, NAN], z=[1, NAN, NAN]),
            {"layout": "wide", "target_cols": ("y", "z")},
            "the last 3 rows of 2 of 2 series .* 'y' at 2024-01-03, 'z' at 2024-01-02",
        ),
        (
            days([1, NAN, 3], z=[1, 2, NAN]),
            {"target_cols": ("y", "z")},
            "2 empty cells: 1 in column 'y', 1 in column 'z'",
        ),
    ],
)
def test_empty_cells_are_counted_and_those_at_the_end_say_when_the_forecast_begins(table, config, said):
    with pytest.warns(DataWarning, match=said) as told:
        panel_from_table(table, DataConfig(**config))
    assert all("\n" not in str(warning.message) for warning in told)


@pytest.mark.parametrize(
    ("table", "config"),
    [
        (days([1, 2, 3.0], other=[NAN] * 3), {}),
        (days([1, 2, NAN], x=[1, 1, 1]), {"futr_exog": ("x",)}),
        (days([1, 2, 3.0], x=[1, NAN, NAN]), {"stat_exog": ("x",)}),
    ],
)
def test_cells_that_may_be_empty_are_no_reason_to_warn(table, config):
    panel_from_table(table, DataConfig(**config))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("M", "ME"),
        ("H", "h"),
        ("T", "min"),
        ("15T", "15min"),
        ("Q", "QE"),
        ("A", "YE"),
        ("Y", "YE"),
        ("2H", "2h"),
        ("S", "s"),
        ("Q-DEC", "QE-DEC"),
        ("A-JUN", "YE-JUN"),
        ("BM", "BME"),
        ("AS", "YS"),
        ("AS-OCT", "YS-OCT"),
        ("30S", "30s"),
        ("L", "ms"),
    ],
)
def test_an_old_alias_is_answered_by_the_new_one(old, new):
    with pytest.raises(ConfigError, match=f"data.freq is '{old}': pandas calls this frequency {new} now"):
        parse_frequency(old)
    if new not in ("ms",):
        parse_frequency(new)


@pytest.mark.parametrize("alias", ["D", "B", "W", "MS", "QS", "YS", "W-MON", "h", "min"])
def test_aliases_that_are_still_used_are_read(alias):
    assert parse_frequency(alias).text == alias


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([f"{year}-07-04" for year in range(2000, 2012)], "on the 4th of July of each year"),
        (pd.date_range("2020-01-01", periods=24, freq="MS") + pd.Timedelta(days=9), "on day 10 of each month"),
        (pd.date_range("2000-01-01", periods=24, freq="QS") + pd.Timedelta(days=14), "on day 15 of each month"),
        ([f"{year}-12-23" for year in range(2000, 2012)], "on the 23rd of December of each year"),
    ],
)
def test_rows_on_one_day_of_each_month_or_year_are_refused_with_what_is_supported(times, said):
    with pytest.raises(DataError, match=f"{said}, which is no frequency: supported are .*MS, ME"):
        panel_from_table(pd.DataFrame({"ds": times, "y": 1.0}), DataConfig())


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["900", "1.000", "2.500"], "row 3, column 'y' is '1.000': expected a number; the decimal mark is ','"),
        (["900,5", "1.000,5", "800,5"], "row 3, column 'y' is '1.000,5': expected a number; the decimal mark is ','"),
        (["0,5", "1,5", "x"], "row 4, column 'y' is 'x': expected a number$"),
    ],
)
def test_cells_of_a_column_with_decimal_commas_are_refused_where_they_are_wrong(tmp_path, cells, said):
    path = tmp_path / "t.csv"
    days = pd.date_range("2024-01-01", periods=len(cells)).strftime("%Y-%m-%d")
    path.write_text("ds;y\n" + "".join(f"{day};{cell}\n" for day, cell in zip(days, cells, strict=True)))
    options = DataConfig(sep=";", decimal=",")
    with pytest.raises(DataError, match=said):
        panel_from_table(read_table(path, options), options, source="t")


def test_a_covariate_with_decimal_commas_and_a_mistake_holds_no_categories(tmp_path):
    path = tmp_path / "t.csv"
    days = pd.date_range("2024-01-01", periods=9).strftime("%Y-%m-%d")
    path.write_text(
        "ds;y;x\n" + "".join(f"{day};{row};{'?' if row == 4 else f'{row},5'}\n" for row, day in enumerate(days))
    )
    options = DataConfig(sep=";", decimal=",", hist_exog=("x",))
    with pytest.raises(DataError, match=r"row 6, column 'x' is '\?': expected a number"):
        panel_from_table(read_table(path, options), options, source="t")
