"""A stream is its rows: however they are split, and whether they come one by one or lie in a table."""

import warnings

import jax
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmjax import Forecaster, RunConfig
from lstmjax.data.table import DataWarning
from lstmjax.errors import CheckpointError, ConfigError, DataError
from lstmjax.forecaster.stream import Stream

from .conftest import BASE, KINDS, drawn, early, holes, known_ahead, later, table, under

pytestmark = pytest.mark.filterwarnings("ignore::lstmjax.data.table.DataWarning")


def values(frame):
    return frame.drop(columns=[c for c in ("unique_id", "ds", "target") if c in frame]).to_numpy(float)


def alike(one, other, tolerance=1e-6):
    for a, b in zip(jax.tree.leaves(one.state), jax.tree.leaves(other.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    scored = (s._scoring for s in (one, other))
    for a, b in zip(*(jax.tree.leaves(s) for s in scored), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert one.counts == other.counts


@pytest.mark.parametrize("kind", KINDS)
def test_window_forecasts_what_predict_would_from_the_whole_table(kind, trained):
    forecaster, df = trained(kind), known_ahead(holes(table()), 6)
    stream = forecaster.stream(early(df)).update(later(df))
    found, expected = stream.forecast(), forecaster.predict(df)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5)
@given(sizes=st.lists(st.integers(1, 9), min_size=40, max_size=40), by_series=st.booleans())
def test_any_split_of_the_rows_gives_the_same_state(kind, trained, sizes, by_series):
    forecaster, df = trained(kind), known_ahead(holes(table()), 6)
    rows = later(df)
    if by_series:
        rows = rows.sort_values(["unique_id", "ds"])
    whole = forecaster.stream(early(df)).update(rows)
    parts = forecaster.stream(early(df))
    for part in np.split(np.arange(len(rows)), np.cumsum(sizes)):
        if len(part):
            parts.update(rows.iloc[part])
    alike(whole, parts)
    np.testing.assert_allclose(values(whole.forecast([80])), values(parts.forecast([80])), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "segments" not in kind])
def test_stateful_is_one_encoding_of_all_rows(kind, trained):
    forecaster, df = trained(kind, stateful=True), known_ahead(holes(table()), 6)
    stream = forecaster.stream(early(df), mode="stateful")
    for start in range(0, 80, 3):
        part = later(df).iloc[start : start + 3]
        if len(part):
            stream.update(part)
    # The lookback of this forecaster is the whole table: one pass over it is what `predict` does.
    longer = forecaster.fitted.config.replace({"data.input_size": 94})
    whole = Forecaster.of(forecaster.fitted.replace(config=longer))
    np.testing.assert_allclose(values(stream.forecast()), values(whole.predict(df)), rtol=1e-5, atol=1e-6)
    at_once = forecaster.stream(df, mode="stateful")
    for one, other in zip(jax.tree.leaves(stream.state.carry), jax.tree.leaves(at_once.state.carry), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_stateful_costs_and_keeps_no_lookback(trained):
    forecaster = trained("plain", stateful=True)
    short = forecaster.stream(early(table()), mode="stateful")
    long = forecaster.stream(early(table()).iloc[30:], mode="stateful")
    assert any((a != b).any() for a, b in zip(short.state.carry[0], long.state.carry[0], strict=True))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model.instance_norm": "last"}, "instance_norm none"),
        ({"model.instance_scale": "std"}, "instance_scale none"),
        ({"model.residual": "naive"}, "model.residual 'naive'"),
    ],
)
def test_networks_that_read_whole_windows_are_refused(options, said, trained):
    with pytest.raises(ConfigError, match=said):
        under(trained("plain", stateful=True), options).stream(mode="stateful")


def test_segments_are_read_from_whole_windows_too(trained):
    with pytest.raises(ConfigError, match="model.name is 'segment'"):
        trained("log, segments", stateful=True).stream(mode="stateful")


