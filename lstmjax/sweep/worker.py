"""A worker: takes a block of trials, trains it, records its outcomes, and takes the next, or a dead worker's."""

import contextlib
import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lstmjax.errors import Interrupted
from lstmjax.sweep.population.trial import Outcome
from lstmjax.sweep.study.block_directory import BlockDirectory
from lstmjax.sweep.study.blocks import Block, Plan
from lstmjax.sweep.study.heartbeat import WorkerMonitor, worker_lock
from lstmjax.sweep.study.storage import StorageError
from lstmjax.sweep.study.study import Study

Train = Callable[[Block, Path, Callable[[], bool]], Sequence[Outcome]]
"""Trains a block, with its checkpoints in a folder, until `should_stop` is true; then raises `Interrupted`. Of a block
that was trained to its end it gives the outcomes again, from the last checkpoint: its worker may die before it records
them."""

GRACE = 60.0
"""Seconds without a heartbeat after which a worker on another host counts as dead."""

_BEATS = 6  # heartbeats within the grace
_PAUSE = 0.2  # seconds between looks at what other workers do, at first ...
_LONGEST_PAUSE = 5.0  # ... and later


def work(
    study: Study,
    directory: Path,
    plan: Plan,
    train: Train,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_block: Callable[[], None] = lambda: None,
    grace: float = GRACE,
) -> None:
    """Works on a study until all its trials are finished, together with any number of other workers.

    Args:
        study: the trials.
        directory: the sweep's directory, which all its workers share.
        plan: how many trials, and how they are drawn.
        train: trains a block.
        should_stop: called often; when it is true, the block's state is saved and the block is free for other workers.
        on_block: called after every block that was recorded.
        grace: seconds without a heartbeat after which a worker on another host counts as dead.

    Raises:
        Interrupted: `should_stop` returned True.
        StorageError: the storage cannot be reached for long; checkpoints are kept in the directory for the next worker.
    """
    with worker_lock(directory / "workers") as worker:
        monitor = WorkerMonitor(directory / "workers", grace, lambda: study.storage.recovered)

        def record(block: Block) -> bool:
            """Trains a block and records it; False if it has become another worker's."""
            folder = BlockDirectory(directory, block.number)
            folder.path.mkdir(parents=True, exist_ok=True)
            with _heartbeats(study, block, worker, grace / _BEATS) as lost:
                try:
                    with folder.attempt(block, worker):
                        outcomes = train(block, folder.state, lambda: lost.is_set() or should_stop())
                        folder.save_best(outcomes)
                except BaseException as error:
                    if isinstance(error, Interrupted) and lost.is_set() and not should_stop():
                        return False
                    with contextlib.suppress(StorageError):
                        study.release(block, worker)
                    raise
                if not study.finish(block, outcomes):
                    return False
            shutil.rmtree(folder.state, ignore_errors=True)
            return True

        pause = _PAUSE
        while not study.finished(plan.total):
            if should_stop():
                raise Interrupted("interrupted, the state is saved")
            block = study.claim(worker, monitor.is_dead, plan)
            if block is None:
                # Other workers train all that is left; if one of them dies, its trials can be claimed.
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE, grace / _BEATS)
                continue
            pause = _PAUSE
            if record(block):
                on_block()


@contextlib.contextmanager
def _heartbeats(study: Study, block: Block, worker: str, seconds: float) -> Iterator[threading.Event]:
    """Heartbeats from a thread of their own; the event is set when the block is another worker's, or recorded."""
    lost, done = threading.Event(), threading.Event()

    def beat() -> None:
        for beats in itertools.count(1):
            # A storage that cannot be reached now may be back at the next heartbeat.
            with contextlib.suppress(StorageError):
                if not study.beat(block, worker, beats):
                    lost.set()
                    return
            if done.wait(seconds):
                return

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        done.set()
        thread.join()
