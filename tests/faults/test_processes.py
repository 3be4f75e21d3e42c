"""One model trained by several processes, which are started here on one host and connected by Gloo over loopback."""

import functools
import json
import signal
import socket

import numpy as np
import pandas as pd
import pytest

from lstmjax.storage import checkpoint

TEST_WINDOWS = 7  # which no number of devices here divides


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def group(start, arguments, *, processes=2, each=lambda number: (), **order):
    """Starts a command line in several processes; returns them, the first one first."""
    place = [f"--distributed.coordinator=127.0.0.1:{free_port()}", f"--distributed.processes={processes}"]
    place.append("--distributed.timeout=60")
    return [
        start(*arguments, *place, f"--distributed.process-id={number}", *each(number), **order)
        for number in range(processes)
    ]


def ended(commands, seconds=120):
    return [command.wait(seconds) for command in commands]


# The programs of the two feeds give the same bytes where their operations are fused as for users.
EXACT = {"flags": "--xla_backend_optimization_level=0"}


@pytest.fixture(name="start")
def start_exactly(start):
    return functools.partial(start, **EXACT)


@pytest.fixture(scope="module", name="begin")
def begin_exactly(begin):
    return functools.partial(begin, **EXACT)


@pytest.fixture(scope="module")
def unsharded(csv, options):
    """What ``lstmjax train`` is told; the devices decide into how many parts a batch is split."""
    others = [option for option in options if "batch-shards" not in option and "check-steps" not in option]
    return [*others, "--train.val-check-steps=5"]


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
    table = pd.read_csv(directory / "test_forecasts.csv.gz")
    assert len(table) == 2 * TEST_WINDOWS
    assert not table.duplicated(["ds", "cutoff"]).any()


def test_a_signal_to_one_stops_all_and_another_number_of_processes_resumes(
    start, two, unsharded, after, assert_same_files, tmp_path
):
    directory = tmp_path / "run"
    commands = group(start, [*unsharded, "--run-dir", directory])
    after(commands[0], directory, 2)
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


def test_after_the_death_of_one_all_end_and_a_resume_comes_to_the_same_bytes(start, two, unsharded, after, tmp_path):
    directory = tmp_path / "run"
    # Where no connection is in use at that moment, the death is noticed by the heartbeats: by default of 30 seconds.
    commands = group(start, [*unsharded, "--run-dir", directory], heartbeat=5)
    after(commands[0], directory, 2, 0.01)
    commands[1].signal(signal.SIGKILL)
    assert commands[1].wait() == -signal.SIGKILL
    assert commands[0].wait(60) == 75, commands[0].stderr
    gone = "lstmjax: error: another process of this run has died or cannot be reached: resume with: lstmjax train"
    assert gone in commands[0].stderr
    assert "Traceback" not in commands[0].stderr
    # Each process then reads the windows of its own part, which changes no byte.
    commands = group(start, ["train", "--resume", directory, "--train.feed=host"])
    assert ended(commands) == [0, 0], [command.stderr for command in commands]
    assert state(directory).keys() == state(two[1]).keys()
    for name, array in state(two[1]).items():
        assert state(directory)[name].tobytes() == array.tobytes(), name
    for name in ("test_forecasts.csv.gz", "forecast.csv"):
        assert (directory / name).read_bytes() == (two[1] / name).read_bytes(), name


def test_a_mistake_in_meeting_is_one_line(start, unsharded, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        used = f"127.0.0.1:{taken.getsockname()[1]}"
        free, silent = (f"127.0.0.1:{free_port()}" for _ in range(2))
        meet = [*unsharded, "--run-dir", tmp_path / "run"]

        def one(coordinator, processes, number, timeout):
            place = [f"--distributed.coordinator={coordinator}", f"--distributed.processes={processes}"]
            return start(*meet, *place, f"--distributed.process-id={number}", f"--distributed.timeout={timeout}")

        in_use, cluster = one(used, 2, 0, 60), start(*meet, "--distributed.auto")
        first, refused = one(free, 2, 0, 4), one(free, 3, 2, 60)
        alone = one(silent, 2, 1, 1)
        port = used.split(":")[1]
        assert f"coordinator {used}: port {port} cannot be used (Address already in use)" in in_use.error()
        assert "--distributed.auto finds no SLURM job, TPU pod or Open MPI job here" in cluster.error()
        assert f"{free} refused this process: give all processes the same --distributed.processes" in refused.error()
        assert f"not all 2 processes reached {free} within 4 seconds: start those that are missing" in first.error()
        assert f"not all 2 processes reached {silent} within 1 seconds" in alone.error()
    for command in (in_use, cluster, refused, first, alone):
        assert len(command.stderr.splitlines()) == 1
        assert command.stdout == ""
    assert not (tmp_path / "run").exists()


def test_a_mistake_of_one_process_ends_all(start, two, unsharded, csv, tmp_path):
    """Of other data, of a file that is missing on one host, and of a directory in use, which the first alone sees."""
    other = tmp_path / "other.csv"
    other.write_text("".join(line.replace("0.", "0.0") for line in csv.read_text().splitlines(keepends=True)))

    def second(*flags):
        return lambda number: flags if number else ()

    differ = group(start, [*unsharded, "--run-dir", tmp_path / "a"], each=second(f"--data.path={other}"))
    assert "process 1 was given other data than process 0" in differ[0].error()
    absent = group(start, [*unsharded, "--run-dir", tmp_path / "b"], each=second("--data.path=absent.csv"))
    assert "process 1: " in absent[0].error()
    assert "absent.csv" in absent[0].stderr
    assert "absent.csv" in absent[1].error()
    again = group(start, [*unsharded, "--run-dir", two[1]])
    assert "holds a run already" in again[0].error()
    for command in (differ[1], again[1]):
        assert (command.wait(), command.stderr) == (2, "")
    assert list(tmp_path.glob("[ab]")) == []


@pytest.mark.slow
def test_four_processes(start, unsharded, assert_same_files, tmp_path):
    """Of one device each, against one process of four; then two processes of two devices, from the middle on."""
    four = [*unsharded, "--train.batch-size=64"]
    commands = group(start, [*four, "--run-dir", tmp_path / "four"], processes=4)
    assert ended(commands) == [0] * 4, [command.stderr for command in commands]
    alone = start(*four, "--run-dir", tmp_path / "alone", devices=4)
    assert alone.wait() == 0, alone.stderr
    ours, theirs = state(tmp_path / "four"), state(tmp_path / "alone")
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-5, atol=1e-5, err_msg=name)
    tables = [pd.read_csv(tmp_path / run / "test_forecasts.csv.gz") for run in ("four", "alone")]
    assert len(tables[0]) == 2 * TEST_WINDOWS
    pd.testing.assert_frame_equal(*tables, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("then", "shards"), [({"processes": 4}, 4), ({"processes": 2, "devices": 2}, 2)])