@pytest.mark.parametrize("mode", ["window", "stateful"])
def test_a_new_series_joins_and_forecasts_as_predict_from_its_first_rows(mode, trained):
    forecaster = trained("covariates", stateful=mode == "stateful")
    df = known_ahead(table(names=("a", "b", "c")), 6)
    new = df[(df["unique_id"] == "c") & (df["ds"] >= df["ds"].max() - pd.Timedelta(hours=6 + 8))]
    rows = pd.concat([later(df[df["unique_id"] != "c"]), new])
    stream = forecaster.stream(early(df[df["unique_id"] != "c"]), mode=mode).update(rows)
    assert stream.ids == ["a", "b", "c"]
    parts = forecaster.stream(early(df[df["unique_id"] != "c"]), mode=mode)
    for row in range(len(rows)):
        parts.update(rows.iloc[[row]])
    alike(stream, parts)
    whole = pd.concat([df[df["unique_id"] != "c"], new])
    if mode == "window":
        np.testing.assert_allclose(values(stream.forecast()), values(forecaster.predict(whole)), rtol=1e-6)


def test_the_statistics_of_a_new_series_are_final_after_a_lookback(trained):
    forecaster, df = trained("plain"), table(names=("new",), seed=5)
    stream = forecaster.stream().update(df.iloc[:12])
    center = stream.state.center[2].copy()
    assert stream.state.fixed[2]
    np.testing.assert_allclose(center, df["y"].iloc[:12].mean())
    stream.update(df.iloc[12:50].assign(y=99.0))
    assert stream.state.center[2] == center


@pytest.mark.parametrize("mode", ["window", "stateful"])
def test_a_new_series_that_jumps_beyond_the_ring_keeps_what_its_first_rows_say(mode, trained):
    forecaster, df = trained("plain", stateful=mode == "stateful"), table(rows=300, names=("new",), seed=5)
    rows = df.iloc[[0, 1, 2, 3, 200]]
    stream = forecaster.stream(mode=mode).update(rows)
    assert stream.state.fixed[2]
    np.testing.assert_allclose(stream.state.center[2], rows["y"].iloc[:4].mean())
    if mode == "stateful":  # the first rows are in the state: other ones of the same mean give another
        y = rows["y"].to_numpy().copy()
        y[:4] = y[3::-1]
        other = forecaster.stream(mode=mode).update(rows.assign(y=y))
        np.testing.assert_allclose(other.state.spread[2], stream.state.spread[2])
        assert any((a[2] != b[2]).any() for a, b in zip(stream.state.carry[0], other.state.carry[0], strict=True))


def test_many_new_series_join_at_once(trained):
    forecaster, df = trained("covariates", stateful=True), table(rows=5, names=tuple(map(str, range(3000))))
    begin = pd.Timestamp("2024-03-01")
    stream = forecaster.stream(mode="stateful").update(df[df["ds"] == begin])
    stream.update(df[df["ds"] > begin])
    one = forecaster.stream(mode="stateful").update(df[df["unique_id"] == "2999"])
    for layer, other in zip(stream.state.carry, one.state.carry, strict=True):
        for leaf, expected in zip(layer, other, strict=True):
            np.testing.assert_allclose(leaf[3001], expected[2], atol=1e-6)


def test_new_series_may_be_errors(trained):
    stream = trained("plain").stream(new_series="error")
    with pytest.raises(DataError, match=r"the rows: row 60: series 'c' is not in the stream"):
        stream.update(later(table(names=("c",))))
    assert stream.ids == ["a", "b"]


def rows_of(stream, number=1):
    """The next rows of series a."""
    return later(table(names=("a",))).iloc[:number]


@pytest.mark.parametrize("asked", [{"mode": "windows"}, {"late": "no"}, {"new_series": "never"}])
def test_other_policies_are_refused(asked, trained):
    ((name, value),) = asked.items()
    with pytest.raises(ConfigError, match=f"{name} is '{value}': expected"):
        trained("plain").stream(**asked)


@pytest.mark.parametrize("policy", ["error", "skip", "correct"])
def test_what_is_known_already_is_skipped_under_every_policy(policy, trained):
    stream = trained("plain").stream(early(table()), late=policy)
    again = trained("plain").stream(early(table()), late=policy)
    stream.update(rows_of(stream, 3))
    again.update(early(table())).update(rows_of(stream, 3)).update(rows_of(stream, 3))
    alike_but_counts(stream, again)
    assert again.counts["repeated"] == 123


def alike_but_counts(one, other):
    other.counts = one.counts | {"repeated": other.counts["repeated"]}
    counts, other.counts = other.counts, one.counts
    alike(one, other)
    other.counts = counts


