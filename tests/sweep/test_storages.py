"""Every storage of Optuna: claims that one worker wins, outages that are waited out, mistakes as one line each."""

import contextlib
import importlib.util
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import types
import warnings
from pathlib import Path

import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from sqlalchemy.exc import OperationalError

from lstmjax.cli.app import main
from lstmjax.errors import ConfigError, ConfigWarning
from lstmjax.sweep.study import heartbeat, storage_proxy
from lstmjax.sweep.study import storage as storages
from lstmjax.sweep.study.blocks import Block, Plan
from lstmjax.sweep.study.heartbeat import WorkerMonitor, host
from lstmjax.sweep.study.storage import Storage, StorageError
from lstmjax.sweep.study.study import Study
from lstmjax.sweep.worker import _heartbeats, work

SCRIPT = Path(__file__).parent / "cheap_workers.py"
_spec = importlib.util.spec_from_file_location("cheap_workers", SCRIPT)
cheap = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cheap)

PLAN = Plan(6, 3, cheap.suggest)


@pytest.fixture(autouse=True)
def close_storages():
    yield
    cheap.close_all()


@pytest.fixture
def study(tmp_path):
    return cheap.open_study(tmp_path, f"sqlite:///{tmp_path}/study.db")


@pytest.fixture
def outage(study, monkeypatch):
    """Makes the next so many calls of the storage fail, as those of a database that is away."""
    monkeypatch.setattr(storages, "_PAUSE", 0.001)
    left = [0]
    get_all_trials = study.storage.backend.get_all_trials

    def fail(*arguments, **named):
        if left[0]:
            left[0] -= 1
            raise OperationalError("select", {}, Exception("server closed the connection\nand more"))
        return get_all_trials(*arguments, **named)

    monkeypatch.setattr(study.storage.backend, "get_all_trials", fail)
    return left


def train(block, state, stop):
    return cheap.outcomes(block)


def table(study):
    return [
        (t.number, t.state.name, t.value, t.params, t.intermediate_values, *map(t.user_attrs.get, ("steps", "reason")))
        for t in study.trials()
    ]


@pytest.mark.parametrize("address", ["sqlite:///{}/s.db", "journal:{}/s.log"])
def test_of_many_workers_one_claims_a_trial(address, tmp_path):
    opened = [Storage(address.format(tmp_path)) for _ in range(4)]
    study = opened[0].create_new_study([StudyDirection.MINIMIZE], "s")
    trials = [opened[0].create_new_trial(study, create_trial(state=TrialState.WAITING)) for _ in range(15)]
    together, won = threading.Barrier(4), []

    def claim(storage):
        storage.get_all_trials(study)
        for trial in trials:
            together.wait()
            if storage.set_trial_state_values(trial, TrialState.RUNNING):
                won.append(trial)

    threads = [threading.Thread(target=claim, args=[storage]) for storage in opened]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == trials
    for storage in opened:
        storage.close()


def test_an_outage_is_waited_out_wherever_it_comes(study, tmp_path, outage, capsys):
    def fail_in_between():
        outage[0] = 2

    for _ in range(2):
        outage[0] = 3
        assert study.trials() == []
    outage[0] = 2
    work(study, tmp_path, PLAN, train, on_block=fail_in_between)
    outage[0] = 2
    assert study.finished(6)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 4
    assert lines[0].endswith("cannot be used: server closed the connection: waiting up to 300 seconds for it")


@pytest.mark.parametrize("what", ["trials", "finished", "claim", "finish"])
def test_a_long_outage_is_one_line(what, study, outage, monkeypatch):
    block = study.claim("a", lambda *_: False, PLAN)
    monkeypatch.setattr(storages, "PATIENCE", 0.0)
    outage[0] = 100
    calls = {"finished": (6,), "claim": ("b", lambda *_: False, PLAN), "finish": (block, cheap.outcomes(block))}
    with pytest.raises(StorageError, match=r"study\.db', which cannot be used: server closed the connection$"):
        getattr(study, what)(*calls.get(what, ()))


