"""Times are read as the one thing they can mean, or refused in a line that names the option which settles it."""

import datetime as dt
import json
import zoneinfo

import dateutil.tz
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmjax.config import DataConfig
from lstmjax.data import time_text
from lstmjax.data.build import panel_from_table
from lstmjax.data.table import read_table
from lstmjax.data.times import TimeOptions, time_column
from lstmjax.errors import ConfigError, DataError

MONTHS = pd.date_range("1960-01-01", periods=12, freq="MS")
DAYS = pd.date_range("2024-01-25", periods=20, freq="D")


def read(cells, form=None, zone=None, **options):
    return time_column(pd.DataFrame({"ds": cells}), "ds", "t", TimeOptions(form, zone, **options))


def instants(cells, form=None, **options):
    return pd.DatetimeIndex(read(cells, form, **options).utc.view("datetime64[us]"))


def refusal(cells, form=None, **options):
    with pytest.raises(DataError) as caught:
        read(cells, form, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            MONTHS.strftime("%d/%m/%Y"),
            ["day or the month could come first", "%d/%m/%Y they are 1960-01-01, 1960-02-01", "%m/%d/%Y"],
        ),
        (MONTHS.strftime("%m-%d-%Y"), ["day or the month could come first", "%m-%d-%Y they are"]),
        (MONTHS.strftime("%d.%m.%Y %H:%M"), ["day or the month could come first", "%d.%m.%Y %H:%M"]),
        (MONTHS.strftime("%b-%y"), ["the year has two digits", "'Jan-60'", "as %b-%y they are 2060-01-01"]),
        (DAYS.strftime("%d/%m/%y"), ["the year has two digits", "as %d/%m/%y they are 2024-01-25"]),
        (DAYS.strftime("%d %b %y"), ["the year has two digits"]),
        (DAYS.strftime("%B %Y"), ["a part of the date is missing", "as %B %Y they are 2024-01-01"]),
        ([f"{y}-{m:02d}" for y in (1, 2, 3) for m in range(1, 13)], ["a part of the date is missing", "'1-01'"]),
        (DAYS.strftime("%d %B"), ["a part of the date is missing"]),
        (MONTHS.strftime("%H:%M"), ["a part of the date is missing"]),
        (MONTHS.strftime("%Y/%m"), ["a part of the date is missing", "as %Y/%m they are 1960-01-01"]),
        (
            DAYS.strftime("%Y%m%d").astype(int),
            ["20240125", "look like dates", "as %Y%m%d they are 2024-01-25", "20240214"],
        ),
        (DAYS.strftime("%Y%m%d"), ["as %Y%m%d they are 2024-01-25"]),
        (list(DAYS.strftime("%Y%m%d").astype(float)), ["as %Y%m%d they are 2024-01-25"]),
        (pd.Series(DAYS.strftime("%Y%m%d").astype(int), dtype=object), ["as %Y%m%d they are 2024-01-25"]),
        (MONTHS.strftime("%Y%m").astype(int), ["as %Y%m they are 1960-01-01", "next after 196012 is 196013"]),
        (DAYS.strftime("%d%m%Y"), ["as %d%m%Y they are 2024-01-25"]),
        (DAYS.strftime("%y%m%d"), ["as %y%m%d they are 2024-01-25"]),
        (DAYS.strftime("%Y%m%d%H%M").astype("int64"), ["as %Y%m%d%H%M they are 2024-01-25"]),
        (DAYS.astype("datetime64[s]").astype("int64"), ["as epoch_s they are 2024-01-25"]),
        (DAYS.astype("datetime64[ms]").astype("int64"), ["as epoch_ms they are 2024-01-25"]),
    ],
)
def test_times_that_could_be_others_are_refused_with_what_they_would_be(cells, said):
    message = refusal(cells)
    for part in ["t: column 'ds'", "data.time_format", *said]:
        assert part in message


