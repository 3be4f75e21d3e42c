"""Runs that are killed, and runs that are asked to end: both go on to the same bytes."""

import json
import signal
import time

import numpy as np
import pytest

from lstmjax.storage import checkpoint

CHECKS = 20  # of a whole run


def moments(seed, count):
    """Random moments: some checks, and up to 40 ms more, which is about what a save takes."""
    random = np.random.default_rng(seed)
    return [(int(random.integers(0, CHECKS - 4)), float(random.uniform(0, 0.04))) for _ in range(count)]


def wait_for_a_save(directory):
    """Returns in the middle of one, or where none is any more, before the process has ended."""
    deadline = time.monotonic() + 0.2
    while time.monotonic() < deadline and not list(directory.glob("checkpoints/*tmp*")):
        pass


@pytest.mark.parametrize("kills", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_one_run_killed_at_random_moments_and_asked_to_end_twice(
    kills, start, options, after, assert_same_files, tmp_path
):
    directory, torn = tmp_path / "run", 0
    asked = [(0, 0.0, signal.SIGTERM), (15, 0.0, signal.SIGINT)]
    command = start(*options, "--run-dir", directory)
    for checks, seconds, number in sorted(asked + [(*moment, signal.SIGKILL) for moment in moments(0, kills)]):
        after(command, directory, checks, seconds)
        if number == signal.SIGKILL:
            wait_for_a_save(directory)
            command.signal(number)
            assert command.wait() == -signal.SIGKILL
            torn += bool(list(directory.glob("checkpoints/*tmp*")))
        else:
            command.signal(number)
            assert command.wait(10) == 128 + number, command.stderr
            assert f"resume with: lstmjax train --resume {directory}" in command.stderr
            assert "Traceback" not in command.stderr
            if "interrupted after" in command.stderr:  # what was done is saved, not only what the last check saved
                step = checkpoint.steps(directory / "checkpoints")[-1]
                assert f"interrupted after step {step}:" in command.stderr
                assert step >= 2 * checks
        command = start("train", f"--resume={directory}")
    assert command.wait() == 0, command.stderr
    assert_same_files(directory)
    assert torn  # at least one was in the middle of a save


def test_a_run_killed_before_its_first_save_starts_again(start, options, after, assert_same_files, tmp_path):
    """By default the state is saved every 20 seconds; a resume may save at every check."""
    default = [option for option in options if "save-every" not in option]
    command = start(*default, "--run-dir", tmp_path / "run")
    after(command, tmp_path / "run", 8)
    command.signal(signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL
    assert not checkpoint.steps(tmp_path / "run" / "checkpoints")
    resumed = start("train", "--resume", tmp_path / "run", "--train.save-every-seconds=0")
    assert resumed.wait() == 0, resumed.stderr
    assert "resuming after step 0 of" in resumed.stdout
    assert_same_files(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize(("checks", "seconds"), moments(1, 20))
def test_a_kill_at_any_moment(checks, seconds, start, options, after, assert_same_files, tmp_path):
    command = start(*options, "--run-dir", tmp_path / "run")
    after(command, tmp_path / "run", checks, seconds)
    command.signal(signal.SIGKILL)
    assert command.wait() == -signal.SIGKILL
    resumed = start("train", "--resume", tmp_path / "run")
    assert resumed.wait() == 0, resumed.stderr
    assert_same_files(tmp_path / "run")


@pytest.mark.slow
def test_a_run_that_was_moved_goes_on_in_a_copy(start, options, after, assert_same_files, tmp_path):
    command = start(*options, "--run-dir", tmp_path / "run")
    after(command, tmp_path / "run", 2)
    command.signal(signal.SIGTERM)
    assert command.wait(10) == 143
    (tmp_path / "run").rename(tmp_path / "moved")
    resumed = start("train", "--resume", tmp_path / "moved", "--run-dir", tmp_path / "copy")
    assert resumed.wait() == 0, resumed.stderr
    assert_same_files(tmp_path / "copy")
    assert not (tmp_path / "moved" / "metrics.json").exists()


def test_two_processes_on_one_run(start, options, after, tmp_path):
    first = start(*options, "--run-dir", tmp_path / "run", "--train.max-steps=100000")
    after(first, tmp_path / "run", 1)
    second = start(*options, "--run-dir", tmp_path / "run", "--overwrite")
    assert f"in use by process {first.pid} " in second.error()
    first.signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL


BACKTEST = ["--n-windows=3", "--step-size=3", "--data.test-size=0", "--train.max-steps=24"]


EARLY, LATE = (3, 0.01), (31, 0.02)


@pytest.mark.parametrize(
    ("refits", "moments"),
    [
        (["--refit=yes"], [EARLY, LATE]),
        pytest.param(["--refit=yes"], [EARLY, (16, 0.0), LATE], marks=pytest.mark.slow),
        pytest.param(["--refit=yes", "--warm"], [EARLY, (16, 0.0), LATE], marks=pytest.mark.slow),
    ],
)
def test_a_backtest_killed_at_some_moments(start, options, refits, moments, tmp_path):
    """In one population of three models, or in three of one that begin with the weights of the one before."""
    options = ["backtest", *options[1:], *BACKTEST, *refits]
    whole, directory = tmp_path / "whole", tmp_path / "killed"
    undisturbed = start(*options, "--run-dir", whole)
    assert undisturbed.wait() == 0, undisturbed.stderr
    command = start(*options, "--run-dir", directory)
    for checks, seconds in moments:
        deadline = time.monotonic() + 60
        while sum(log.read_bytes().count(b"\n") for log in directory.glob("refits/*/metrics.jsonl")) < checks:
            assert time.monotonic() < deadline, command.stderr
        time.sleep(seconds)
        command.signal(signal.SIGKILL)
        assert command.wait() == -signal.SIGKILL
        assert not (directory / "metrics.json").exists()
        command = start("backtest", f"--resume={directory}")
    assert command.wait() == 0, command.stderr
    by = [f"metrics_by_{what}.csv" for what in ("series", "target", "horizon", "cutoff")]
    for name in ("backtest.csv.gz", "config.json", *by):
        assert (directory / name).read_bytes() == (whole / name).read_bytes(), name
    logs = [sorted(folder.glob("refits/*/metrics.jsonl")) for folder in (directory, whole)]
    assert [log.parent.name for log in logs[0]] == ["cutoff-1", "cutoff-2", "cutoff-3"]
    for ours, theirs in zip(*logs, strict=True):
        lines = [[json.loads(line) | {"seconds": 0} for line in log.read_text().splitlines()] for log in (ours, theirs)]
        assert lines[0] == lines[1]
    resumed = json.loads((directory / "run.json").read_text())["resumed"]
    assert len(resumed) == len(moments)
