"""Launching workers: what each gets, what is refused, and one that runs, is preempted and is requeued."""

import contextlib
import dataclasses
import importlib.util
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lstmjax.config import RunConfig
from lstmjax.errors import ConfigError, Interrupted
from lstmjax.sweep import NoWinnerError, SweepConfig, SweepResult, search
from lstmjax.sweep.study import storage_proxy

SCRIPT = Path(__file__).parents[2] / "scripts" / "launch_sweep.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("launch_sweep", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["launch_sweep"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["launch_sweep"]


@pytest.fixture
def launch(script, tmp_path):
    (tmp_path / "space.toml").write_text('"model.hidden_size" = { type = "choice", values = [8, 16] }\n')

    def make(**more):
        search = SweepConfig(trials=4, population=2, sampler="random", storage=more.pop("storage", None))
        directory = tmp_path / "runs" / "r"
        return script.Launch(tmp_path / "space.toml", directory, search, RunConfig(), script.Slurm(), **more)

    return make


def test_the_cores_of_this_machine_are_divided(script, launch, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2, 3, 4})
    found = script.workers(launch(workers=2, cluster="local", gpus=2))
    assert [worker.cores for worker in found] == [(0, 2, 4), (1, 3)]
    assert [worker.gpus for worker in found] == [(0, 1), (2, 3)]
    crowded = script.workers(launch(workers=7, cluster="local"))
    assert [worker.cores for worker in crowded] == [(0,), (1,), (2,), (3,), (4,), (0,), (1,)]


@pytest.mark.parametrize("storage", [None, "sqlite:////shared/study.db"])
def test_several_hosts_do_not_share_sqlite(script, launch, storage):
    with pytest.raises(ConfigError, match="SQLite cannot be shared by several hosts: .*postgresql"):
        script.main(launch(cluster="slurm", storage=storage))
    with pytest.raises(ConfigError, match="workers is 0"):
        script.main(launch(workers=0))
    with pytest.raises(ConfigError, match="--coordinate needs no --storage"):
        script.main(launch(coordinate=True, storage="postgresql://host/x"))


def test_workers_of_a_coordinator_use_its_proxy(script, launch):
    local = script.workers(launch(cluster="local", coordinate=True, workers=2, port=13001))
    assert [worker.launch.search.storage for worker in local] == ["grpc://localhost:13001"] * 2
    hosts = script.workers(launch(cluster="slurm", coordinate=True, workers=1))
    assert [worker.launch.search.storage for worker in hosts] == [f"grpc://{socket.getfqdn()}:13000"]


def test_a_coordinator_serves_the_database_until_the_workers_end(script, launch, monkeypatch):
    served = []

    def serve(address, host, port):
        served.append((address, host))
        with socket.create_server((host, port)) as listening:
            listening.accept()[0].close()
            time.sleep(60)

    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(storage_proxy, "serve", serve)
    monkeypatch.setattr(search, "run", lambda *_, **__: SweepResult(Path(), pd.DataFrame()))
    asked = launch(cluster="debug", coordinate=True, workers=1, port=port)
    script.main(asked)
    assert served == [(f"sqlite:///{asked.run_dir}/study.db", "localhost")]
    monkeypatch.setattr(script, "LINGER_SECONDS", 0.0)
    monkeypatch.setattr(script, "_serve", lambda launch: None)
    pd.DataFrame({"state": ["COMPLETE", "PRUNED", "FAIL", "FAIL"]}).to_csv(asked.run_dir / "trials.csv")
    script.main(dataclasses.replace(asked, workers=0))


def test_a_proxy_that_cannot_start_is_one_line(script, launch):
    with socket.create_server(("localhost", 0)) as taken:
        asked = launch(cluster="debug", coordinate=True, workers=0, port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match="cannot be listened on .*another --host or --port"):
            script.main(asked)


@pytest.mark.parametrize("coordinate", [False, True])
def test_a_sweep_whose_trials_all_failed_does_not_exit_with_0(script, launch, monkeypatch, coordinate):
    def run(*_, **__):
        raise NoWinnerError("no trial is complete")

    monkeypatch.setattr(search, "run", run)
    monkeypatch.setattr(script, "_serve", lambda launch: None)
    with pytest.raises(SystemExit, match="every worker failed.*no trial is complete") as stopped:
        script.main(launch(cluster="debug", coordinate=coordinate, workers=1))
    assert stopped.value.code  # a text: Python prints it, and exits with 1


