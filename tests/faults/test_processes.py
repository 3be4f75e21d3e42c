"""One model trained by several processes, which are started here on one host and connected by Gloo over loopback."""

import gzip
import json
import signal
import socket

import numpy as np
import pandas as pd
import pytest

from lstmjax.storage import checkpoint

TEST_WINDOWS = 7  # which no number of devices here divides


def group(start, arguments, *, processes=2, port=None, each=lambda number: (), **order):
    """Starts a command line in several processes; returns them, the first one first."""
    if port is None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    place = [f"--distributed.coordinator=127.0.0.1:{port}", f"--distributed.processes={processes}"]
    place.append("--distributed.timeout=60")
    return [
        start(*arguments, *place, f"--distributed.process-id={number}", *each(number), **order)
        for number in range(processes)
    ]


def ended(commands, seconds=120):
    return [command.wait(seconds) for command in commands]


@pytest.fixture(scope="module")
def unsharded(csv, options):
    """What ``lstmjax train`` is told; the devices decide into how many parts a batch is split."""
    return [option for option in options if "batch-shards" not in option]


@pytest.fixture(scope="module")
def two(begin, unsharded, tmp_path_factory):
    """Two processes of one device, and the run that they left."""
    directory = tmp_path_factory.mktemp("two") / "run"
    commands = group(begin, [*unsharded, "--run-dir", directory])
    assert ended(commands) == [0, 0], [command.stderr for command in commands]
    return commands, directory


def state(directory):
    return {k: v for k, v in checkpoint.load(directory / "checkpoints").arrays.items() if k.startswith("state/")}


def test_two_processes_leave_what_one_leaves_with_as_many_devices(start, two, unsharded, assert_same_files, tmp_path):
    (first, second), directory = two
    alone = start(*unsharded, "--run-dir", tmp_path / "alone", devices=2)
    assert alone.wait() == 0, alone.stderr
    assert_same_files(directory, tmp_path / "alone")
    assert json.loads((directory / "config.json").read_text())["train"]["batch_shards"] == 2
    assert json.loads((directory / "run.json").read_text())["processes"] == 2
    assert (directory / "lock").read_text().startswith(f"process {first.pid} ")
    assert (second.stdout, second.stderr) == ("", "")
    assert first.stdout.replace(str(directory), "") == alone.stdout.replace(str(tmp_path / "alone"), "")
    table = pd.read_csv(gzip.open(directory / "test_forecasts.csv.gz"))
    assert len(table) == 2 * TEST_WINDOWS
    assert not table.duplicated(["ds", "cutoff"]).any()


def test_a_signal_to_one_stops_all_and_another_number_of_processes_resumes(
    start, two, unsharded, after, assert_same_files, tmp_path
):
    directory = tmp_path / "run"
    commands = group(start, [*unsharded, "--run-dir", directory])
    after(commands[0], directory, 5)
    commands[1].signal(signal.SIGTERM)
    assert ended(commands, 10) == [143, 143], [command.stderr for command in commands]
    step = checkpoint.steps(directory / "checkpoints")[-1]
    said = f"lstmjax: interrupted after step {step}: resume with: lstmjax train --resume {directory}"
    assert commands[0].stderr.splitlines()[-1] == said
    assert commands[1].stderr == ""
    resumed = start("train", "--resume", directory, devices=2)
    assert resumed.wait() == 0, resumed.stderr
    assert f"resuming after step {step} of 40" in resumed.stdout
    assert "rounded differently" not in resumed.stderr
    ours, theirs = state(directory), state(two[1])
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-5, atol=1e-5, err_msg=name)


def test_after_the_death_of_one_all_end_and_a_resume_comes_to_the_same_bytes(
    start, two, unsharded, after, assert_same_files, tmp_path
):
    directory = tmp_path / "run"
    commands = group(start, [*unsharded, "--run-dir", directory])
    after(commands[0], directory, 5, 0.01)
    commands[1].signal(signal.SIGKILL)
    assert commands[1].wait() == -signal.SIGKILL
    assert commands[0].wait(60) == 75, commands[0].stderr
    gone = "lstmjax: error: another process of this run has died or cannot be reached: resume with: lstmjax train"
    assert gone in commands[0].stderr
    assert "Traceback" not in commands[0].stderr
    commands = group(start, ["train", "--resume", directory])
    assert ended(commands) == [0, 0], [command.stderr for command in commands]
    assert_same_files(directory, two[1])
