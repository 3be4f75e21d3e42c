"""Panels: layouts, gaps, the known future, static covariates, and the round trip through arrays."""

import dataclasses
import json
import time
import warnings

import numpy as np
import pandas as pd
import pytest

from lstmjax.config import DataConfig
from lstmjax.data.build import panel_from_table
from lstmjax.data.future import require_future
from lstmjax.data.panel import Panel, check_compatible
from lstmjax.data.table import DataWarning
from lstmjax.errors import ConfigError, DataError

pytestmark = pytest.mark.filterwarnings("ignore:.*empty cell.*masked", "ignore:.*the forecast begins there")


NAN = np.nan


def _same(left: Panel, right: Panel) -> None:
    for field in dataclasses.fields(Panel):
        np.testing.assert_array_equal(getattr(left, field.name), getattr(right, field.name), err_msg=field.name)


def test_series_of_different_lengths_lie_end_to_end_in_order_of_appearance():
    table = pd.DataFrame(
        {
            "shop": ["b", "a", "b", "a", "b"],
            "day": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-02", "2024-01-03", "2024-01-03"]),
            "sales": [1.0, 10.0, 2.0, 20.0, 3.0],
            "guests": [5, 6, 7, 8, 9],
            "promo": [True, False, True, True, False],
            "size": [3, 4, 3, 4, 3],
            "remark": list("vwxyz"),
        }
    )
    config = DataConfig(
        id_col="shop",
        time_col="day",
        target_cols=("sales", "guests"),
        futr_exog=("promo",),
        stat_exog=("size",),
    )
    panel = panel_from_table(table, config)
    assert panel.ids.tolist() == ["b", "a"]
    assert panel.offsets.tolist() == [0, 3, 5]
    np.testing.assert_array_equal(panel.y, [[1, 5], [2, 7], [3, 9], [10, 6], [20, 8]])
    np.testing.assert_array_equal(panel.futr[:, 0], [1, 1, 0, 0, 1])
    np.testing.assert_array_equal(panel.stat, [[3], [4]])
    assert panel.hist.shape == (5, 0)
    assert panel.timestamps(np.array([1, 1, 0]), np.array([0, 9, 2])).astype(str).tolist() == [
        "2024-01-02",
        "2024-01-11",
        "2024-01-03",
    ]


def test_each_target_of_a_wide_table_is_a_series_and_covariates_are_shared(hourly):
    table = hourly(4, load=[5.0, 6, NAN, 8], wind=[0.1, 0.2, 0.3, 0.4])
    panel = panel_from_table(table, DataConfig(layout="wide", target_cols=("load", "y"), futr_exog=("wind",)))
    assert panel.ids.tolist() == ["load", "y"]
    np.testing.assert_array_equal(panel.y[:, 0], [5, 6, NAN, 8, 0, 1, 2, 3])
    np.testing.assert_array_equal(panel.futr[:, 0], [0.1, 0.2, 0.3, 0.4] * 2)
    assert panel.schema.channels == ("y",)


def test_one_series_without_an_id_column_is_named_by_the_caller(hourly):
    assert panel_from_table(hourly(), DataConfig(), series_id="demand").ids.tolist() == ["demand"]
    indexed = hourly().set_index("ds")
    _same(panel_from_table(indexed, DataConfig()), panel_from_table(hourly(), DataConfig()))


def test_an_empty_identifier_is_named(hourly):
    with pytest.raises(DataError, match="row 1, column 'unique_id' is empty"):
        panel_from_table(hourly(2, unique_id=["a", None]), DataConfig())


def test_a_table_without_rows_is_refused(hourly):
    with pytest.raises(DataError, match="the table has no rows"):
        panel_from_table(hourly(0), DataConfig())


