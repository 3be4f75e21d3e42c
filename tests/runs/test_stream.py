"""``lstmjax stream`` as it is typed: good rows, and bad lines."""

import io
import json
import os
import random
import shutil
import signal
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest

from lstmjax import Forecaster
from lstmjax.cli.app import main
from lstmjax.runs.stream_lines import LONGEST, Lines

SMALL = [
    "--data.h=4",
    "--data.input-size=12",
    "--data.season-length=6",
    "--model.name=direct",
    "--model.hidden-size=5",
    "--model.head-size=0",
    "--train.max-steps=5",
    "--train.val-check-steps=5",
    "--train.batch-size=16",
]
STATEFUL = ["--model.instance-norm=none", "--model.instance-scale=none"]


def table(rows, names=("a", "b")):
    t = np.arange(rows)
    ds = pd.date_range("2024-03-01", periods=rows, freq="h")
    noise = np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {"temp": np.cos(t / 9), "unique_id": n, "ds": ds, "y": 5 + k + np.sin(t / 3) + noise.normal(size=rows) / 5}
        )
        for k, n in enumerate(names)
    ]
    return pd.concat(frames).sort_values("ds", kind="stable", ignore_index=True)


ALL = table(200)
TRAINED = ALL.iloc[:240]
NEW = ALL.iloc[240:]


def csv_of(df, header=False):
    return df.to_csv(index=False, header=header)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    TRAINED.to_csv(folder / "trained.csv", index=False)
    main(["train", "--run-dir", str(folder / "R"), "--data.path", str(folder / "trained.csv"), *SMALL, *STATEFUL])
    return folder / "R"


@pytest.fixture
def stream(run, capfd, monkeypatch, tmp_path):
    """Runs the command on some input; returns the lines, the messages and the exit status."""

    def call(text, *flags):
        (tmp_path / "input").write_bytes(text if isinstance(text, bytes) else text.encode())
        capfd.readouterr()
        with (tmp_path / "input").open() as file:
            monkeypatch.setattr(sys, "stdin", file)
            status = 0
            try:
                main(["stream", str(run), *map(str, flags)])
            except SystemExit as stopped:
                status = stopped.code
        said = capfd.readouterr()
        lines = [json.loads(line, parse_constant=pytest.fail) for line in said.out.splitlines()]
        return lines, said.err.splitlines(), status

    return call


def test_rows_without_a_header_are_in_the_columns_of_the_training_file(stream, run):
    lines, said, status = stream(csv_of(NEW), "--level", 80)
    assert status == 0
    assert said == ["lstmjax: the input has ended: 160 observed"]
    assert [line["offset"] for line in lines] == list(range(1, 161))
    assert [line["unique_id"] for line in lines[:4]] == ["a", "b", "a", "b"]
    assert lines[0]["ds"] == "2024-03-06 00:00:00"
    last = Forecaster.load(run).predict(ALL)
    for line, (_, expected) in zip(lines[-2:], last.groupby("unique_id"), strict=True):
        np.testing.assert_allclose(line["forecast"], expected["lstm"], rtol=1e-6)
        assert (np.array(line["lo-80"]) < line["forecast"]).all()
        assert (np.array(line["hi-80"]) > line["forecast"]).all()
        assert line["alarm"] is False


def test_a_header_and_json_say_the_columns(stream):
    new = NEW.iloc[:40]
    plain = stream(csv_of(new))[0]
    other = new.assign(more="x, y")[["more", "y", "ds", "temp", "unique_id"]]
    with_header = stream(csv_of(other, header=True))[0]
    as_json = stream("\n".join(json.dumps(row) for row in new.astype({"ds": str}).to_dict("records")) + "\n")[0]
    for found in (with_header, as_json):
        assert [line | {"offset": 0} for line in found] == [line | {"offset": 0} for line in plain]
    assert with_header[0]["offset"] == 2


def test_the_metrics_are_those_of_the_forecasts_that_were_written(stream):
    lines = [line for line in stream(csv_of(NEW), "--level", 80)[0] if line["unique_id"] == "a"]
    y = NEW.loc[NEW["unique_id"] == "a", "y"].to_numpy()
    errors, inside = [], []
    for place, line in enumerate(lines):
        for step in range(4):
            if place + 1 + step < len(y):
                truth = y[place + 1 + step]
                errors.append(abs(truth - line["forecast"][step]))
                inside.append(line["lo-80"][step] <= truth <= line["hi-80"][step])
    assert lines[-1]["metrics"]["n"] == len(errors)
    assert lines[-1]["metrics"]["mae"] == pytest.approx(np.mean(errors), rel=1e-7)
    assert lines[-1]["metrics"]["coverage-80"] == pytest.approx(np.mean(inside))


