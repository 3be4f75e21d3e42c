"""Workers on many hosts without a database server: one process owns the study, the others send it requests by files.

A request and its answer are one file each, written beside its place and renamed into it: whole or not there, on NFS
too. A request is removed after it is answered; a coordinator that dies in between answers it again after its restart,
which changes nothing: a worker that claims a block and has one already gets the same block. After all trials are
finished the coordinator writes a note that says so, and ends: workers that send a request later read the note.
"""

import json
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lstmjax.storage.files import replace_file
from lstmjax.sweep.population.trial import Outcome
from lstmjax.sweep.study.heartbeat import WorkerMonitor
from lstmjax.sweep.study.storage import StorageError
from lstmjax.sweep.study.study import Block, IsDead, Plan, Study, Suggest

_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # seconds between looks at the folder
_PATIENCE = 300.0  # seconds that a worker waits for an answer

_WHEN_FINISHED: dict[str, Any] = {"finished": True, "claim": None, "beat": False, "release": None, "finish": False}


class _Exchange:
    """The folder of requests and answers in a sweep's directory, and the note at the end."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "exchange"
        self.requests, self.answers = self.path / "requests", self.path / "answers"
        self.note = self.path / "over.json"  # holds the number of trials
        for folder in (self.requests, self.answers):
            folder.mkdir(parents=True, exist_ok=True)


class RemoteStudy:
    """A study that a coordinator owns, with those methods of `Study` that a worker needs.

    Args:
        directory: the sweep's directory.
        patience: seconds to wait for an answer.
    """

    def __init__(self, directory: Path, patience: float = _PATIENCE) -> None:
        self._exchange, self._patience = _Exchange(directory), patience

    def finished(self, total: int) -> bool:
        """See `Study.finished`."""
        return self._request("finished", total, total=total)

    def claim(self, worker: str, is_dead: IsDead, plan: Plan) -> Block | None:
        """See `Study.claim`; the coordinator decides who is dead, and draws the parameters."""
        block = self._request("claim", worker, plan.total, plan.size, total=plan.total)
        return None if block is None else Block.from_json(block)

    def beat(self, block: Block, worker: str, beats: int) -> bool:
        """See `Study.beat`."""
        return self._request("beat", block.to_json(), worker, beats)

    def release(self, block: Block, worker: str) -> None:
        """See `Study.release`."""
        self._request("release", block.to_json(), worker)

    def finish(self, block: Block, worker: str, outcomes: Sequence[Outcome]) -> bool:
        """See `Study.finish`."""
        return self._request("finish", block.to_json(), worker, [outcome.to_json() for outcome in outcomes])

    def _request(self, method: str, *arguments: Any, total: int = 0) -> Any:
        """The answer to a request; if the coordinator ended after ``total`` trials, what it would have answered."""
        name = f"{uuid.uuid4().hex}.json"
        request, answer = self._exchange.requests / name, self._exchange.answers / name
        replace_file(request, json.dumps([method, *arguments]))
        pause, end = _PAUSE, time.monotonic() + self._patience
        while not answer.exists():
            if self._all_finished(total) and not answer.exists():
                request.unlink(missing_ok=True)
                return _WHEN_FINISHED[method]
            if time.monotonic() > end:
                request.unlink(missing_ok=True)
                raise StorageError(
                    f"{self._exchange.path}: no coordinator has answered for {self._patience:.0f} seconds: "
                    "start it again"
                )
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE)
        found = json.loads(answer.read_text())
        answer.unlink()
        return found

    def _all_finished(self, total: int) -> bool:
        try:
            return json.loads(self._exchange.note.read_text()) >= total
        except FileNotFoundError:
            return False


def serve(
    study: Study,
    directory: Path,
    plan: Plan,
    grace: float,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_block: Callable[[], None] = lambda: None,
) -> bool:
    """Answers the requests of workers until all trials are finished, and writes the note.

    Args:
        study: the study that this process owns.
        directory: the sweep's directory.
        plan: how many trials, and how they are drawn.
        grace: seconds without a heartbeat after which a worker counts as dead.
        should_stop: called often.
        on_block: called after every block that was recorded.

    Returns:
        Whether all trials are finished; False if `should_stop` returned True.
    """
    exchange, monitor = _Exchange(directory), WorkerMonitor(directory / "workers", grace)
    exchange.note.unlink(missing_ok=True)  # of a sweep that now gets more trials
    while not should_stop():
        methods = []
        for path in sorted(exchange.requests.glob("*.json")):
            method, *arguments = json.loads(path.read_text())
            answer = _answer(study, plan.suggest, monitor, method, arguments)
            replace_file(exchange.answers / path.name, json.dumps(answer))
            path.unlink()
            methods.append(method)
        if "finish" in methods:
            on_block()
        if not methods:
            time.sleep(_PAUSE)
        if ("finish" in methods or not methods) and study.finished(plan.total):
            replace_file(exchange.note, json.dumps(plan.total))
            return True
    return False


def _answer(study: Study, suggest: Suggest, monitor: WorkerMonitor, method: str, arguments: list[Any]) -> Any:
    match method, arguments:
        case "finished", [total]:
            return study.finished(total)
        case "claim", [worker, total, size]:
            claimed = study.claim(worker, monitor.is_dead, Plan(total, size, suggest))
            return None if claimed is None else claimed.to_json()
        case "beat", [block, worker, beats]:
            return study.beat(Block.from_json(block), worker, beats)
        case "release", [block, worker]:
            return study.release(Block.from_json(block), worker)  # type: ignore[func-returns-value]
        case _, [block, worker, outcomes]:
            return study.finish(Block.from_json(block), worker, [Outcome.from_json(fields) for fields in outcomes])