def test_a_gap_is_masked_with_its_counts_or_refused():
    times = pd.date_range("2024-01-01", periods=8, freq="h")
    table = pd.DataFrame({"unique_id": ["a"] * 8 + ["b"] * 8, "ds": times.append(times), "y": np.arange(16.0)})
    table = table.drop(index=[2, 3, 9])
    message = (
        r"the table: 3 missing time steps in 2 of 2 series, the first in series 'a' at 2024-01-01 02:00:00: masked"
    )
    with pytest.warns(DataWarning, match=message):
        panel = panel_from_table(table, DataConfig())
    np.testing.assert_array_equal(panel.y[:, 0], [0, 1, NAN, NAN, 4, 5, 6, 7, 8, NAN, 10, 11, 12, 13, 14, 15])
    with pytest.raises(DataError, match='3 missing time steps .*: complete the table, or set data.gaps to "mask"'):
        panel_from_table(table, DataConfig(gaps="error"))


def test_a_missing_value_at_the_start_stays_and_those_at_the_end_are_the_future(hourly):
    panel = panel_from_table(hourly(6, x=[1.0, NAN, 3, 4, 5, 6]).assign(y=[NAN, 1, NAN, 3, NAN, NAN]), DataConfig())
    np.testing.assert_array_equal(panel.y[:, 0], [NAN, 1, NAN, 3, NAN, NAN])
    assert panel.observed.tolist() == [4]


def test_a_missing_covariate_is_never_filled(hourly):
    panel = panel_from_table(
        hourly(3, x=[1.0, NAN, 3], z=[NAN, 2, 3.0]), DataConfig(futr_exog=("x",), hist_exog=("z",))
    )
    np.testing.assert_array_equal(panel.futr[:, 0], [1, NAN, 3])
    np.testing.assert_array_equal(panel.hist[:, 0], [NAN, 2, 3])


def test_a_target_without_any_value_is_refused(hourly):
    with pytest.raises(DataError, match="column 'y' has no value: there is nothing to learn from"):
        panel_from_table(hourly(3).assign(y=NAN), DataConfig())


def test_a_static_covariate_has_one_value_a_series(hourly):
    config = DataConfig(stat_exog=("size",))
    with pytest.raises(DataError, match="row 2, column 'size' is 2, but 1 earlier in series 'series'"):
        panel_from_table(hourly(3, size=[1, NAN, 2]), config)
    with pytest.raises(DataError, match="series 'series' has no value in static column 'size'"):
        panel_from_table(hourly(3, size=NAN), config)
    np.testing.assert_array_equal(panel_from_table(hourly(3, size=[NAN, 7, 7]), config).stat, [[7]])


