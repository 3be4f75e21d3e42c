"""Workers that train nothing: a process that forks workers on request, so that tests can kill them.

It reads lines from standard input: "DIRECTORY STORAGE TOTAL SIZE SECONDS [SETTLING]" forks a worker on a study whose
blocks take the first number of seconds, and which waits the second for others that take the same block; "STORAGE PORT"
forks a proxy, and it prints the process id; the end of the input ends it. Every begin and end of a block is a line in
DIRECTORY/log. No block ends while the file DIRECTORY/hold exists; while DIRECTORY/poison exists, block 1 kills its
worker before anything is saved.
"""

import os
import random
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

from lstmjax.errors import Interrupted
from lstmjax.sweep.population.trial import Outcome
from lstmjax.sweep.space.space import Space
from lstmjax.sweep.study import storage as storages
from lstmjax.sweep.study import study as studies
from lstmjax.sweep.study.blocks import Plan
from lstmjax.sweep.study.storage import Storage
from lstmjax.sweep.study.storage_proxy import serve
from lstmjax.sweep.study.study import Study
from lstmjax.sweep.worker import work

NAP = 0.05
"""Seconds from one checkpoint to the next."""

SPACE = Space.from_dict(
    {
        "optimizer.learning_rate": {"type": "loguniform", "low": 1e-4, "high": 1e-1},
        "model.hidden_size": {"type": "choice", "values": [8, 16]},
    }
)


def suggest(study, number, before):
    """A setting that depends on the trial's number alone."""
    numbers = random.Random(number)
    return {"optimizer.learning_rate": 10 ** numbers.uniform(-4, -1), "model.hidden_size": numbers.choice([8, 16])}


def value(params):
    """The value of a trial, without training."""
    return params["optimizer.learning_rate"] * params["model.hidden_size"]


def outcomes(block):
    """A simple form of successive halving: the better half is complete, the others are pruned, one in seven fails."""
    worth = sorted(value(trial.params) for trial in block.trials)
    return [_outcome(trial, worth[len(worth) // 2]) for trial in block.trials]


def _outcome(trial, middle):
    worth = value(trial.params)
    if trial.number % 7 == 6:
        return Outcome(trial.number, "FAIL", None, None, {10: worth}, 10, 0.5, "its loss was not finite", None)
    if worth > middle:
        return Outcome(trial.number, "PRUNED", worth, 0.1, {10: worth}, 10, 0.5, "pruned at step 10", None)
    return Outcome(trial.number, "COMPLETE", worth, 0.1, {10: worth + 1, 20: worth}, 20, 1.0, None, None)


OPEN = []
"""Databases to be closed when a test ends."""


def open_study(directory, storage):
    OPEN.append(Storage(storage))
    name = f"{directory.parent.name} {directory.name}"
    return Study(OPEN[-1], name, {"space": "of the tests"}, SPACE)


def close_all():
    while OPEN:
        OPEN.pop().close()


def log(directory, what, block):
    with (directory / "log").open("a") as file:
        file.write(f"{what} {block.number} {os.getpid()}\n")


def run(directory, storage, total, size, seconds, grace=10.0, should_stop=lambda: False):
    """One worker; its blocks take this many seconds, of which an interrupted block resumes the rest."""

    def train(block, state, stop):
        if (state / "end").exists():  # the last checkpoint, from which training gives the outcomes again
            return outcomes(block)
        log(directory, "begun", block)
        state.mkdir(exist_ok=True)
        while (saved := len(list(state.iterdir()))) * NAP < seconds or (directory / "hold").exists():
            if stop():
                raise Interrupted
            if (directory / "poison").exists() and block.number == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(NAP)
            (state / str(saved)).mkdir()  # as a checkpoint would be
        log(directory, "ended", block)
        (state / "end").touch()
        return outcomes(block)

    study = open_study(directory, storage)
    work(study, directory, Plan(total, size, suggest), train, grace=grace, should_stop=should_stop)
    return study


def main():
    warnings.simplefilter("ignore")
    storages.LOCK_GRACE = 3  # seconds, for locks of journals whose holders are killed
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies
    with tempfile.TemporaryDirectory() as elsewhere:  # so that every worker need not import what this does
        run(Path(elsewhere), f"sqlite:///{elsewhere}/study.db", 1, 1, 0.0)
        close_all()
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            match line.split():
                case storage, port:
                    serve(storage, "localhost", int(port))
                case directory, storage, total, size, seconds, *settling:
                    studies._SETTLING = float(*settling or [studies._SETTLING])
                    run(Path(directory), storage, int(total), int(size), float(seconds))
            os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
