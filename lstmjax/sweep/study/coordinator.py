"""Workers on many hosts without a database server: one process owns the study, and all others ask it, by files.

A request and its answer are each a file, written beside its place and renamed into it: whole or not there, on NFS too.
A request is removed once it is answered; a coordinator that dies in between answers it again when it comes back, which
changes nothing: whoever asks for a block and has one already is given the same. Once all trials are finished the
coordinator leaves a note that says so and goes: a worker that asks later reads it there.
"""

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lstmjax.storage.files import replace_file
from lstmjax.sweep.population.trial import Outcome, Trial
from lstmjax.sweep.study.heartbeat import Obituaries
from lstmjax.sweep.study.storage import StorageError
from lstmjax.sweep.study.study import Ask, Block, Dead, Study

_NAP, _LONG_NAP = 0.05, 1.0  # seconds between looks at the folder
_PATIENCE = 300.0  # seconds that a worker waits for an answer

_FOLDER = "exchange"
_OVER = "over.json"  # the note, with the number of trials there were
_WHEN_OVER: dict[str, Any] = {"finished": True, "claim": None, "beat": False, "release": None, "finish": False}


class AskedStudy:
    """A study that another process owns: what `lstmjax.sweep.worker.work` needs of a `Study`.

    Args:
        directory: the sweep's.
        patience: seconds to wait for an answer.
    """

    def __init__(self, directory: Path, patience: float = _PATIENCE) -> None:
        self._requests, self._answers = _folders(directory)
        self._patience = patience

    def finished(self, total: int) -> bool:
        """See `Study.finished`."""
        return self._asked("finished", total=total)

    def claim(self, worker: str, dead: Dead, ask: Ask, *, total: int, size: int) -> Block | None:
        """See `Study.claim`; who is dead, and which parameters a trial gets, the owner decides."""
        found = self._asked("claim", worker=worker, total=total, size=size)
        return None if found is None else _block(found)

    def beat(self, block: Block, worker: str, pulse: int) -> bool:
        """See `Study.beat`."""
        return self._asked("beat", block=_plain(block), worker=worker, pulse=pulse)

    def release(self, block: Block, worker: str) -> None:
        """See `Study.release`."""
        self._asked("release", block=_plain(block), worker=worker)

    def finish(self, block: Block, worker: str, outcomes: Sequence[Outcome]) -> bool:
        """See `Study.finish`."""
        told = [outcome.plain() for outcome in outcomes]
        return self._asked("finish", block=_plain(block), worker=worker, outcomes=told)

    def _asked(self, method: str, **arguments: Any) -> Any:
        name = f"{uuid.uuid4().hex}.json"
        replace_file(self._requests / name, json.dumps({"method": method, **arguments}))
        nap, end = _NAP, time.monotonic() + self._patience
        answer = self._answers / name
        while not answer.exists():
            if self._is_over(arguments.get("total", 0)) and not answer.exists():
                (self._requests / name).unlink(missing_ok=True)
                return _WHEN_OVER[method]
            if time.monotonic() > end:
                (self._requests / name).unlink(missing_ok=True)
                raise StorageError(
                    f"{self._requests.parent}: no coordinator has answered for {self._patience:.0f} seconds: start it "
                    "again"
                )
            time.sleep(nap)
            nap = min(1.5 * nap, _LONG_NAP)
        found = json.loads(answer.read_text())
        answer.unlink()
        return found

    def _is_over(self, total: int) -> bool:
        """Whether the coordinator left after at least so many trials."""
        try:
            return json.loads((self._requests.parent / _OVER).read_text()) >= total
        except FileNotFoundError:
            return False


class Coordinator:
    """Answers for a study.

    Args:
        study: what this process owns.
        directory: the sweep's.
        ask: draws the parameters of new trials.
        grace: seconds without a beat after which a worker counts as dead.
    """

    def __init__(self, study: Study, directory: Path, ask: Ask, grace: float) -> None:
        self._study, self._ask = study, ask
        self._requests, self._answers = _folders(directory)
        self._dead = Obituaries(directory / "workers", grace).dead

    def serve(
        self,
        total: int,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        on_block: Callable[[], None] = lambda: None,
    ) -> bool:
        """Answers until all trials are finished, and leaves a note of it.

        Args:
            total: trials in all.
            should_stop: asked often.
            on_block: called whenever a block was recorded.

        Returns:
            Whether all trials are finished; else it was told to stop.
        """
        note = self._requests.parent / _OVER
        note.unlink(missing_ok=True)  # of a search that is now given more trials
        while True:
            if should_stop():
                return False
            methods = [self._answer(path) for path in sorted(self._requests.glob("*.json"))]
            if "finish" in methods:
                on_block()
            if not methods:
                time.sleep(_NAP)
            if ("finish" in methods or not methods) and self._study.finished(total):
                replace_file(note, json.dumps(total))
                return True

    def _answer(self, path: Path) -> str:
        """Answers one request; returns what was asked."""
        asked = json.loads(path.read_text())
        method = asked.pop("method")
        replace_file(self._answers / path.name, json.dumps(_METHODS[method](self, asked)))
        path.unlink()
        return method

    def _finished(self, asked: Mapping[str, Any]) -> bool:
        return self._study.finished(asked["total"])

    def _claim(self, asked: Mapping[str, Any]) -> list[Any] | None:
        block = self._study.claim(asked["worker"], self._dead, self._ask, total=asked["total"], size=asked["size"])
        return None if block is None else _plain(block)

    def _beat(self, asked: Mapping[str, Any]) -> bool:
        return self._study.beat(_block(asked["block"]), asked["worker"], asked["pulse"])

    def _release(self, asked: Mapping[str, Any]) -> None:
        self._study.release(_block(asked["block"]), asked["worker"])

    def _finish(self, asked: Mapping[str, Any]) -> bool:
        outcomes = [Outcome.from_plain(outcome) for outcome in asked["outcomes"]]
        return self._study.finish(_block(asked["block"]), asked["worker"], outcomes)


_METHODS: dict[str, Callable[[Coordinator, Mapping[str, Any]], Any]] = {
    "finished": Coordinator._finished,
    "claim": Coordinator._claim,
    "beat": Coordinator._beat,
    "release": Coordinator._release,
    "finish": Coordinator._finish,
}


def _folders(directory: Path) -> tuple[Path, Path]:
    requests, answers = directory / _FOLDER / "requests", directory / _FOLDER / "answers"
    for folder in (requests, answers):
        folder.mkdir(parents=True, exist_ok=True)
    return requests, answers


def _plain(block: Block) -> list[Any]:
    return [block.number, block.first, block.size, [list(trial) for trial in block.trials]]


def _block(plain: Sequence[Any]) -> Block:
    number, first, size, trials = plain
    return Block(number, first, size, tuple(Trial(*trial) for trial in trials))