def test_a_run_of_two_processes_resumed_by_others(then, shards, start, two, unsharded, after, tmp_path):
    directory = tmp_path / "run"
    commands = group(start, [*unsharded, "--run-dir", directory])
    after(commands[0], directory, 2)
    for command in commands:  # as SLURM sends it to all
        command.signal(signal.SIGUSR1)
    assert ended(commands, 10) == [138, 138]
    commands = group(start, ["train", "--resume", directory], **then)
    assert ended(commands) == [0] * len(commands), [command.stderr for command in commands]
    assert json.loads((directory / "run.json").read_text())["resumed"][0]["batch_shards"] == shards
    assert ("sums are rounded differently" in commands[0].stderr) == (shards != 2)
    ours, theirs = state(directory), state(two[1])
    for name, array in theirs.items():
        if name.startswith("state/params"):
            np.testing.assert_allclose(ours[name], array, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_seeds_a_refit_and_a_fine_tuned_run(start, two, unsharded, assert_same_files, tmp_path):
    """Three members on two devices; and trainings that begin with weights and follow one another."""
    runs = {
        "seeds": ["--seeds=3", "--train.refit-all"],
        "tuned": ["--finetune-from", two[1], "--train.refit-all", "--model.head=point"],
    }
    for name, more in runs.items():
        commands = group(start, [*unsharded, *more, "--run-dir", tmp_path / name])
        assert ended(commands) == [0, 0], [command.stderr for command in commands]
        alone = start(*unsharded, *more, "--run-dir", tmp_path / f"{name}-alone", devices=2)
        assert alone.wait() == 0, alone.stderr
        folders = [tmp_path / name, tmp_path / f"{name}-alone"]
        written, theirs = (sorted(path.relative_to(folder) for path in folder.rglob("*.csv*")) for folder in folders)
        assert written == theirs
        for path in written:
            pd.testing.assert_frame_equal(*(pd.read_csv(folder / path) for folder in folders), rtol=1e-4, obj=str(path))


@pytest.mark.slow
def test_the_first_process_dies_or_fails(start, unsharded, after, tmp_path):
    commands = group(start, [*unsharded, "--run-dir", tmp_path / "killed"])
    after(commands[0], tmp_path / "killed", 2)
    commands[0].signal(signal.SIGKILL)
    assert commands[1].wait(60) == 75, commands[1].stderr
    full = group(start, [*unsharded, "--run-dir", tmp_path / "full"], largest_file=3000)
    assert [status != 0 for status in ended(full, 60)] == [True, True]
    assert "lstmjax: error: " in full[0].stderr
    assert "Traceback" not in full[0].stderr + full[1].stderr


IN_PYTHON = """
import sys
import pandas as pd
import lstmjax
from lstmjax import parallel

port, processes, number, table, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
if processes > 1:
    parallel.connect(f"127.0.0.1:{{port}}", processes, number)
config = lstmjax.RunConfig().replace({options})
with parallel.ending_together(lambda: ""):
    forecaster = lstmjax.Forecaster(config)
    forecaster.fit(pd.read_csv(table, parse_dates=["ds"]), val_size=8, directory=out + "/run")
    forecaster = lstmjax.Forecaster(config).resume(out + "/run", pd.read_csv(table, parse_dates=["ds"]))
    forecaster.predict().to_csv(f"{{out}}/forecast-{{number}}.csv")
"""


@pytest.mark.slow
def test_from_python(start, csv, tmp_path):
    options = {"data.h": 2, "data.input_size": 4, "model.hidden_size": 8, "model.name": "direct", "train.max_steps": 20}
    options |= {"train.batch_size": 32, "train.val_check_steps": 10, "data.test_size": 0}
    code = IN_PYTHON.format(options=options)
    for name, processes in (("two", 2), ("alone", 1)):
        (tmp_path / name).mkdir()
        port = free_port()
        given = [[port, processes, number, csv, tmp_path / name] for number in range(processes)]
        commands = [start(*arguments, code=code, devices=2 // processes) for arguments in given]
        assert ended(commands) == [0] * processes, [command.stderr for command in commands]
    first, second, alone = (
        tmp_path / path for path in ("two/forecast-0.csv", "two/forecast-1.csv", "alone/forecast-0.csv")
    )
    assert first.read_bytes() == second.read_bytes()
    pd.testing.assert_frame_equal(pd.read_csv(first), pd.read_csv(alone), rtol=1e-5)
