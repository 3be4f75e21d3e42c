"""Checkpoints written beside the work that makes them: the loop hands a state over and goes on."""

import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from lstmjax.errors import CheckpointError
from lstmjax.storage import checkpoint
from lstmjax.storage.checkpoint import CheckpointWarning

LATEST = 2
"""Newest checkpoints that are kept; the best is kept beside them."""


class _Job(NamedTuple):
    step: int
    arrays: Mapping[str, Any]
    metadata: Mapping[str, Any]
    loss: float | None


class Saver:
    """Writes checkpoints in a thread of its own, and keeps the latest two and the best.

    It knows nothing of what is in them: a single run, a population and a block of a sweep are saved alike. Arrays may
    lie on a device, and must not be changed after they were handed over. While one save goes on, one more waits; if a
    third comes, it takes the place of the one that waits, so that the loop never waits and no more than two states are
    held.

    A save that fails (a full disk, a missing permission) costs that checkpoint and nothing else: it is told with a
    `CheckpointWarning` at the next call, and the next save is tried as if nothing had been.

    Nobody else may save into the folder meanwhile: see `lock`.

    Args:
        directory: folder of checkpoints; made at the first save.
        since: the step from which the work goes on; checkpoints of later steps are deleted, as are what saves that
            were killed left. Default: the newest there is.
        must_be_finite: whether the array of this name makes a checkpoint unusable if it holds a NaN or an infinity.
            Default: every array.
        say: told of a save that failed, in one line. Default: a `CheckpointWarning`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     with Saver(directory) as saver:
    ...         for step, loss in [(10, 0.3), (20, 0.1), (30, 0.2), (40, 0.2)]:
    ...             saver.save(step, {"weights": np.full(3, step)}, {}, loss=loss)
    ...             saver.wait()
    ...     checkpoint.steps(directory)
    [20, 30, 40]
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        since: int | None = None,
        must_be_finite: Callable[[str], bool] = lambda name: True,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.directory = Path(directory)
        self.saved: int | None = None
        """The newest step that this saver has written."""
        self._must_be_finite = must_be_finite
        self._say = _warn if say is None else say
        self._losses = _open(self.directory, since)
        self._failures: list[str] = []
        self._changed = threading.Condition()
        self._waiting: _Job | None = None
        self._busy = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def save(
        self, step: int, arrays: Mapping[str, Any], metadata: Mapping[str, Any], loss: float | None = None
    ) -> None:
        """Hands a state over to be written; returns at once.

        Args:
            step: number of updates done.
            arrays: arrays by name, on the host or on a device.
            metadata: anything JSON can hold.
            loss: how good the state is, lower being better; None, or what is not finite: it is never the best.
        """
        self._tell()
        with self._changed:
            if self._closed:
                raise ValueError("the saver must not be closed when it is given something to save")
            self._waiting = _Job(step, arrays, metadata, loss if loss is not None and np.isfinite(loss) else None)
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Returns when all that was handed over is written, or has failed and was told."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy and self._waiting is None)
        self._tell()

    def close(self) -> None:
        """`wait`, and then takes nothing more."""
        self.wait()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _tell(self) -> None:
        with self._changed:
            failures, self._failures = self._failures, []
        for line in failures:
            self._say(line)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._closed)
                job, self._waiting = self._waiting, None
                if job is None:
                    return
                self._busy = True
            failure = self._write(job)
            with self._changed:
                self._busy = False
                self._failures += [] if failure is None else [failure]
                self._changed.notify_all()

    def _write(self, job: _Job) -> str | None:
        """Writes one checkpoint and deletes those that are not kept. What went wrong, if something did."""
        try:
            arrays = {name: np.asarray(array) for name, array in job.arrays.items()}
            bad = [name for name, array in arrays.items() if self._must_be_finite(name) and not _finite(array)]
            if bad:
                return f"the state of step {job.step} is not saved: {bad[0]} holds a number that is not finite"
            checkpoint.save(self.directory, job.step, arrays, job.metadata, job.loss)
            self.saved = job.step
            self._losses[job.step] = job.loss
            self._prune()
        except CheckpointError as error:
            return f"{error}: training goes on, and the next save is tried"
        # Whatever else goes wrong in here must not end the training, nor go unsaid.
        except Exception as error:
            return f"the state of step {job.step} is not saved ({type(error).__name__}: {error})"
        return None

    def _prune(self) -> None:
        kept = set(sorted(self._losses)[-LATEST:])
        ranked = sorted((loss, step) for step, loss in self._losses.items() if loss is not None)
        kept |= {step for _, step in ranked[:1]}
        for step in checkpoint.steps(self.directory):
            if step not in kept:
                checkpoint.remove(self.directory, step)
        self._losses = {step: loss for step, loss in self._losses.items() if step in kept}


def _open(directory: Path, since: int | None) -> dict[int, float | None]:
    """Clears away what is no part of the work any more. The losses of the checkpoints that verify, by step."""
    checkpoint.remove_unfinished(directory)
    losses = {}
    for step in checkpoint.steps(directory):
        if since is not None and step > since:
            checkpoint.remove(directory, step)
            continue
        try:
            losses[step] = checkpoint.load_step(directory, step).loss
        except checkpoint.DamagedError:
            continue  # goes when the next save has succeeded
    return losses


def _finite(array: np.ndarray) -> bool:
    return not np.issubdtype(array.dtype, np.inexact) or bool(np.isfinite(array).all())


def _warn(line: str) -> None:
    warnings.warn(line, CheckpointWarning, stacklevel=4)