def test_late_rows_are_errors_that_change_nothing(trained):
    stream = trained("plain").stream(early(table())).update(rows_of(None, 5))
    before = jax.tree.map(np.copy, stream.state)
    late = pd.concat([later(table(names=("b", "new"))).iloc[:4], rows_of(None, 2).assign(y=7.0)])
    with pytest.raises(
        DataError, match=r"row 60, column 'ds': the row is late: series 'a' has rows up to 2024-03-03 16"
    ):
        stream.update(late)
    assert stream.ids == ["a", "b"]
    jax.tree.map(np.testing.assert_array_equal, before, stream.state)


def test_late_rows_are_skipped_or_correct_the_ring(trained):
    forecaster, rows = trained("plain"), rows_of(None, 6)
    late = rows.iloc[[2]].assign(y=7.0)
    skipping = forecaster.stream(early(table()), late="skip").update(rows).update(late)
    assert skipping.counts["late"] == 1
    np.testing.assert_array_equal(skipping.state.cells, forecaster.stream(early(table())).update(rows).state.cells)
    correcting = forecaster.stream(early(table()), late="correct").update(rows).update(late)
    assert correcting.counts["correction"] == 1
    right = rows.assign(y=rows["y"].where(rows.index != late.index[0], 7.0))
    together = forecaster.stream(early(table()), late="correct").update(pd.concat([rows, late]))
    for stream in (correcting, together):
        np.testing.assert_array_equal(stream.state.cells, forecaster.stream(early(table())).update(right).state.cells)