@pytest.mark.parametrize(
    ("form", "written"),
    [
        *[
            (form, None)
            for form in ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y%m%dT%H%M", "%Y/%m/%d", "%d/%m/%Y")
        ],
        *[
            (form, None)
            for form in ("%m/%d/%Y", "%d.%m.%Y %H:%M", "%d %b %Y", "%B %d, %Y", "%a %b %d %H:%M:%S %Y", "%d-%b-%Y")
        ],
        *[(form, None) for form in ("%A, %d %B %Y", "%m/%d/%Y %I:%M %p", "%Y%m%d %H:%M", "%Y %b %d")],
    ],
)
def test_whole_dates_of_other_forms_are_read(form, written):
    assert instants(DAYS.strftime(form)).equals(DAYS.as_unit("us"))
    assert read(DAYS.strftime(form)).zone is None


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        (MONTHS.strftime("%d/%m/%Y"), "%d/%m/%Y"),
        (MONTHS.strftime("%Y%m").astype(int), "%Y%m"),
        (MONTHS.strftime("%Y%m"), "%Y%m"),
        (list(MONTHS.strftime("%Y%m").astype(float)), "%Y%m"),
        (MONTHS.strftime("%b/%Y"), "%b/%Y"),
        (MONTHS.astype("datetime64[s]").astype("int64"), "epoch_s"),
        (MONTHS.astype("datetime64[ms]").astype("int64").astype(str), "epoch_ms"),
        (MONTHS.strftime("%Y-%m-%d"), "%d/%m/%Y"),  # ISO, as lstmjax writes times itself
        (MONTHS, "%d/%m/%Y"),
    ],
)
def test_the_option_settles_what_they_are(cells, form):
    assert instants(cells, form).equals(MONTHS.as_unit("us"))


@pytest.mark.parametrize("cells", [range(1, 30), range(1950, 2025), [20240131, 20240132], [7, 8, 9.0], list("123")])
def test_whole_numbers_that_count_stay_whole_numbers(cells):
    for kind in (list(cells), pd.Series(list(cells), dtype=object), [str(cell) for cell in cells]):
        found = read(kind)
        assert found.integer
        assert found.wall.tolist() == [int(cell) for cell in cells]


def test_integer_says_that_numbers_count():
    found = read(DAYS.strftime("%Y%m%d").astype(int), "integer")
    assert found.integer
    assert found.wall[0] == 20240125


@pytest.mark.parametrize("form", ["soon", "%Q", "%d/%m/%Y %", "epoch"])
def test_a_format_that_is_none_is_refused(form):
    with pytest.raises(ConfigError, match=r"data\.time_format is"):
        panel_from_table(pd.DataFrame({"ds": ["1"], "y": 1.0}), DataConfig(time_format=form))


def test_a_cell_of_another_form_is_named():
    assert "row 1, column 'ds' is '2024-02-01'" in refusal(["31/01/2024", "2024-02-01"])
    assert "row 2, column 'ds' is 'x': expected a time of the format '%d/%m/%Y'" in refusal(
        ["01/02/2024"] * 2 + ["x"], "%d/%m/%Y"
    )
    assert "row 1, column 'ds' is empty" in refusal(["2024-01-01", " "])
    assert "durations" in refusal(pd.to_timedelta([1, 2], unit="h"))


PARTS = ("%d", "%m", "%Y", "%y", "%b", "%B", "%j", "%H", "%M", "%S", "%p", "%I", "%a")


