"""Workers on one study: claims, kills, take-overs, restarts; the result is that of one worker alone."""

import collections
import contextlib
import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from lstmjax.errors import ConfigError, Interrupted
from lstmjax.sweep.study import study as studies
from lstmjax.sweep.study.blocks import Plan
from lstmjax.sweep.study.heartbeat import WorkerMonitor, host, worker_lock

SCRIPT = Path(__file__).parent / "cheap_workers.py"
_spec = importlib.util.spec_from_file_location("cheap_workers", SCRIPT)
cheap = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cheap)

TOTAL, SIZE = 11, 3  # four blocks, the last of two trials
PLAN = Plan(TOTAL, SIZE, cheap.suggest)


SETTLING = 0.1
"""Seconds in which workers that take the same block notice each other, where no two of a test can."""


@pytest.fixture(autouse=True)
def settled_soon(monkeypatch):
    monkeypatch.setattr(studies, "_SETTLING", SETTLING)


@pytest.fixture(autouse=True)
def close_databases():
    yield
    cheap.close_all()


def storage(directory):
    """SQLite, or the server that the environment names: every test here also serves to test that."""
    return os.environ.get("LSTMJAX_TEST_STORAGE", f"sqlite:///{directory}/study.db")


def table(study):
    """The result of a sweep: for each trial its state, value, parameters and the rest, without times."""
    return [
        (t.number, t.state.name, t.value, t.params, t.intermediate_values, *map(t.user_attrs.get, ("steps", "reason")))
        for t in study.trials()
    ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    directory = tmp_path_factory.mktemp("alone")
    return table(cheap.run(directory, storage(directory), TOTAL, SIZE, 0.0))


class Workers:
    """Forks workers on a study in a directory, which survive or are killed."""

    def __init__(self, process, directory):
        self.process, self.directory = process, directory

    def start(self, seconds, settling=SETTLING):
        order = (self.directory, storage(self.directory), TOTAL, SIZE, seconds, settling)
        print(*order, file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def log(self):
        """(what, block, process) of every block begun and ended."""
        path = self.directory / "log"
        if not path.exists():
            return []
        return [(what, int(block), int(pid)) for what, block, pid in map(str.split, path.read_text().splitlines())]

    def wait_until(self, true, seconds=60.0):
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end
            time.sleep(0.02)

    def wait(self, *pids):
        self.wait_until(lambda: not any(alive(pid) for pid in pids))


@pytest.fixture(scope="module")
def forking():
    process = subprocess.Popen([sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


@pytest.fixture
def workers(forking, tmp_path):
    return Workers(forking, tmp_path)


def alive(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def assert_each_block_ended_once(log):
    ended = collections.Counter(block for what, block, _ in log if what == "ended")
    assert ended == dict.fromkeys(range(4), 1)


def test_one_worker_leaves_a_study_that_optuna_reads(alone):
    assert [row[0] for row in alone] == list(range(TOTAL))
    assert {row[1] for row in alone} == {"COMPLETE", "PRUNED", "FAIL"}
    for number, state, value, params, intermediate, _, reason in alone:
        assert set(params) == set(cheap.SPACE.names)
        assert (value is None) == (state == "FAIL") == (number % 7 == 6)
        assert (reason is None) == (state == "COMPLETE")
        assert intermediate[10] >= cheap.value(params)


def test_of_four_workers_one_is_killed_while_all_hold_running_trials(workers, tmp_path, alone):
    (tmp_path / "hold").touch()
    pids = [workers.start(0.0, settling=1.0) for _ in range(4)]
    workers.wait_until(lambda: len({pid for _, _, pid in workers.log()}) == 4)
    study = cheap.open_study(tmp_path, storage(tmp_path))
    running = [trial for trial in study.trials() if trial.state == TrialState.RUNNING]
    assert {trial.user_attrs["block"] for trial in running} == {0, 1, 2, 3}
    os.kill(pids[0], signal.SIGKILL)
    (tmp_path / "hold").unlink()
    workers.wait(*pids)
    log = workers.log()
    assert_each_block_ended_once(log)
    (lost,) = [block for what, block, pid in log if pid == pids[0]]
    assert len({pid for what, block, pid in log if block == lost}) == 2
    assert table(cheap.open_study(tmp_path, storage(tmp_path))) == alone


def test_a_sweep_killed_at_random_moments_ends_like_an_uninterrupted_one(workers, tmp_path, alone):
    moments, killed = random.Random(5), set()
    for attempt in range(5):
        pid = workers.start(0.3)
        if attempt:  # the first is killed before, or while, it makes the study
            workers.wait_until(lambda pid=pid: not alive(pid) or pid in {worker for _, _, worker in workers.log()})
        time.sleep(moments.uniform(0.0, 0.7))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        workers.wait(pid)
    workers.wait(workers.start(0.0))
    log = workers.log()
    # A worker that was killed between the end of a block and the record of it leaves the block to be trained again.
    lost = [line for line in last_lines(log) if line[0] == "ended" and line[2] in killed]
    again = [line for line in lost if [(what, block) for what, block, _ in log].count(line[:2]) > 1]
    assert_each_block_ended_once([line for line in log if line not in again])
    assert len({pid for _, _, pid in log}) > 2
    assert table(cheap.open_study(tmp_path, storage(tmp_path))) == alone


def last_lines(log):
    """The last line of each worker."""
    return list({pid: (what, block, pid) for what, block, pid in log}.values())


def test_a_block_that_kills_three_workers_before_a_checkpoint_is_not_given_to_a_fourth(workers, tmp_path, alone):
    (tmp_path / "poison").touch()
    for _ in range(3):
        workers.wait(workers.start(cheap.NAP))
    assert [block for what, block, _ in workers.log() if what == "begun"] == [0, 1, 1, 1]
    for _ in range(2):  # nothing changes by trying again
        with pytest.raises(ConfigError, match=r"the last 3 workers on trials 3 to 5 .* remove .*attempts\.json"):
            cheap.run(tmp_path, storage(tmp_path), TOTAL, SIZE, cheap.NAP)
    (tmp_path / "poison").unlink()
    (tmp_path / "blocks" / "0001" / "attempts.json").unlink()
    assert table(cheap.run(tmp_path, storage(tmp_path), TOTAL, SIZE, cheap.NAP)) == alone
    assert not list(tmp_path.glob("blocks/*/attempts.json"))


def test_deaths_with_checkpoints_in_between_are_not_counted(workers, tmp_path, alone):
    (tmp_path / "hold").touch()
    for attempt in range(5):
        pid = workers.start(0.0)
        workers.wait_until(lambda attempt=attempt: len(list(tmp_path.glob("blocks/0000/state/*"))) > 3 * attempt)
        os.kill(pid, signal.SIGKILL)
        workers.wait(pid)
    (tmp_path / "hold").unlink()
    assert table(cheap.run(tmp_path, storage(tmp_path), TOTAL, SIZE, 0.0)) == alone


def test_a_stopped_worker_frees_its_block_for_the_next(tmp_path, alone):
    calls = []

    def should_stop():
        calls.append(None)
        return len(calls) > 3

    with pytest.raises(Interrupted):
        cheap.run(tmp_path, storage(tmp_path), TOTAL, SIZE, 60.0, should_stop=should_stop)
    assert not list((tmp_path / "workers").iterdir())
    assert table(cheap.run(tmp_path, storage(tmp_path), TOTAL, SIZE, 0.0)) == alone


def test_a_sweep_may_be_given_more_trials(tmp_path, alone):
    cheap.run(tmp_path, storage(tmp_path), 4, SIZE, 0.0)
    grown = table(cheap.run(tmp_path, storage(tmp_path), TOTAL, SIZE, 0.0))
    assert [row[3] for row in grown] == [row[3] for row in alone]
    assert [row[0] for row in grown] == list(range(TOTAL))


def taken(worker, is_dead):
    return lambda study: study.claim(worker, is_dead, PLAN)


def test_a_block_whose_recording_was_interrupted_is_recorded_to_its_end(tmp_path):
    study = cheap.open_study(tmp_path, storage(tmp_path))
    block = taken("a", lambda *_: False)(study)
    outcomes = cheap.outcomes(block)
    study._record(study.trials()[2], outcomes[2])
    again = taken("b", lambda *_: True)(study)
    assert again == block
    assert study.finish(again, outcomes)
    assert [trial.value for trial in study.trials()] == [outcome.value for outcome in outcomes]


def test_a_block_whose_making_was_interrupted_is_made_to_its_end(tmp_path):
    study = cheap.open_study(tmp_path, storage(tmp_path))

    def interrupted(study, number, before):
        if number == 2:
            raise KeyboardInterrupt
        return cheap.suggest(study, number, before)

    with pytest.raises(KeyboardInterrupt):
        study.claim("a", lambda *_: False, Plan(TOTAL, SIZE, interrupted))
    assert len(study.trials()) == 2
    block = taken("b", lambda *_: True)(study)
    assert (block.first, block.size) == (0, SIZE)
    assert [trial.params for trial in block.trials] == [cheap.suggest(None, number, []) for number in range(SIZE)]


def test_every_trial_of_a_block_needs_an_outcome(tmp_path):
    study = cheap.open_study(tmp_path, storage(tmp_path))
    block = taken("a", lambda *_: False)(study)
    with pytest.raises(ValueError, match="one outcome for each"):
        study.finish(block, cheap.outcomes(block)[1:])


def test_a_worker_lock_ends_with_its_worker(tmp_path):
    monitor = WorkerMonitor(tmp_path, grace=60.0)
    with worker_lock(tmp_path) as worker:
        assert not monitor.is_dead(worker, 0)
    assert monitor.is_dead(worker, 0)


def test_on_another_host_a_worker_is_dead_when_its_heartbeats_stop(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monitor = WorkerMonitor(tmp_path, grace=60.0)
    assert not monitor.is_dead("elsewhere_1", 7)
    clock[0] = 59.0
    assert not monitor.is_dead("elsewhere_1", 7)
    clock[0] = 61.0
    assert not monitor.is_dead("elsewhere_1", 8)
    clock[0] = 122.0
    assert monitor.is_dead("elsewhere_1", 8)
    assert "_" not in host()


@pytest.mark.skipif("LSTMJAX_TEST_STORAGE" in os.environ, reason="servers are shared by hosts")
def test_sqlite_is_not_shared_by_hosts(tmp_path, monkeypatch):
    study = cheap.open_study(tmp_path, storage(tmp_path))
    theirs = taken("elsewhere_1", lambda *_: False)(study)
    mine = taken("b", lambda *_: False)
    assert mine(study) is None  # it may be alive or dead
    study.beat(theirs, "elsewhere_1", 1)
    with pytest.raises(ConfigError, match="in use on the host elsewhere.*postgresql"):
        mine(study)
    assert taken("b", lambda worker, beats: worker == "elsewhere_1")(cheap.open_study(tmp_path, storage(tmp_path)))
