"""A worker: takes a block of trials, trains it, records what came of it, and takes the next; also those of the dead."""

import contextlib
import dataclasses
import functools
import json
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from optuna.exceptions import OptunaError
from sqlalchemy.exc import SQLAlchemyError

from lstmjax.errors import Interrupted
from lstmjax.forecaster.forecaster import Forecaster
from lstmjax.storage.files import replace_file
from lstmjax.sweep.population.trial import Outcome
from lstmjax.sweep.study.attempts import attempt
from lstmjax.sweep.study.coordinator import AskedStudy
from lstmjax.sweep.study.heartbeat import Obituaries, Presence
from lstmjax.sweep.study.storage import StorageError
from lstmjax.sweep.study.study import Ask, Block, Study

Train = Callable[[Block, Path, Callable[[], bool]], Sequence[Outcome]]
"""Trains a block, with its state in a folder, until it is asked to stop; then raises `Interrupted`."""

GRACE = 60.0
"""Seconds without a beat after which a worker on another host counts as dead."""

_BEATS = 6  # beats within the grace
_NAP = 0.2  # seconds between looks at what others are doing, at first ...
_LONG_NAP = 5.0  # ... and later
_PATIENCE = (1.0, 5.0, 15.0, 30.0)  # seconds between attempts to reach the storage

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Plan:
    """How many trials a study gets, and how they are drawn."""

    total: int
    size: int
    """Trials in a block, at most."""
    ask: Ask


def work(
    study: Study | AskedStudy,
    directory: Path,
    plan: Plan,
    train: Train,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_block: Callable[[], None] = lambda: None,
    grace: float = GRACE,
) -> None:
    """Works on a study until all its trials are finished, beside any number of others who do the same.

    Args:
        study: the trials.
        directory: the sweep's, which all its workers share.
        plan: how many trials, and which.
        train: trains a block.
        should_stop: asked often; then the block's state is saved and the block is free for whoever comes next.
        on_block: called whenever a block was recorded.
        grace: seconds without a beat after which a worker on another host counts as dead.

    Raises:
        Interrupted: `should_stop` said so.
    """
    with Presence(directory / "workers") as presence:
        obituaries = Obituaries(directory / "workers", grace)
        nap = _NAP
        while not study.finished(plan.total):
            if should_stop():
                raise Interrupted("interrupted, the state is saved")
            claim = functools.partial(study.claim, presence.name, obituaries.dead, plan.ask)
            block = _patiently(functools.partial(claim, total=plan.total, size=plan.size))
            if block is None:
                # Others are at work on all that is left; should one of them die, its trials are taken over.
                time.sleep(nap)
                nap = min(2 * nap, _LONG_NAP, grace / _BEATS)
                continue
            nap = _NAP
            if _work_on(study, directory, block, presence.name, train, should_stop, grace / _BEATS):
                on_block()


def block_directory(directory: Path, block: int) -> Path:
    """Where a block's state is, and its best trial's weights."""
    return directory / "blocks" / f"{block:04d}"


def weights_directory(directory: Path, block: int, number: int) -> Path:
    """Where the members of a block's best trial are."""
    return block_directory(directory, block) / "best" / f"trial-{number:04d}"


def _work_on(
    study: Study | AskedStudy,
    directory: Path,
    block: Block,
    worker: str,
    train: Train,
    should_stop: Callable[[], bool],
    every: float,
) -> bool:
    """Trains a block and records it. False if it was lost to another worker meanwhile."""
    folder = block_directory(directory, block.number)
    folder.mkdir(parents=True, exist_ok=True)
    with _pulse(study, block, worker, every) as lost:
        try:
            outcomes = _read(folder)
            if outcomes is None:
                with attempt(folder, block, worker):
                    outcomes = list(train(block, folder / "state", lambda: lost.is_set() or should_stop()))
                    _keep_best(directory, block, outcomes)
                    _write(folder, outcomes)
        except BaseException as error:
            if isinstance(error, Interrupted) and lost.is_set() and not should_stop():
                return False
            study.release(block, worker)
            raise
        if not _patiently(lambda: study.finish(block, worker, outcomes)):
            return False
    shutil.rmtree(folder / "state", ignore_errors=True)
    return True


@contextlib.contextmanager
def _pulse(study: Study | AskedStudy, block: Block, worker: str, every: float) -> Iterator[threading.Event]:
    """Beats in a thread of its own; sets the event when the block turns out to be another's."""
    lost, done = threading.Event(), threading.Event()

    def beat() -> None:
        pulse = 0
        while not done.wait(every):
            pulse += 1
            # A database that cannot be reached now may be back at the next beat.
            with contextlib.suppress(SQLAlchemyError, OptunaError):
                if not study.beat(block, worker, pulse):
                    lost.set()
                    return

    thread = threading.Thread(target=beat, name="pulse", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        done.set()
        thread.join()


def _patiently(call: Callable[[], _T]) -> _T:
    """A call, which may be repeated, that needs the storage: again if that cannot be reached for a moment."""
    for pause in _PATIENCE:
        try:
            return call()
        except StorageError:
            time.sleep(pause)
    return call()


def _keep_best(directory: Path, block: Block, outcomes: Sequence[Outcome]) -> None:
    """Saves the weights of the block's best trial, which may turn out to be the sweep's."""
    complete = [outcome for outcome in outcomes if outcome.state == "COMPLETE" and outcome.fitted]
    if not complete:
        return
    best = min(complete, key=lambda outcome: (outcome.value if outcome.value is not None else math.inf, outcome.number))
    for fitted in best.fitted or ():
        folder = weights_directory(directory, block.number, best.number) / f"seed-{fitted.config.train.seed}"
        Forecaster(fitted.config).with_fitted(fitted).save(folder, overwrite=True)


def _write(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """What came of a block, for whoever has to record it, should this process die first."""
    lines = [json.dumps(outcome.plain()) for outcome in outcomes]
    replace_file(folder / "outcomes.jsonl", "\n".join(lines) + "\n")


def _read(folder: Path) -> list[Outcome] | None:
    path = folder / "outcomes.jsonl"
    if not path.exists():
        return None
    return [Outcome.from_plain(json.loads(line)) for line in path.read_text().splitlines()]