@given(
    parts=st.permutations(PARTS).flatmap(lambda every: st.integers(1, 6).map(lambda count: every[:count])),
    mark=st.sampled_from(["-", "/", ".", " ", ":", ", ", "", "T"]),
    start=st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2090, 1, 1)),
    step=st.sampled_from(["D", "h", "MS", "7D", "min"]),
)
def test_any_format_is_read_as_what_was_written_or_refused(parts, mark, start, step):
    times = pd.date_range(pd.Timestamp(start).floor("min"), periods=40, freq=step)
    form = mark.join(parts)
    written = times.strftime(form)
    if "%Y-%d-%m" in form:  # ISO 8601 comes first
        return
    try:
        found = read(written)
    except DataError:
        return
    if found.integer:  # too few digits for a date: they count
        assert len(written[0]) < 8
        return
    meant = pd.to_datetime(written, format=form)
    assert pd.DatetimeIndex(found.wall.view("datetime64[us]")).equals(pd.DatetimeIndex(meant).as_unit("us"))


ZONES = [
    *(dateutil.tz.tzoffset(None, 3600), dateutil.tz.tzoffset("X", -12600), dateutil.tz.tzutc()),
    *(dateutil.tz.gettz("Europe/Berlin"), dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=45), "NPT")),
    *(
        dt.timezone(dt.timedelta(seconds=-4521)),
        zoneinfo.ZoneInfo("America/New_York"),
        "Europe/London",
        "UTC",
        "+09:00",
    ),
    *("Asia/Kathmandu", "Etc/GMT+5", "dateutil/Asia/Tokyo"),
]


@pytest.mark.parametrize("tz", ZONES, ids=str)
@pytest.mark.parametrize("freq", ["h", "D"])
def test_any_zone_is_read_and_written(tz, freq):
    times = pd.date_range("2024-03-20", periods=20, freq=freq, tz=tz)
    panel = panel_from_table(pd.DataFrame({"ds": times, "y": 1.0}), DataConfig())
    again = panel.timestamps(np.zeros(20, int), np.arange(20))
    assert again.tz_convert("UTC").equals(times.tz_convert("UTC").as_unit("us"))
    assert again.tz_localize(None).equals(times.tz_localize(None).as_unit("us"))
    assert json.loads(json.dumps(panel.schema.time_zone)) == panel.schema.time_zone
    objects = pd.DataFrame({"ds": pd.Series(times.to_pydatetime(), dtype=object), "y": 1.0})
    assert panel_from_table(objects, DataConfig()).schema.time_zone == panel.schema.time_zone


def test_pytz_zones_are_read():
    pytz = pytest.importorskip("pytz")
    for tz, name in (
        (pytz.timezone("Europe/Berlin"), "Europe/Berlin"),
        (pytz.FixedOffset(90), "UTC+01:30"),
        (pytz.utc, "UTC"),
    ):
        assert read(pd.date_range("2024-03-30", periods=4, tz=tz)).zone == name


class Strange(dt.tzinfo):
    def utcoffset(self, when):
        return dt.timedelta(hours=1 if when is not None and when.month < 6 else 2) if when is not None else None

    def dst(self, when):
        return dt.timedelta(0)

    def tzname(self, when):
        return "strange"


@pytest.mark.parametrize(
    "tz", [dateutil.tz.tzstr("EST5EDT"), dateutil.tz.tzrange("A", -3600, "B"), Strange()], ids=["str", "range", "own"]
)
def test_a_zone_without_a_name_is_refused_before_training(tz):
    cells = [dt.datetime(2024, 1, day, tzinfo=tz) for day in range(1, 9)]
    message = refusal(pd.Series(cells, dtype=object))
    assert "time zone" in message or "cannot be read as times" in message


HOURS = pd.date_range("2024-01-01", periods=30, freq="h")


@pytest.mark.parametrize(
    ("written", "form", "zone"),
    [
        ("%Y%m%dT%H%MZ", None, "UTC"),
        ("%Y%m%dT%H%M%S+0530", None, "UTC+05:30"),
        ("%Y-%m-%dT%H-05", None, "UTC-05:00"),
        ("%Y-%m-%d %H:%M GMT", None, "UTC"),
        ("%a, %d %b %Y %H:%M:%S GMT", None, "UTC"),
        ("%Y/%m/%d %H:%M UTC", None, "UTC"),
        ("%Y%m%d%H%M+0100", "%Y%m%d%H%M%z", "UTC+01:00"),
        ("%d/%m/%Y %H:%M UTC", "%d/%m/%Y %H:%M %z", "UTC"),
    ],
)
def test_offsets_are_read_without_colons_and_as_names_of_utc(written, form, zone):
    found = read(HOURS.strftime(written), form)
    assert found.zone == zone
    np.testing.assert_array_equal(found.wall, HOURS.as_unit("us").asi8)


