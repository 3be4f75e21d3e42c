"""Real processes to do harm to, on a run so small that its start is what takes time."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

OPTIONS = [
    "--data.h=2",
    "--data.input-size=4",
    "--data.val-size=8",
    "--data.test-size=8",
    "--model.hidden-size=24",
    "--model.name=direct",
    "--model.head-size=0",
    "--train.batch-size=32",
    "--train.batch-shards=1",
    "--train.max-steps=40",
    "--train.val-check-steps=2",
    "--train.early-stop-patience-steps=-1",
    "--train.save-every-seconds=0",
]


class Command:
    """A command line of lstmjax that runs in a process of its own."""

    def __init__(self, zygote, folder, arguments, **order):
        self._zygote = zygote
        self.out, self.err = folder / "stdout", folder / "stderr"
        order |= {"arguments": [str(argument) for argument in arguments]}
        self.pid = zygote.ask(order | {"stdout": str(self.out), "stderr": str(self.err)})["pid"]
        self.began = time.monotonic()
        self.status = None

    def wait(self, seconds=120.0):
        """The exit status; negative where a signal killed the process."""
        if self.status is None:
            self.status = self._zygote.ask({"wait": self.pid, "seconds": seconds})["status"]
        assert self.status is not None, f"still running after {seconds} seconds: {self.stderr}"
        return self.status

    def signal(self, number):
        os.kill(self.pid, number)

    @property
    def stderr(self):
        return self.err.read_text() if self.err.exists() else ""

    @property
    def stdout(self):
        return self.out.read_text()

    def error(self):
        """The one line that a mistake ends with."""
        assert self.wait() == 2, self.stderr
        assert "Traceback" not in self.stderr
        (line,) = [line for line in self.stderr.splitlines() if line.startswith("lstmjax: error: ")]
        return line.removeprefix("lstmjax: error: ")


class Zygote:
    """See zygote.py."""

    def __init__(self):
        # Little optimisation: these programs run for a second, and are compiled for longer.
        flags = f"{os.environ['XLA_FLAGS']} --xla_backend_optimization_level=0"
        environment = os.environ | {"XLA_FLAGS": flags, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert json.loads(self._process.stdout.readline()) == {"ready": True}

    def ask(self, order):
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def zygote():
    started = Zygote()
    yield started
    started.close()


@pytest.fixture
def start(zygote, tmp_path):
    """Starts command lines; those that still run at the end of the test are killed."""
    started = []

    def run(*arguments, **order):
        folder = tmp_path / f"process-{len(started)}"
        folder.mkdir()
        started.append(Command(zygote, folder, arguments, **order))
        return started[-1]

    yield run
    for command in started:
        if command.status is None:
            command.signal(signal.SIGKILL)
            command.wait()


@pytest.fixture(scope="session")
def begin(zygote, tmp_path_factory):
    """Starts a command line that is waited for where it is started."""

    def run(*arguments, **order):
        return Command(zygote, tmp_path_factory.mktemp("process"), arguments, **order)

    return run


@pytest.fixture(scope="session")
def csv(tmp_path_factory):
    t = np.arange(100)
    noise = np.random.default_rng(0).normal(0, 0.1, len(t))
    table = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=len(t), freq="h"), "y": np.sin(t / 3) + noise})
    path = tmp_path_factory.mktemp("data") / "series.csv"
    table.to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def options(csv):
    """What ``lstmjax train`` is told, but for the run directory."""
    return ["train", f"--data.path={csv}", *OPTIONS]


@pytest.fixture(scope="session")
def whole(zygote, options, tmp_path_factory):
    """The directory of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    command = Command(zygote, folder, [*options, "--run-dir", folder / "run"])
    assert command.wait() == 0, command.stderr
    return folder / "run"


@pytest.fixture
def after():
    """Waits for a moment of a run: when it has made some validation checks."""

    def moment(command, directory, checks, seconds=0.0):
        def there():
            held = directory / "lock"  # and config.json, so that there is something to resume
            if not (directory / "config.json").exists() or f"process {command.pid} " not in held.read_text():
                return False
            log = directory / "metrics.jsonl"
            return not checks or (log.exists() and log.read_bytes().count(b"\n") >= checks)

        deadline = time.monotonic() + 60
        while not there():
            assert time.monotonic() < deadline, command.stderr
            assert command._zygote.ask({"wait": command.pid, "seconds": 0.001})["status"] is None, command.stderr
        time.sleep(seconds)

    return moment


@pytest.fixture
def assert_same_files(whole):
    """Checks that a run left what an uninterrupted one did, but for the times in it."""
    from lstmjax.storage import checkpoint

    def logged(directory):
        lines = (directory / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) | {"seconds": 0} for line in lines]

    def compare(directory, other=whole):
        for name in ("test_forecasts.csv.gz", "forecast.csv", "config.json"):
            assert (directory / name).read_bytes() == (other / name).read_bytes(), name
        assert logged(directory) == logged(other)
        metrics = [json.loads((d / "metrics.json").read_text()) | {"seconds": 0} for d in (directory, other)]
        assert metrics[0] == metrics[1]
        ours, theirs = (checkpoint.load(d / "checkpoints") for d in (directory, other))
        assert ours.step == theirs.step
        for name, array in theirs.arrays.items():
            assert ours.arrays[name].tobytes() == array.tobytes(), name
        assert [p.name for p in directory.rglob("*tmp*")] == []

    return compare