class TestFuture:
    """Known-future covariates, from a separate table or from rows without a target."""

    CONFIG = DataConfig(futr_exog=("x",), h=3)

    def test_rows_of_a_second_table_follow_the_last_observation(self, hourly):
        whole = hourly(9, x=np.arange(9.0) * 2)
        futr = whole.iloc[4:].drop(columns="y").assign(x=lambda table: table["x"] + 1)  # rows 4 and 5 are known already
        panel = panel_from_table(whole.iloc[:6], self.CONFIG, futr=futr)
        assert panel.observed.tolist() == [6]
        np.testing.assert_array_equal(panel.futr[:, 0], [0, 2, 4, 6, 8, 10, 13, 15, 17])
        np.testing.assert_array_equal(panel.y[6:, 0], [NAN] * 3)
        require_future(panel, 3)

    def test_rows_without_a_target_are_replaced_by_the_second_table(self, hourly):
        table = hourly(6, x=np.arange(6.0)).assign(y=[0, 1, 2, 3, NAN, NAN])
        require_future(panel_from_table(table, self.CONFIG), 2)
        futr = pd.DataFrame({"ds": table["ds"].iloc[5:], "x": [50.0]})
        np.testing.assert_array_equal(panel_from_table(table, self.CONFIG, futr=futr).futr[:, 0], [0, 1, 2, 3, 4, 50])

    def test_series_are_matched_by_name(self, hourly):
        table = pd.concat([hourly(4, unique_id=name, x=1.0) for name in "ab"])
        futr = pd.concat([hourly(6, unique_id=name, x=x) for name, x in (("b", 8.0), ("a", 9.0))])
        panel = panel_from_table(table, self.CONFIG, futr=futr)
        np.testing.assert_array_equal(panel.futr[:, 0], [1, 1, 1, 1, 9, 9, 1, 1, 1, 1, 8, 8])
        with pytest.raises(DataError, match="row 0, column 'unique_id' is 'c': the data has no such series"):
            panel_from_table(table, self.CONFIG, futr=futr.replace({"b": "c"}))
        with pytest.raises(DataError, match="has no column 'unique_id'"):
            panel_from_table(table, self.CONFIG, futr=futr.drop(columns="unique_id"))

    def test_the_future_of_a_wide_table_is_that_of_all_its_series(self, hourly):
        whole = hourly(6, load=1.0, x=np.arange(6.0))
        config = dataclasses.replace(self.CONFIG, layout="wide", target_cols=("y", "load"))
        panel = panel_from_table(whole.iloc[:4], config, futr=whole[["ds", "x"]])
        np.testing.assert_array_equal(panel.futr[:, 0], [0, 1, 2, 3, 4, 5] * 2)
        assert panel.observed.tolist() == [4, 4]

    @pytest.mark.parametrize(
        ("keep", "message"),
        [
            ([7, 8], r"my\.csv: row 7: before it series 'series' lacks 2024-01-01 06:00:00: .*without a gap"),
            ([6, 8], r"my\.csv: row 8: before it series 'series' lacks 2024-01-01 07:00:00: .*without a gap"),
        ],
    )
    def test_a_gap_in_the_future_is_an_error(self, hourly, keep, message):
        whole = hourly(9, x=1.0)
        config = dataclasses.replace(self.CONFIG, futr_path="my.csv")
        with pytest.raises(DataError, match=message):
            panel_from_table(whole.iloc[:6], config, futr=whole.iloc[keep])

    @pytest.mark.parametrize("rows", [0, 2])
    def test_too_short_a_future_names_series_time_and_need(self, hourly, rows):
        table = hourly(6 + rows, x=1.0).assign(y=[0.0] * 6 + [NAN] * rows)
        panel = panel_from_table(table, self.CONFIG)
        first = pd.Timestamp("2024-01-01 06:00") + pd.Timedelta(hours=rows)
        with pytest.raises(DataError, match=f"series 'series' has no x for {first}: a forecast needs 3 rows"):
            require_future(panel, 3)

    def test_an_empty_row_is_missing_and_a_half_empty_one_is_masked(self, hourly):
        config = DataConfig(futr_exog=("x", "z"))
        table = hourly(6, x=1.0, z=[1, 1, 1, 1, NAN, 1]).assign(y=[0, 1, 2, 3, NAN, NAN])
        require_future(panel_from_table(table, config), 2)
        table.loc[4, "x"] = NAN
        with pytest.raises(DataError, match="has no x, z for 2024-01-01 04:00:00"):
            require_future(panel_from_table(table, config), 2)

    def test_nothing_is_required_without_known_future_covariates(self, hourly):
        panel = panel_from_table(hourly(), DataConfig())
        assert panel.futr.shape == (10, 0)
        require_future(panel, 100)

    def test_a_table_of_the_future_needs_the_name_of_a_covariate(self, hourly):
        with pytest.raises(ConfigError, match=r"data\.futr_exog names no column"):
            panel_from_table(hourly(), DataConfig(), futr=hourly())

    def test_its_times_are_of_the_same_kind(self, hourly):
        futr = hourly(12, x=1.0).assign(ds=lambda table: table["ds"].dt.tz_localize("UTC"))
        with pytest.raises(
            DataError, match="holds timestamps in UTC, in the table it holds timestamps in no time zone"
        ):
            panel_from_table(hourly(x=1.0), self.CONFIG, futr=futr)