MIXED = ["2024-03-30 00:00+01:00", "2024-03-31 00:00+01:00", "2024-04-01 00:00+02:00"]


def test_offsets_of_one_place_are_read_with_its_name():
    message = refusal(MIXED)
    assert "mixes time zones (+01:00, +02:00)" in message
    assert "data.time_zone, e.g. Europe/Berlin" in message
    found = read(MIXED, zone="Europe/Berlin")
    assert found.zone == "Europe/Berlin"
    assert np.diff(found.wall).tolist() == [86_400_000_000] * 2
    assert read(MIXED, offsets_zone="Europe/Berlin").zone == "Europe/Berlin"
    with pytest.raises(ConfigError, match=r"data\.time_zone is 'Berlin'"):
        read(MIXED, zone="Berlin")


@pytest.mark.filterwarnings("ignore:.*is before the row above it")
@pytest.mark.parametrize("day", ["2024-10-27", "2024-11-03", "2024-04-07"])
@pytest.mark.parametrize("minutes", [30, 60])
def test_the_doubled_hour_asks_for_the_time_zone(day, minutes):
    zone = {"2024-10-27": "Europe/Berlin", "2024-11-03": "America/New_York", "2024-04-07": "Australia/Sydney"}[day]
    times = pd.date_range(day, periods=300, freq=f"{minutes}min", tz=zone)
    table = pd.DataFrame(
        {"unique_id": ["a"] * 150 + ["b"] * 150, "ds": times[:150].append(times[:150]).tz_localize(None)}
    )
    table = table.assign(y=np.arange(300.0))
    with pytest.raises(
        DataError, match="clocks show this hour twice, because summer time ends, e.g. in .*: name .*data.time_zone"
    ):
        panel_from_table(table, DataConfig())
    for order in (table, table.iloc[::-1]):
        panel = panel_from_table(order, DataConfig(time_zone=zone))
        assert panel.offsets.tolist() == [0, 150, 300]
        assert panel.timestamps(np.zeros(150, int), np.arange(150)).equals(times[:150].as_unit("us"))
        first = panel.ids.tolist().index("a")
        np.testing.assert_array_equal(panel.y[panel.offsets[first] :][:150, 0], np.arange(150.0))


@pytest.mark.parametrize(
    ("zone", "day"),
    [("America/Sao_Paulo", "2018-11-04"), ("Asia/Beirut", "2024-03-31"), ("America/Santiago", "2024-09-08")],
)
@pytest.mark.parametrize("before", [0, 3])
def test_days_whose_midnight_no_clock_shows_follow_each_other(zone, day, before):
    first = pd.Timestamp(day) - pd.Timedelta(days=before)
    naive = pd.date_range(first, periods=8)
    times = naive.tz_localize(zone, nonexistent="shift_forward", ambiguous=np.ones(8, bool))
    assert times[before].hour == 1
    panel = panel_from_table(pd.DataFrame({"ds": times, "y": np.arange(8.0)}), DataConfig())
    assert panel.schema.freq == "D"
    assert panel.timestamps(np.zeros(8, int), np.arange(8)).equals(times.as_unit("us"))
    text = panel_from_table(pd.DataFrame({"ds": times.astype(str), "y": 1.0}), DataConfig(time_zone=zone))
    assert text.timestamps(np.zeros(8, int), np.arange(8)).equals(times.as_unit("us"))