def test_a_header_further_down_says_the_columns_of_the_rows_after_it(stream):
    plain = stream(csv_of(NEW.iloc[:20]))[0]
    other = NEW[["y", "unique_id", "ds", "temp"]]  # read in the order of before, temp would be y
    for begin in ("", "\n", csv_of(NEW.iloc[:6], header=True)):
        lines, said, _ = stream(begin + csv_of(other.iloc[6 if len(begin) > 1 else 0 : 20], header=True))
        assert said == ["lstmjax: the input has ended: 20 observed"]
        assert [line | {"offset": 0} for line in lines] == [line | {"offset": 0} for line in plain]


@pytest.mark.filterwarnings("always::lstmjax.data.table.DataWarning")
def test_the_order_of_columns_is_guessed_with_a_warning_where_the_training_file_is_gone(stream, run):
    own = NEW[["unique_id", "ds", "y"]].iloc[:6]
    plain = stream(csv_of(NEW.iloc[:6]))[0]
    trained = run.parent / "trained.csv"
    trained.rename(trained.with_suffix(".moved"))
    try:
        lines, said, _ = stream(csv_of(own))
        assert [line["forecast"] for line in lines] == [line["forecast"] for line in plain]
        assert said[:-1] == [
            "lstmjax: warning: the training data cannot be read, so rows without a header are read as unique_id, ds, "
            "y: give a header where their order is another"
        ]
        assert len(stream(csv_of(own, header=True))[1]) == 1
    finally:
        trained.with_suffix(".moved").rename(trained)


def row(text=None, **cells):
    """A line of CSV with some cells changed; the third new one."""
    return text if text is not None else csv_of(NEW.iloc[[2]].astype(object).assign(**cells))


BAD = {
    "an unknown series": (row(unique_id="nobody"), "series 'nobody' is not in the stream"),
    "off the grid": (row(ds="2024-03-06 01:07:00"), "not a whole number of steps of 'h'"),
    "a jump back": (row(ds="2024-03-05 20:00:00", y=77.0), "the row is late: series 'a' has rows up to 2024-03-06 00"),
    "a jump ahead": (row(ds="2424-03-06 20:00:00"), "is the time wrong?"),
    "no date": (row(ds="2024-02-30 00:00:00"), "column 'ds' is '2024-02-30 00:00:00'"),
    "infinite": (row(y=np.inf), "column 'y' is inf: expected a finite number"),
    "infinite text": (row(y="-Infinity"), "column 'y' is -inf: expected a finite number"),
    "text": (row(y="many"), "column 'y' is 'many': expected a number"),
    "too few cells": (row("1.0,a\n"), "has 2 cells: expected 4, of the columns temp, unique_id, ds, y"),
    "too many cells": (row("1.0,a,2024-03-06 01:00:00,5.0,6.0\n"), "has 5 cells: expected 4"),
    "a quote that is not closed": (row('1.0,"a,2024-03-06 01:00:00,5.0\n'), "is not a row of CSV"),
    "not JSON": (row('{"unique_id": "a", \n'), "is not JSON"),
    "JSON without a column": (
        row('{"unique_id": "a", "ds": "2024-03-06 01:00:00", "temp": 1}\n'),
        "has no column 'y': it has unique_id, ds, temp",
    ),
    "JSON with a list": (row('{"unique_id": "a", "ds": "2024-03-06 01:00:00", "y": [1]}\n'), "column 'y' is a list"),
    "JSON with a huge number": (
        row('{"unique_id": "a", "ds": "2024-03-06 01:00:00", "temp": 1, "y": 1' + "0" * 400 + "}\n"),
        "column 'y' is a whole number too large",
    ),
    "JSON in JSON": (row('{"a":' * 100_000 + "\n"), "is not JSON"),
    "JSON that is no object": (row("[1, 2]\n"), "has 2 cells"),
    "not UTF-8": (b"1.0,\xff,2024-03-06 01:00:00,5.0\n", "is not text in UTF-8"),
    "binary": (b"1.0,a,2024-03-06 01:00:00,\x005.0\n", "holds binary data"),
    "10 MB": (b"1" * 10_000_000 + b"\n", "is longer than a megabyte"),
    "no name": (row(unique_id=""), "column 'unique_id' is empty"),
    "no time": (row(ds=""), "column 'ds' is empty"),
    "another zone": (row(ds="2024-03-06 01:00:00+02:00"), "column 'ds' holds timestamps"),
    "whole numbers like dates": (row(ds="20240306"), "column 'ds': the whole numbers 20240306 look like dates"),
    "JSON without a series": (row('{"ds": "2024-03-06 01:00:00", "y": 1}\n'), "has no column 'unique_id'"),
}