def test_the_tail_keeps_the_last_observations_the_future_and_the_times(hourly):
    table = pd.concat(
        [
            hourly(8, unique_id="long", x=np.arange(8.0)).assign(y=[0, 1, 2, 3, 4, 5, NAN, NAN]),
            hourly(3, unique_id="short", x=7.0),
        ]
    )
    panel = panel_from_table(table, DataConfig(futr_exog=("x",)))
    tail = panel.tail(4)
    assert tail.offsets.tolist() == [0, 6, 9]
    assert tail.observed.tolist() == [4, 3]
    np.testing.assert_array_equal(tail.y[:, 0], [2, 3, 4, 5, NAN, NAN, 0, 1, 2])
    np.testing.assert_array_equal(tail.futr[:6, 0], [2, 3, 4, 5, 6, 7])
    series = np.array([0, 1])
    assert tail.timestamps(series, tail.observed).equals(panel.timestamps(series, panel.observed))


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "+05:30"])
@pytest.mark.parametrize("freq", ["h", "D", "MS"])
def test_arrays_and_json_make_the_same_panel_again(zone, freq):
    table = pd.DataFrame(
        {
            "unique_id": [7] * 5 + ["b"] * 5,
            "ds": pd.date_range("2024-03-01", periods=5, freq=freq, tz=zone).append(
                pd.date_range("2024-03-01", periods=5, freq=freq, tz=zone)
            ),
            "y": np.append(np.random.default_rng(0).normal(size=8), [NAN, NAN]),
            "x": 1e9 + 1 / 3,
        }
    )
    panel = panel_from_table(table, DataConfig(futr_exog=("x",)))
    arrays, metadata = panel.to_arrays()
    again = Panel.from_arrays(arrays, json.loads(json.dumps(metadata)))
    _same(panel, again)
    assert again.ids.tolist() == ["7", "b"]
    assert [type(label) for label in again.labels] == [int, str]
    series = np.zeros(9, int)
    assert again.timestamps(series, np.arange(9)).equals(panel.timestamps(series, np.arange(9)))
    assert panel.timestamps(series[:5], np.arange(5)).equals(pd.DatetimeIndex(table["ds"][:5]).as_unit("us"))


def test_new_data_must_have_the_columns_and_the_frequency_of_training(hourly):
    trained = panel_from_table(hourly(x=1.0), DataConfig(futr_exog=("x",))).schema
    check_compatible(trained, dataclasses.replace(trained, time_col="time", freq="60min"))
    other = dataclasses.replace(trained, futr_exog=())
    with pytest.raises(DataError, match=r"new\.csv has futr_exog none, the forecaster was trained with x"):
        check_compatible(trained, other, source="new.csv")
    with pytest.raises(DataError, match="has the frequency '30min', the forecaster was trained with 'h'"):
        check_compatible(trained, dataclasses.replace(trained, freq="30min"))
    tokyo = panel_from_table(hourly(x=1.0).assign(ds=lambda t: t["ds"].dt.tz_localize("Asia/Tokyo")), DataConfig())
    times = r"new\.csv: column 'ds' holds timestamps in {}, the forecaster was trained with timestamps in {}: make"
    with pytest.raises(DataError, match=times.format("Asia/Tokyo", "no time zone")):
        check_compatible(dataclasses.replace(trained, futr_exog=()), tokyo.schema, source="new.csv")
    with pytest.raises(DataError, match=times.format("UTC", "Asia/Tokyo")):
        check_compatible(tokyo.schema, dataclasses.replace(tokyo.schema, time_zone="UTC"), source="new.csv")
    half = hourly().assign(ds=pd.date_range("2024-01-01", periods=10, freq="30min"))
    with pytest.raises(DataError, match="rows have the frequency '30min', not 'h'"):
        panel_from_table(half, DataConfig(), freq="h")


def test_many_series_are_read_in_well_under_a_second():
    rows = np.arange(414_000)
    table = pd.DataFrame(
        {
            "unique_id": np.char.add("H", (rows // 1000).astype(str)),
            "ds": rows % 1000 + 1,
            "y": np.random.default_rng(0).normal(size=len(rows)),
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        begin = time.process_time()
        panel = panel_from_table(table, DataConfig())
        seconds = time.process_time() - begin
    assert panel.lengths.tolist() == [1000] * 414
    np.testing.assert_array_equal(panel.y[:, 0], table["y"])
    assert seconds < 2.0  # 0.1 s alone on a desktop core; machines that run tests are busy


def test_a_table_of_the_future_without_rows_is_refused(hourly):
    with pytest.raises(DataError, match="the table of future covariates has no rows"):
        panel_from_table(hourly(x=1.0), DataConfig(futr_exog=("x",)), futr=hourly(0, x=[]))