def test_a_database_that_is_locked_for_a_moment_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(storages, "_WAIT", 0.1)
    study = cheap.open_study(tmp_path, f"sqlite:///{tmp_path}/study.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db", check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(0.5, other.rollback)
        timer.start()
        assert study.claim("a", lambda *_: False, PLAN).first == 0
        timer.join()


def test_a_study_that_was_deleted_is_one_line(study):
    block = study.claim("a", lambda *_: False, PLAN)
    study.storage.delete_study(study.storage.get_study_id_from_name(study.name))
    with pytest.raises(StorageError, match="its study is not there anymore"):
        study.beat(block, "a", 1)


def test_heartbeats_survive_an_outage(tmp_path):
    beats = []

    class Away(Study):
        def __init__(self):
            pass

        def beat(self, block, worker, count):
            beats.append(count)
            if count < 3:
                raise StorageError("away")
            return count < 5

    with _heartbeats(Away(), Block(0, 0, 1), "a", 0.001) as lost:
        assert lost.wait(10)
    assert beats == [1, 2, 3, 4, 5]


def test_an_outage_does_not_count_as_missed_heartbeats(tmp_path, monkeypatch):
    clock, recovered = [0.0], [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monitor = WorkerMonitor(tmp_path, 60.0, lambda: recovered[0])
    assert not monitor.is_dead("elsewhere_1", 7)
    clock[0] = recovered[0] = 90.0
    assert not monitor.is_dead("elsewhere_1", 7)
    clock[0] = 151.0
    assert monitor.is_dead("elsewhere_1", 7)


def test_a_worker_of_short_blocks_is_not_taken_for_dead(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(heartbeat, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    study = cheap.open_study(tmp_path, f"journal:{tmp_path}/study.log")
    monitor, plan = WorkerMonitor(tmp_path, 60.0), Plan(9, 1, cheap.suggest)
    for number in range(3):  # each of its blocks is seen at the same count of heartbeats
        theirs = study.claim("elsewhere_1", lambda *_: False, plan)
        study.beat(theirs, "elsewhere_1", 1)
        assert study.claim(f"elsewhere_b{number}", monitor.is_dead, plan).first == 2 * number + 1
        study.finish(theirs, cheap.outcomes(theirs))
        clock[0] += 50.0


def test_a_lost_block_s_outcomes_are_filed_and_those_of_other_parameters_are_not(study):
    mine = study.claim("a", lambda *_: False, PLAN)
    theirs = study.claim("b", lambda worker, _: worker == "a", PLAN)
    assert theirs == mine
    assert not study.beat(mine, "a", 1)
    assert study.beat(mine, "b", 1)
    outcomes = cheap.outcomes(mine)
    # Outcomes of other draws are not filed.
    trials = tuple(trial._replace(params=trial.params | {"optimizer.learning_rate": 0.5}) for trial in mine.trials)
    other = type(mine)(mine.number, mine.first, mine.size, trials)
    assert not study.finish(other, cheap.outcomes(other))
    assert not any(trial.state.is_finished() for trial in study.trials())
    assert study.finish(mine, outcomes)  # of the worker that lost the block: nothing is lost
    assert not study.beat(theirs, "b", 2)
    assert study.finish(theirs, outcomes)
    assert [trial.value for trial in study.trials()] == [outcome.value for outcome in outcomes]


def test_outcomes_are_not_filed_in_a_study_of_another_description(study):
    block = study.claim("a", lambda *_: False, PLAN)
    identifier = study.storage.get_study_id_from_name(study.name)
    study.storage.set_study_user_attr(identifier, "lstmjax", {"space": "another"})
    assert not study.finish(block, cheap.outcomes(block))


def test_a_journal_whose_writer_was_killed_in_a_line_is_mended(tmp_path):
    study = cheap.open_study(tmp_path, f"journal:{tmp_path}/study.log")
    study.claim("a", lambda *_: False, PLAN)
    with (tmp_path / "study.log").open("ab") as file:
        file.write(b'{"op_code":6,"trial_id":0,"sta')
    again = cheap.open_study(tmp_path, f"journal:{tmp_path}/study.log")
    work(again, tmp_path, PLAN, train, grace=0.1)
    assert again.finished(6)
    assert cheap.open_study(tmp_path, f"journal:{tmp_path}/study.log").finished(6)


@pytest.mark.parametrize("text", ["my notes", '{"title": 1}\n', "{}"])
def test_a_file_that_is_no_journal_is_left_alone(text, tmp_path):
    (tmp_path / "notes").write_text(text)
    with pytest.raises(ConfigError, match="expected journal:PATH, a journal of Optuna or a new file"):
        Storage(f"journal:{tmp_path}/notes")
    assert (tmp_path / "notes").read_text() == text
    with pytest.raises(ConfigError, match="expected journal:PATH, a journal of Optuna or a new file"):
        Storage(f"journal:{os.devnull}")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("journal:", "expected journal:PATH"),
        ("journal:/", "expected journal:PATH"),
        ("journal:/nowhere/study.log", "cannot be used: No such file"),
        ("grpc://localhost", "expected grpc://HOST:PORT"),
        ("grpc:13000", "expected grpc://HOST:PORT"),
        ("grpc://localhost:many", "expected grpc://HOST:PORT"),
        ("grpc://localhost:13000/study", "expected grpc://HOST:PORT"),
        ("grpc://localhost:1", "no proxy answers there: start it with lstmjax sweep-proxy"),
        ("journal", "or journal:PATH, or grpc://HOST:PORT"),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_line(address, expected, monkeypatch):
    monkeypatch.setattr(storages, "_PROXY_WAIT", 0.1)
    with pytest.raises(ConfigError) as raised:
        Storage(address)
    assert expected in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_proxy_without_grpcio_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(StorageError, match=r"needs grpcio: pip install 'lstmjax\[grpc\]'"):
        Storage("grpc://localhost:13000")


def test_a_journal_that_is_damaged_is_one_line(tmp_path):
    (tmp_path / "study.log").write_text('{"op_code":0,"worker_id":"a"}\n{"op_code"\n{"op_code":0}\n')
    with pytest.raises(StorageError, match="the journal is damaged"):
        Storage(f"journal:{tmp_path}/study.log")


def test_sweep_proxy_serves_a_database_on_loopback_and_warns(tmp_path, monkeypatch, capsys):
    served = []
    monkeypatch.setattr(storage_proxy, "run_grpc_proxy_server", lambda storage, **where: served.append(where))
    port = free_port()
    with warnings.catch_warnings():
        warnings.simplefilter("default", ConfigWarning)
        main(["sweep-proxy", f"--storage=sqlite:///{tmp_path}/a.db", f"--port={port}"])
    assert served == [{"host": "localhost", "port": port}]
    warning = capsys.readouterr().err
    assert f"the proxy has no authentication: anyone who can reach localhost:{port} can read and change" in warning


@pytest.mark.parametrize("address", ["journal:a.log", "grpc://localhost:1"])
def test_what_needs_no_proxy_is_one_line(address, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["sweep-proxy", f"--storage={address}"])
    assert "a proxy serves a database" in capsys.readouterr().err


def test_a_port_in_use_is_one_line(tmp_path):
    with socket.create_server(("localhost", 0)) as taken, pytest.raises(ConfigError, match="cannot be listened on"):
        storage_proxy.serve(f"sqlite:///{tmp_path}/a.db", "localhost", taken.getsockname()[1])
    with pytest.raises(ConfigError, match="port is 70000"):
        storage_proxy.serve(f"sqlite:///{tmp_path}/a.db", "localhost", 70000)


def free_port():
    with socket.create_server(("localhost", 0)) as free:
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def forking():
    process = subprocess.Popen([sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "ready\n"

        def fork(*words):
            print(*words, file=process.stdin, flush=True)
            return int(process.stdout.readline())

        yield fork
        process.stdin.close()


def alive(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@pytest.mark.parametrize("kind", ["grpc", "journal"])
@pytest.mark.parametrize(
    ("total", "size", "count"), [(16, 2, 3), pytest.param(200, 5, 8, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_workers_and_a_proxy_are_killed_and_the_table_is_that_of_one_worker(
    kind, total, size, count, forking, tmp_path
):
    port, database = free_port(), f"sqlite:///{tmp_path}/study.db"
    address = f"grpc://localhost:{port}" if kind == "grpc" else f"journal:{tmp_path}/study.log"
    server = forking(database, port) if kind == "grpc" else None
    pids = [forking(tmp_path, address, total, size, 0.05) for _ in range(count)]

    def wait_until(true, seconds=240.0):
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end
            time.sleep(0.02)

    def begun():
        return (tmp_path / "log").exists() and len((tmp_path / "log").read_text().splitlines()) > count

    try:
        wait_until(begun)
        for pid in pids[:2]:
            os.kill(pid, signal.SIGKILL)
        if server is not None:
            os.kill(server, signal.SIGKILL)
            wait_until(lambda: not alive(server))
            time.sleep(1.0)
            server = forking(database, port)
        pids = [*pids[2:], forking(tmp_path, address, total, size, 0.05)]
        wait_until(lambda: not any(map(alive, pids)))
    finally:
        for pid in [*pids, *([] if server is None else [server])]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    study = cheap.open_study(tmp_path, database if kind == "grpc" else address)
    numbers = [trial.number for trial in study.optuna.trials]
    assert numbers == list(range(total))  # none too many, and each in one state
    assert all(trial.state.is_finished() for trial in study.optuna.trials)
    alone = cheap.run(tmp_path / "alone", f"journal:{tmp_path}/alone.log", total, size, 0.0)
    assert table(study) == table(alone)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["grpc", "journal", "sqlite"])
def test_a_thousand_claims_take_less_than_a_minute(kind, forking, tmp_path):
    port, database = free_port(), f"sqlite:///{tmp_path}/study.db"
    server = forking(database, port) if kind == "grpc" else None
    addresses = {"grpc": f"grpc://localhost:{port}", "journal": f"journal:{tmp_path}/study.log", "sqlite": database}
    try:
        study = cheap.open_study(tmp_path, addresses[kind])
        began = time.monotonic()
        for number in range(1000):
            block = study.claim(f"{host()}_{number}", lambda *_: False, Plan(1000, 1, cheap.suggest))
            assert block.first == number
        assert time.monotonic() - began < 60.0
    finally:
        if server is not None:
            os.kill(server, signal.SIGKILL)