def test_slurm_gets_what_a_worker_needs(script, launch):
    requested = script._parameters(launch(cluster="slurm", storage="postgresql://host/x"))
    assert requested["slurm_signal_delay_s"] > script.JOIN_SECONDS
    assert "slurm_partition" not in requested


def test_a_worker_runs_and_its_failure_is_reported(script, launch, monkeypatch, capsys):
    ran = []

    def run(space, base, directory, settings, *, should_stop):
        ran.append((space.name, directory.name, settings.trials, should_stop()))
        raise ConfigError("no data is named")

    monkeypatch.setattr(search, "run", run)
    with pytest.raises(SystemExit, match="every worker failed.*no data is named"):
        script.main(launch(cluster="debug"))
    assert ran == [("space.toml", "r", 4, False)]
    assert "worker 0: job" in capsys.readouterr().out


def test_a_preempted_worker_saves_before_it_is_requeued(script, launch, monkeypatch):
    saved = []

    def run(space, base, directory, settings, *, should_stop):
        while not should_stop():
            time.sleep(0.01)
        saved.append(directory)
        raise Interrupted

    monkeypatch.setattr(search, "run", run)
    worker = script.Worker(launch(cluster="debug"))
    requeued = []

    def preempted():
        while not hasattr(worker, "_thread"):
            time.sleep(0.01)
        requeued.append(worker.checkpoint())
        requeued.append(list(saved))

    other = threading.Thread(target=preempted)
    other.start()
    with pytest.raises(Interrupted):
        worker()
    other.join()
    assert len(requeued[1]) == 1
    assert requeued[0].function.launch == worker.launch
    assert not hasattr(requeued[0].function, "_thread")


REAL = """--sampler=sobol --halving=2 --data.h=6 --data.input-size=12 --model.hidden-size=4 --model.head-size=0
    --train.batch-size=16 --train.max-steps=60000 --train.val-check-steps=3000 --trials=8 --population=2""".split()


def running(database: Path) -> int:
    """The number of running trials."""
    if not database.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)) as connection:
        try:
            return connection.execute("select count(*) from trials where state = 'RUNNING'").fetchone()[0]
        except sqlite3.OperationalError:  # no tables yet
            return 0


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--coordinate"]])
def test_of_four_workers_that_train_one_is_killed(tmp_path, more):
    ds = pd.date_range("2024-01-01", periods=300, freq="h")
    noise = np.random.default_rng(0).normal(0, 0.1, 300)
    table = pd.DataFrame({"ds": ds, "y": 5 + np.sin(np.arange(300) * np.pi / 12) + noise})
    table.to_csv(tmp_path / "d.csv", index=False)
    space = tmp_path / "space.toml"
    space.write_text('"optimizer.learning_rate" = { type = "loguniform", low = 1e-4, high = 0.3 }\n')
    options = [*REAL, f"--data.path={tmp_path}/d.csv"]
    alone = [sys.executable, "-m", "lstmjax.cli", "sweep", space, f"--run-dir={tmp_path}/alone", *options]
    subprocess.run(alone, check=True)
    directory = tmp_path / "four"
    four = ["--workers=4", "--cluster=local", *more]
    process = subprocess.Popen([sys.executable, SCRIPT, space, f"--run-dir={directory}", *four, *options])
    end = time.monotonic() + 300
    while running(directory / "study.db") < 8:
        assert time.monotonic() < end
        time.sleep(0.05)
    victim = next((directory / "workers").glob("*.lock"))
    os.kill(int(victim.read_text().split()[1]), signal.SIGKILL)
    assert process.wait(600) == 0
    found, expected = (pd.read_csv(run / "trials.csv") for run in (directory, tmp_path / "alone"))
    pd.testing.assert_frame_equal(found.drop(columns="seconds"), expected.drop(columns="seconds"))
    assert (directory / "best" / "metrics.json").exists()