@pytest.mark.parametrize(("freq", "alias"), [("M", "MS"), ("D", "D"), ("h", "h"), ("Q", "QS"), ("Y", "YS-JAN")])
def test_periods_are_read_as_their_beginning(freq, alias, tmp_path):
    periods = pd.period_range("2024-01-01", periods=30, freq=freq)
    table = pd.DataFrame({"ds": periods, "y": 1.0})
    for form in (table, table.astype({"ds": object}), table.set_index("ds")):
        panel = panel_from_table(form, DataConfig())
        assert panel.schema.freq.startswith(alias)
        assert panel.timestamps(np.array([0]), np.array([29]))[0] == periods[29].to_timestamp()
    if freq in "MDQ":  # their text is a whole period
        table.to_csv(tmp_path / "a.csv", index=False)
        assert panel_from_table(read_table(tmp_path / "a.csv"), DataConfig()).start.tolist() == panel.start.tolist()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"unique_id": [["a"]] * 3}, "column 'unique_id' holds the type 'list'"),
        ({"x": [[1]] * 3}, r"row 0, column 'x' is '\[1\]': expected a number"),
        ({"x": [1j] * 3}, "column 'x' holds complex numbers"),
        ({"ds": [1j] * 3}, "column 'ds' holds complex numbers"),
        ({"ds": [b"2024"] * 3}, "expected a timestamp"),
        ({"ds": ["2024-W01", "2024-W02", "2024-W03"]}, "data.time_format names other forms"),
        ({"x": pd.date_range("2024", periods=3)}, "column 'x' holds timestamps"),
        ({"ds": pd.Series([float("inf"), 1, 2], dtype=object)}, "row 0, column 'ds' is inf"),
    ],
)
def test_cells_of_strange_types_are_refused_in_one_line(columns, said):
    table = pd.DataFrame({"ds": range(3), "y": 1.0, "x": 1.0}).assign(**columns)
    with pytest.raises(DataError, match=said):
        panel_from_table(table, DataConfig(hist_exog=("x",)))


def test_a_skipped_hour_in_a_named_zone_asks_for_another_zone():
    table = pd.DataFrame({"ds": pd.date_range("2024-03-30", periods=48, freq="h"), "y": 1.0})
    with pytest.raises(DataError, match=r"clocks in Europe/Berlin skip or repeat it: .*\(data.time_zone\)"):
        panel_from_table(table, DataConfig(time_zone="Europe/Berlin"))


def test_every_tenth_day_is_refused_with_what_is_supported():
    days = [f"2024-{month:02d}-{day}" for month in range(3, 13) for day in (10, 20, 30)]
    with pytest.raises(DataError, match="not a whole number of steps of '10D' .*; supported are "):
        panel_from_table(pd.DataFrame({"ds": days, "y": 1.0}), DataConfig())


@pytest.mark.parametrize("together", [1, 3, 100])
def test_many_times_are_read_like_each_alone(monkeypatch, together):
    monkeypatch.setattr(time_text, "_TOGETHER", together)
    texts = ["2024-01-31", "2024-01-31 07:30", "20240131T0730", "2024-01-31T07:30:15.5", "31.1.2024", "", "x" * 999]
    zoned = [f"2024-01-31 07:30{zone}" for zone in ("Z", " UTC", "GMT", "+01:00", "-0330", "+00")]
    for cells in (texts, zoned, [*texts, *zoned], ["٢٠٢٤-٠١-٣١", "2024-01-31"]):
        many = time_text.read_iso(np.array(cells * 3, object))
        alone = [time_text.read_iso(np.array([cell], object)) for cell in cells] * 3
        for time, offset, one in zip(many.times, many.offsets, alone, strict=True):
            assert offset == one.offsets[0]
            naive = time if time is pd.NaT else time.tz_localize(None)
            assert naive is one.times.tz_localize(None)[0] or naive == one.times.tz_localize(None)[0]
        assert time_text.is_iso(np.array(cells, object)) == all(map(time_text._ISO.fullmatch, cells))