@pytest.fixture(scope="module")
def kept():
    """What one test has computed for those after it."""
    return {}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_reported_with_its_number_skipped_and_counted(name, stream, kept):
    bad, message = BAD[name]
    bad = bad if isinstance(bad, bytes) else bad.encode()
    before, after = csv_of(NEW.iloc[:2]).encode(), csv_of(NEW.iloc[2:10]).encode()
    lines, said, status = stream(before + bad + after)
    assert status == 0
    assert len(said) == 2
    assert said[0].startswith("lstmjax: warning: standard input: row 3")
    assert message in said[0]
    assert len(said[0]) < 500
    assert said[1] == "lstmjax: the input has ended: 10 observed, 1 malformed"
    if "good" not in kept:
        kept["good"] = stream(before + after)[0]
    assert [line | {"offset": 0} for line in lines] == [line | {"offset": 0} for line in kept["good"]]


@pytest.mark.parametrize("name", BAD)
def test_strict_stops_at_a_bad_line(name, stream):
    bad, message = BAD[name]
    bad = bad if isinstance(bad, bytes) else bad.encode()
    lines, said, status = stream(csv_of(NEW.iloc[:2]).encode() + bad + csv_of(NEW.iloc[2:10]).encode(), "--strict")
    assert status == 2
    assert len(lines) == 2
    assert len(said) == 1
    assert said[0].startswith("lstmjax: error: standard input: row 3")
    assert message in said[0]


def test_the_end_of_the_input_in_the_middle_of_a_line(stream):
    lines, said, status = stream(csv_of(NEW.iloc[:3])[:-4])
    assert (len(lines), status) == (2, 0)
    assert "row 3 has no end: the input ended in the middle of it: skipped" in said[0]


def test_an_empty_target_is_known_future_and_a_missing_row_is_masked(stream):
    empty = NEW.iloc[2:4].assign(y=np.nan)
    lines, said, _ = stream(csv_of(pd.concat([NEW.iloc[:2], empty, NEW.iloc[4:10]])))
    assert said == ["lstmjax: the input has ended: 8 observed, 2 future"]
    without = stream(csv_of(NEW.drop(index=NEW.index[2:4]).iloc[:8]))[0]
    assert lines[-1]["forecast"] == without[-1]["forecast"]


def test_empty_lines_and_carriage_returns(stream):
    plain = stream(csv_of(NEW.iloc[:6]))[0]
    found, said, _ = stream("\ufeff" + csv_of(NEW.iloc[:6], header=True).replace("\n", "\r\n\r\n"))
    assert [line["forecast"] for line in found] == [line["forecast"] for line in plain]
    assert len(said) == 1


def test_late_rows_by_policy(stream):
    late = pd.concat([NEW.iloc[:10], NEW.iloc[[4]].assign(y=9.0), NEW.iloc[10:12]])
    right = NEW.iloc[:12].assign(y=NEW["y"].iloc[:12].where(NEW.index[:12] != NEW.index[4], 9.0))
    skipped, said, _ = stream(csv_of(late), "--late", "skip")
    assert said == ["lstmjax: the input has ended: 12 observed, 1 late"]
    assert skipped[-1]["forecast"] == stream(csv_of(NEW.iloc[:12]))[0][-1]["forecast"]
    corrected, said, _ = stream(csv_of(late), "--late", "correct")
    assert said == ["lstmjax: the input has ended: 12 observed, 1 correction"]
    assert corrected[-2]["forecast"] == stream(csv_of(right))[0][-2]["forecast"]


