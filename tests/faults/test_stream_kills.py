"""``lstmjax stream`` in processes: what a kill leaves, one process at a time, and an output that is closed."""

import json
import random
import signal
import threading
import time

import numpy as np
import pandas as pd
import pytest

ROWS = 160


@pytest.fixture(scope="module")
def new(csv):
    """Rows that follow those of the run."""
    last = pd.read_csv(csv, parse_dates=["ds"])["ds"].iloc[-1]
    t = 100 + np.arange(ROWS)
    noise = np.random.default_rng(1).normal(0, 0.1, ROWS)
    return pd.DataFrame({"ds": pd.date_range(last, periods=ROWS + 1, freq="h")[1:], "y": np.sin(t / 3) + noise})


def csv_of(df, header=False):
    return df.to_csv(index=False, header=header)


@pytest.fixture
def follow(start, whole):
    """Starts the command on a file of rows that grows."""

    def command(folder):
        files = ["--follow", folder / "rows.csv", "--out", folder / "out.jsonl", "--state", folder / "S"]
        return start("stream", whole, *files, "--level", 80)

    return command


@pytest.fixture
def stream(start, whole, tmp_path):
    """Runs the command on a standard input to its end."""

    def command(text, *flags, **order):
        (tmp_path / "input").write_text(text)
        started = start("stream", whole, *flags, stdin=str(tmp_path / "input"), **order)
        started.wait()
        return started

    return command


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


def wait_for(folder, lines, process):
    limit = time.monotonic() + 100
    out = folder / "out.jsonl"
    while not out.exists() or out.read_bytes().count(b"\n") < lines:
        assert process._zygote.ask({"wait": process.pid, "seconds": 0.001})["status"] is None, process.stderr
        assert time.monotonic() < limit
        time.sleep(0.02)


def kill(process):
    process.signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def ended(folder, process):
    """Ends the command as a user does; the files that it leaves."""
    process.signal(signal.SIGTERM)
    assert process.wait(30) == 143
    assert "stopped, " in process.stderr
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kills", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_kills_at_random_moments_leave_the_bytes_of_a_run_without(kills, follow, new, tmp_path):
    rows = csv_of(new, header=True)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one/rows.csv").write_text(rows)
    process = follow(tmp_path / "one")
    wait_for(tmp_path / "one", ROWS, process)
    expected = ended(tmp_path / "one", process)

    # The rows come in pieces that end anywhere.
    (tmp_path / "two/rows.csv").write_text("")

    def grow():
        with (tmp_path / "two/rows.csv").open("a") as file:
            for begin in range(0, len(rows), 97):
                file.write(rows[begin : begin + 97])
                file.flush()
                time.sleep(0.05)

    growing = threading.Thread(target=grow)
    growing.start()
    random.seed(1)
    for number in range(kills):
        process = follow(tmp_path / "two")
        wait_for(tmp_path / "two", (number + 1) * 120 // kills, process)
        time.sleep(random.random())
        kill(process)
    growing.join()
    state = tmp_path / "two/S/stream.npz"
    before = state.stat().st_mtime_ns
    process = follow(tmp_path / "two")
    while state.stat().st_mtime_ns == before:  # not yet at work
        time.sleep(0.05)
    wait_for(tmp_path / "two", ROWS, process)
    found = ended(tmp_path / "two", process)
    assert found.keys() == expected.keys()
    assert [str(path) for path in found if found[path] != expected[path]] == []


def test_a_state_of_standard_input_serves_a_file_and_the_other_way_round_one_process_at_a_time(
    stream, follow, new, tmp_path
):
    state = ("--state", tmp_path / "S")
    first = lines_of(stream(csv_of(new.iloc[:20], header=True), *state).stdout)
    (tmp_path / "rows.csv").write_text(csv_of(new.iloc[:60], header=True))
    process = follow(tmp_path)
    wait_for(tmp_path, 40, process)
    assert "is in use by another process" in stream(csv_of(new.iloc[60:70]), *state).error()
    ended(tmp_path, process)
    second = lines_of((tmp_path / "out.jsonl").read_text())
    continued = stream(csv_of(new.iloc[60:70]), *state)
    assert continued.wait() == 0
    assert len(continued.stderr.splitlines()) == 1
    whole = lines_of(stream(csv_of(new.iloc[:70])).stdout)
    parts = first + second + lines_of(continued.stdout)
    assert [line["forecast"] for line in parts] == [line["forecast"] for line in whole]


def test_output_that_is_closed_ends_it_in_one_line(stream, new, tmp_path):
    state = ("--state", tmp_path / "S")
    closed = stream(csv_of(new.iloc[:4]), *state, without_output=True)
    assert "standard output is closed" in closed.error()
    assert len(closed.stderr.splitlines()) == 1
    assert len(lines_of(stream(csv_of(new.iloc[:4]), *state).stdout)) == 4  # no line was lost