@pytest.mark.parametrize("together", [True, False])
def test_rows_before_the_first_of_their_series_correct_nothing(together, trained):
    forecaster, rows = trained("covariates"), later(table(names=("new",))).iloc[:6]
    stream = forecaster.stream(early(table()), late="correct")
    order = rows.iloc[[2, 3, 0, 1, 4, 5]]
    for part in [order] if together else (order.iloc[[row]] for row in range(6)):
        stream.update(part)
    assert stream.counts["late"] == 2
    assert stream.counts["correction"] == 0
    expected = forecaster.stream(early(table())).update(rows.iloc[2:])
    for one, other in zip(stream.state[:-1], expected.state[:-1], strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(DataError, match="the row is late: series 'new'"):
        forecaster.stream(early(table())).update(order)
    # A series that the stream began with: such a row is older than the stream.
    short = early(table()).groupby("unique_id").tail(5)
    begun = forecaster.stream(short, late="correct").update(early(table()).groupby("unique_id").tail(7))
    assert begun.counts["repeated"] == 14
    np.testing.assert_array_equal(begun.state.cells, forecaster.stream(short).state.cells)


def test_late_rows_cannot_correct_a_recurrent_state(trained):
    forecaster, rows = trained("plain", stateful=True), rows_of(None, 6)
    stream = forecaster.stream(early(table()), "stateful", late="correct").update(rows)
    stream.update(rows.iloc[[2]].assign(y=7.0))
    assert stream.counts["late"] == 1
    assert stream.counts["correction"] == 0


def test_forecasts_need_the_known_future(trained):
    forecaster, df = trained("covariates"), table()
    stream = forecaster.stream(early(df)).update(later(df).iloc[:4])
    with pytest.raises(DataError, match=r"series 'a' has no ahead for 2024-03-03 14:00:00"):
        stream.forecast()
    future = later(df).iloc[4:20].assign(y=np.nan, past=np.nan)
    assert len(stream.update(future).forecast()) == 8
    assert stream.counts["future"] == 16
    assert stream.update(later(df).iloc[4:8]).counts["observed"] == 8


BAD = {
    "a time off the grid": (lambda r: r.assign(ds=r["ds"] + pd.Timedelta(minutes=7)), "not a whole number of steps"),
    "a wrong year": (lambda r: r.assign(ds=r["ds"] + pd.Timedelta(days=9999)), "is the time wrong"),
    "a future too far": (lambda r: r.assign(ds=r["ds"] + pd.Timedelta(days=9), y=np.nan), "expected at most 16"),
    "text": (lambda r: r.assign(y="many"), "'many': expected a number"),
    "infinite": (lambda r: r.assign(y=np.inf), "expected a finite number"),
    "no column": (lambda r: r.drop(columns="y"), "no column 'y'"),
    "no time": (lambda r: r.assign(ds=pd.NaT), "empty"),
    "no name": (lambda r: r.assign(unique_id=None), "empty"),
    "no id column": (lambda r: r.drop(columns="unique_id"), "no column 'unique_id'"),
    "a zone": (lambda r: r.assign(ds=r["ds"].dt.tz_localize("UTC")), "unlike the data trained on"),
    "no rows": (lambda r: r.iloc[:0], "has no rows"),
    "no table": (lambda r: [1, 2], "the rows"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_rows_are_one_line_and_change_nothing(name, trained):
    change, said = BAD[name]
    stream = trained("plain").stream(early(table()))
    before = jax.tree.map(np.copy, stream.state)
    with pytest.raises(DataError, match=said) as refused:
        stream.update(change(rows_of(stream)))
    assert "\n" not in str(refused.value)
    jax.tree.map(np.testing.assert_array_equal, before, stream.state)


def test_the_log_of_what_is_not_positive_is_refused(trained):
    stream = trained("log, segments").stream(early(table()))
    with pytest.raises(DataError, match="needs positive values"):
        stream.update(rows_of(stream).assign(y=-1.0))


def test_a_row_may_be_a_dict_of_text(trained):
    forecaster, rows = trained("covariates"), later(table())
    frame, dicts = forecaster.stream(early(table())), forecaster.stream(early(table()))
    frame.update(rows)
    for row in rows.astype({"ds": str, "y": str}).to_dict("records"):
        dicts.update(row)
    alike(frame, dicts)


def test_a_wide_table_and_its_rows():
    df = table(names=("a",))[["ds", "y", "z"]]
    config = RunConfig().replace(BASE | {"data.layout": "wide", "data.target_cols": ("y", "z")})
    forecaster = Forecaster(config).fit(df.iloc[:60])
    stream = forecaster.stream(df.iloc[:60]).update(df.iloc[60:90])
    for row in df.iloc[90:].to_dict("records"):
        stream.update(row)
    pd.testing.assert_frame_equal(stream.forecast(), forecaster.predict(df), rtol=1e-6)


@pytest.mark.parametrize(("freq", "zone"), [("D", "Europe/Berlin"), ("h", "Europe/Berlin"), ("MS", None), ("W", None)])
def test_calendars_and_zones(freq, zone):
    ds = pd.date_range("2023-10-01", periods=100, freq=freq, tz=zone)
    df = pd.DataFrame({"ds": ds, "y": np.sin(np.arange(100) / 3)})
    calendar = ("month",) if freq != "h" else ("hour",)
    forecaster = drawn(RunConfig().replace(BASE | {"data.calendar": calendar}).chosen, df.iloc[:60])
    stream = forecaster.stream().update(df.iloc[60:75])
    for row in range(75, 100):
        stream.update(df.iloc[[row]])
    pd.testing.assert_frame_equal(stream.forecast(), forecaster.predict(df), rtol=1e-6, atol=1e-6)


def test_intervals_of_counts_are_no_negative_numbers():
    counts = np.random.default_rng(0).poisson(0.7, size=100)
    df = pd.DataFrame({"ds": np.arange(100), "y": counts.astype(float)})
    config = RunConfig().replace(BASE | {"model.head": "negative_binomial", "outputs.calibration": "none"})
    forecaster = drawn(config.chosen, df.iloc[:60])
    found = forecaster.stream().update(df.iloc[60:]).forecast([80])
    assert (found["lstm-lo-80"] >= 0).all()
    assert (found["lstm-hi-80"] >= found["lstm"]).all()


def test_whole_numbers_as_times():
    df = pd.DataFrame({"ds": np.arange(100) * 2, "y": np.sin(np.arange(100) / 3)})
    forecaster = drawn(RunConfig().replace(BASE).chosen, df.iloc[:60])
    stream = forecaster.stream().update(df.iloc[60:99])
    stream.update({"ds": "198", "y": str(df["y"].iloc[99])})
    pd.testing.assert_frame_equal(stream.forecast(), forecaster.predict(df), rtol=1e-6, atol=1e-6)
    with pytest.raises(DataError, match="not a whole number of steps"):
        stream.update({"ds": 201, "y": 1.0})


@pytest.mark.parametrize("mode", ["window", "stateful"])
def test_a_saved_stream_continues_with_the_same_bytes(mode, trained, tmp_path):
    forecaster = trained("two targets, text", stateful=mode == "stateful")
    rows = later(holes(table(names=("a", "b", "c"))))
    stream = forecaster.stream(early(table()), mode)
    for start in range(0, len(rows), 5):
        stream.update(rows.iloc[start : start + 5])
        stream.forecast([80, 50])
        if start == 50:
            stream.save(tmp_path / "middle")
            again = Stream.load(tmp_path / "middle", forecaster)
            again.save(tmp_path / "again")
            assert (tmp_path / "middle/stream.npz").read_bytes() == (tmp_path / "again/stream.npz").read_bytes()
        elif start > 50:
            again.update(rows.iloc[start : start + 5])
            again.forecast([80, 50])
    stream.save(tmp_path / "one")
    again.save(tmp_path / "two")
    assert (tmp_path / "one/stream.npz").read_bytes() == (tmp_path / "two/stream.npz").read_bytes()
    pd.testing.assert_frame_equal(stream.forecast([80]), again.forecast([80]))


def test_a_state_that_is_absent_damaged_or_of_another_forecaster(trained, tmp_path):
    stream = trained("plain").stream()
    with pytest.raises(CheckpointError, match="no such file"):
        Stream.load(tmp_path, trained("plain"))
    stream.save(tmp_path)
    with pytest.raises(CheckpointError, match="of another forecaster"):
        Stream.load(tmp_path, trained("quantiles, long season"))
    file = tmp_path / "stream.npz"
    whole = file.read_bytes()
    for place in (10, len(whole) // 2, len(whole) - 40):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            alike(
                Stream.load(tmp_path, trained("plain")), stream
            )  # a bit that means nothing, such as a time of the zip
        except CheckpointError as error:
            assert "damaged" in str(error)  # noqa: PT017
    file.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(CheckpointError, match="damaged"):
        Stream.load(tmp_path, trained("plain"))


def test_a_forecast_of_no_series_is_refused(trained):
    with pytest.raises(DataError, match="there is no series to forecast"):
        trained("plain").stream().forecast(ids=[])


def test_frames_come_back_in_their_kind(trained):
    import polars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        stream = trained("plain").stream(polars.from_pandas(early(table())))
        stream.update(polars.from_pandas(later(table())))
    assert isinstance(stream.forecast(), polars.DataFrame)


@pytest.mark.parametrize("kind", ["plain", "two targets, text", "log, segments", "quantiles, long season"])
def test_scores_are_those_of_an_evaluation_of_the_same_windows(kind, trained):
    forecaster, df = trained(kind), table()
    stream = forecaster.stream(early(df))
    rows = later(df)
    for number, (_, part) in enumerate(rows.groupby("ds")):
        if number <= 36:  # the last window of the evaluation
            stream.forecast([80])
        stream.update(part)
    windows = forecaster.evaluate(df)
    found = stream.metrics().set_index("model")
    for model in ("lstm", "naive", "seasonal_naive"):
        error = windows[model] - windows["y"]
        if "long season" in kind and model == "seasonal_naive":
            continue  # a stream of 60 rows has seen fewer seasons than the whole table
        assert found.loc[model, "n"] == len(windows)
        np.testing.assert_allclose(found.loc[model, "mae"], error.abs().mean(), rtol=1e-5)
        np.testing.assert_allclose(found.loc[model, "rmse"], np.sqrt((error**2).mean()), rtol=1e-5)
    assert 0 < found.loc["lstm", "coverage-80"] <= 1
    by_step = stream.metrics("horizon")
    assert by_step[by_step["model"] == "lstm"]["key"].tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(by_step[by_step["model"] == "naive"]["n"], len(windows) / 4)
    assert stream.metrics("series")["key"].tolist() == ["a", "b"] * 3
    with pytest.raises(ConfigError, match="by is 'target'"):
        stream.metrics("target")


def test_the_alarm_rings_when_the_errors_grow(trained):
    forecaster, df = trained("plain"), table(rows=160)
    calm, wild = forecaster.stream(early(df)), forecaster.stream(early(df))
    shifted = later(df).assign(y=lambda rows: rows["y"] + 30 * np.sin(np.arange(len(rows))))
    for stream, rows in ((calm, later(df)), (wild, shifted)):
        for _, part in rows.groupby("ds"):
            stream.forecast()
            stream.update(part)
    assert calm.alarm == {"a": False, "b": False}
    assert wild.alarm == {"a": True, "b": True}