def test_the_time_of_a_line_is_that_of_the_row_after_which_its_forecast_begins(stream):
    future, late = NEW.iloc[[8]].assign(y=np.nan), NEW.iloc[[2]].assign(y=9.0)
    unknown = NEW.iloc[[8]].assign(unique_id="c", y=np.nan)
    rows = pd.concat([NEW.iloc[:6], future, late, unknown])
    lines, said, _ = stream(csv_of(rows), "--late", "correct", "--new-series", "add")
    assert said == ["lstmjax: the input has ended: 6 observed, 2 future, 1 correction"]
    times = [line["ds"] for line in lines if line["unique_id"] == "a"]
    assert times == [f"2024-03-06 0{hour}:00:00" for hour in (0, 1, 2, 2, 2)]
    assert len(lines) == 8  # nothing is forecast before the first observed row of a series


def test_new_series_join(stream):
    new = table(140, ("a", "b", "c")).iloc[360:]
    lines, said, _ = stream(csv_of(new), "--new-series", "add", "--level", 50)
    assert said == ["lstmjax: the input has ended: 60 observed"]
    assert lines[-1]["unique_id"] == "c"
    assert len(lines[-1]["lo-50"]) == 4


def test_a_state_continues(stream, tmp_path):
    whole = stream(csv_of(NEW.iloc[:40]))[0]
    first = stream(csv_of(NEW.iloc[:30]), "--state", tmp_path / "S")[0]
    second = stream(csv_of(NEW.iloc[20:40]), "--state", tmp_path / "S")[0]  # ten rows that were seen already
    assert [line | {"offset": 0} for line in first + second] == [line | {"offset": 0} for line in whole]
    assert sorted(path.name for path in (tmp_path / "S").iterdir()) == ["held_out.npz", "stream.npz"]


@pytest.mark.parametrize("mode", ["window", "stateful"])
def test_modes(mode, stream, tmp_path):
    lines, _, status = stream(csv_of(NEW.iloc[:8]), "--mode", mode, "--state", tmp_path / "S")
    assert (len(lines), status) == (8, 0)
    _, said, status = stream(
        "", "--mode", {"window": "stateful", "stateful": "window"}[mode], "--state", tmp_path / "S"
    )
    assert status == 2
    assert said == [
        f"lstmjax: error: --mode is {'stateful' if mode == 'window' else 'window'}, the state in {tmp_path / 'S'} is "
        f"{mode}: give that, or name another directory"
    ]


def mistakes(folder):
    (folder / "full").write_text("something\n")
    return {
        "no file": (["--follow", folder / "nothing"], "nothing: cannot be read (No such file or directory)"),
        "output that is full": (["--out", folder / "full"], "full holds something already"),
        "a level": (["--level", "120"], "120"),
        "a level of too few errors": (["--level", "99.99"], "needs the errors of"),
        "a state that is a file": (["--state", folder / "full"], "full: cannot be written"),
    }


@pytest.mark.parametrize(
    "name", ["no file", "output that is full", "a level", "a level of too few errors", "a state that is a file"]
)
def test_mistakes(name, stream, tmp_path):
    flags, message = mistakes(tmp_path)[name]
    lines, said, status = stream(csv_of(NEW.iloc[:2]), *flags)
    assert (lines, status, len(said)) == ([], 2, 1)
    assert message in said[0]
    assert (tmp_path / "full").read_text() == "something\n"


def test_lines_are_the_same_however_they_are_read():
    text = b"one\r\n\ntwo\n" + b"x" * (LONGEST + 5) + b"\nthree\nfour"
    whole = [*Lines().feed(text)]
    random.seed(0)
    for _ in range(20):
        lines, found = Lines(), []
        cuts = sorted(random.sample(range(len(text)), 8))
        for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            found += lines.feed(text[begin:end])
        assert found == whole
        (rest,) = lines.end()
        assert (rest.text, rest.whole) == (b"four", False)
    assert [line.text for line in whole] == [b"one", b"", b"two", None, b"three"]
    assert [line.end for line in whole][:3] == [5, 6, 10]


def test_an_output_that_the_state_did_not_write_is_never_cut(stream, tmp_path):
    out, state = tmp_path / "out.jsonl", tmp_path / "S"

    def refused(number):
        copy = shutil.copytree(state, tmp_path / f"S{number}")
        _, said, status = stream(csv_of(NEW.iloc[10:12]), "--state", copy, "--out", out)
        assert status == 2
        return said[-1]

    stream(csv_of(NEW.iloc[:4]), "--state", state)  # to standard output
    out.write_text("mine\n")
    assert "out.jsonl holds something already" in refused(0)
    assert out.read_text() == "mine\n"
    out.unlink()
    assert stream(csv_of(NEW.iloc[4:10]), "--state", state, "--out", out)[2] == 0
    right = out.read_bytes()
    for number, wrong in enumerate((b"mine\n" * 1000, right + b"mine\n", right[:-9] + b"123456789"), start=1):
        out.write_bytes(wrong)
        assert "is not what the state has written" in refused(number)
        assert out.read_bytes() == wrong
    out.unlink()
    assert "has 0 bytes, and the state says" in refused(4)
    assert not out.exists()
    out.write_bytes(right + right[:50])  # of a process that was killed
    assert stream(csv_of(NEW.iloc[10:12]), "--state", state, "--out", out)[2] == 0
    assert out.read_bytes().startswith(right)
    assert len(out.read_bytes().splitlines()) == 8


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_output_that_is_full_ends_it_in_one_line(run, tmp_path, stream, capfd, monkeypatch):
    (tmp_path / "rows").write_text(csv_of(NEW.iloc[:4]))
    with (
        (tmp_path / "rows").open() as rows,
        open("/dev/full", "w", buffering=1) as full,
        monkeypatch.context() as patched,
    ):
        patched.setattr(sys, "stdin", rows)
        patched.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as stopped:
            main(["stream", str(run), "--state", str(tmp_path / "S")])
    assert stopped.value.code == 2
    (said,) = capfd.readouterr().err.splitlines()
    assert "standard output: cannot be written (No space left on device)" in said
    assert len(stream(csv_of(NEW.iloc[:4]), "--state", tmp_path / "S")[0]) == 4  # no line was lost


def test_input_that_is_closed_ends_it_in_one_line(run, capfd, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)  # as Python begins where descriptor 0 is closed
    with pytest.raises(SystemExit) as stopped:
        main(["stream", str(run)])
    assert stopped.value.code == 2
    (said,) = capfd.readouterr().err.splitlines()
    assert "standard input is closed" in said


def test_a_followed_file_that_becomes_another_ends_the_command(run, stream, tmp_path):
    rows, out = tmp_path / "rows.csv", tmp_path / "out.jsonl"

    def text(number):
        return csv_of(NEW.iloc[:number], header=True)

    def ended_by(change, lines, *, more=None):
        """What the command says when the file is changed after it has written some lines."""

        def wait_and_change():
            limit = time.monotonic() + 60
            while (not out.exists() or out.read_bytes().count(b"\n") < lines) and time.monotonic() < limit:
                time.sleep(0.02)
            change()
            if not done.wait(60):
                os.kill(os.getpid(), signal.SIGTERM)  # it did not end by itself: then not with status 2

        if more is not None:
            rows.write_text(more)
        done = threading.Event()
        changing = threading.Thread(target=wait_and_change)
        changing.start()
        _, said, status = stream("", "--follow", rows, "--out", out, "--state", tmp_path / "S", "--level", 80)
        done.set()
        changing.join()
        assert status == 2
        assert out.read_bytes().count(b"\n") == lines
        assert said[-1].startswith("lstmjax: error: ")
        assert "Traceback" not in "".join(said)
        return said[-1]

    def replace():
        (tmp_path / "new.csv").write_text(text(80))
        (tmp_path / "new.csv").rename(rows)

    assert "replaced by another file" in ended_by(replace, 40, more=text(40))
    assert "cannot be read" in ended_by(rows.unlink, 80)  # with the rows of before and more
    assert "became shorter" in ended_by(lambda: rows.write_text(text(40)[:300]), 100, more=text(100))
    others = "x" * 99_999
    assert "is not the file that the state has read" in ended_by(lambda: None, 100, more=others)


def test_the_live_view(run, tmp_path):
    from rich.console import Console

    from lstmjax.forecaster.stream.base import Policies
    from lstmjax.runs.stream import Session, StreamOptions
    from lstmjax.runs.stream_lines import Line
    from lstmjax.runs.stream_view import View

    options = StreamOptions(Policies(), (80.0,), None, None, tmp_path / "out", False)
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with Session(Forecaster.load(run), options) as session, View(session, True, console) as view:
        for number, text in enumerate(csv_of(NEW.iloc[:8]).splitlines()):
            session.take(Line(text.encode(), number + 1, 0))
        view.show()
    shown = console.file.getvalue()
    assert "coverage-80" in shown
    assert "8 observed" in shown
