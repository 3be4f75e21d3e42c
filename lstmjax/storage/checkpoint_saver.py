"""Saves checkpoints in the background: the training loop passes a state and continues at once.

Orbax's own asynchronous saving and retention are not used, as they do not keep what is promised here: its call takes 15
to 30 ms of the loop, for the copy to the host; after a save that failed, every later one raises the same error, and
threads of TensorStore print tracebacks; a stray or damaged folder counts among the latest that are kept.
"""

import contextlib
import warnings
from collections.abc import Callable, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import numpy as np

from lstmjax.errors import CheckpointError
from lstmjax.storage import checkpoint
from lstmjax.storage.checkpoint import CheckpointWarning

LATEST = 2
"""Number of newest checkpoints that are kept; the best is kept too."""


class Saver(contextlib.AbstractContextManager["Saver"]):
    """Writes checkpoints in its own thread, and keeps the latest two and the best.

    It saves any named arrays: those of a single run, of a population, or of a block of a sweep. Arrays may be on a
    device, and must not be changed after `save`. During one save, one more waits; a third replaces the waiting one, so
    that the loop never waits and at most two states are held in memory.

    A save that fails (a full disk, a missing permission) loses that checkpoint and nothing else: the next call reports
    it with a `CheckpointWarning`, and the next save is tried as usual.

    No other process may save into the folder at the same time: see `lstmjax.storage.lock`. Where several processes
    train one model, each has a saver, and all save the same steps: the loop then has to `wait` for each of them.

    Args:
        directory: folder of checkpoints; made at the first save.
        since: the step from which training continues; checkpoints of later steps are deleted, and so are the remains of
            interrupted saves. Default: the newest step.
        must_be_finite: tells whether a checkpoint is unusable if the array of this name holds a NaN or an infinity.
            Default: every array.
        say: reports a failed save, in one line. Default: a `CheckpointWarning`.

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
        """The newest step that this saver wrote."""
        self._must_be_finite = must_be_finite
        self._say = _warn if say is None else say
        self._losses = _open(self.directory, since)
        self._thread = futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoints")
        self._jobs: list[futures.Future[list[str]]] = []
        """The saves that are not reported yet: one that runs, at most, and one that waits."""
        self._closed = False

    def save(
        self, step: int, arrays: Mapping[str, Any], metadata: Mapping[str, Any], loss: float | None = None
    ) -> None:
        """Starts to save a state; returns at once.

        Args:
            step: number of updates done.
            arrays: arrays by name, on the host or on a device.
            metadata: anything that JSON can hold.
            loss: lower is better; with None, or a number that is not finite, the state is never the best.

        Raises:
            ValueError: the saver is closed.
        """
        if self._closed:
            raise ValueError("the saver is closed and can save no more")
        for job in self._jobs:
            job.cancel()  # one that waits; one that runs is not cancelled
        self._report()
        loss = loss if loss is not None and np.isfinite(loss) else None
        self._jobs.append(self._thread.submit(self._write, step, arrays, metadata, loss))

    def wait(self) -> None:
        """Returns when every save has ended and every failure is reported."""
        futures.wait(self._jobs)
        self._report()

    def close(self) -> None:
        """Calls `wait` and ends the thread; nothing can be saved afterwards."""
        self.wait()
        self._closed = True
        self._thread.shutdown()

    def __exit__(self, *error: object) -> None:
        self.close()

    def _report(self) -> None:
        ended = [job for job in self._jobs if job.done()]
        self._jobs = [job for job in self._jobs if job not in ended]
        for line in (line for job in ended if not job.cancelled() for line in job.result()):
            self._say(line)

    def _write(
        self, step: int, arrays: Mapping[str, Any], metadata: Mapping[str, Any], loss: float | None
    ) -> list[str]:
        """Writes one checkpoint and deletes those that are not kept. Returns a line if it failed."""
        try:
            arrays = {name: np.asarray(array) for name, array in arrays.items()}
            bad = [name for name, array in arrays.items() if self._must_be_finite(name) and not _finite(array)]
            if bad:
                return [f"the state of step {step} is not saved: {bad[0]} holds a number that is not finite"]
            checkpoint.save(self.directory, step, arrays, metadata, loss)
            self.saved = step
            self._losses[step] = loss
            self._prune()
        except CheckpointError as error:
            return [f"{error}: training continues, and the next save is tried"]
        # Any other error in here must not end the training, and must be reported.
        except Exception as error:
            return [f"the state of step {step} is not saved ({type(error).__name__}: {error})"]
        return []

    def _prune(self) -> None:
        ranked = sorted((loss, step) for step, loss in self._losses.items() if loss is not None)
        kept = {*sorted(self._losses)[-LATEST:], *(step for _, step in ranked[:1])}
        for step in checkpoint.steps(self.directory):
            if step not in kept and _is_first_process():
                checkpoint.remove(self.directory, step)
        self._losses = {step: loss for step, loss in self._losses.items() if step in kept}


def _open(directory: Path, since: int | None) -> dict[int, float | None]:
    """Deletes later checkpoints and the remains of interrupted saves. Returns the losses of the others, by step."""
    losses: dict[int, float | None] = {}
    if not _is_first_process():
        return losses
    checkpoint.remove_unfinished(directory)
    for step in checkpoint.steps(directory):
        if since is not None and step > since:
            checkpoint.remove(directory, step)
            continue
        try:
            losses[step] = checkpoint.loss_of(directory, step)
        except checkpoint.DamagedError:
            continue  # deleted after the next successful save
    return losses


def _is_first_process() -> bool:
    from lstmjax import parallel  # it imports JAX

    return parallel.is_first_process()


def _finite(array: np.ndarray) -> bool:
    return not np.issubdtype(array.dtype, np.inexact) or bool(np.isfinite(array).all())


def _warn(line: str) -> None:
    warnings.warn(line, CheckpointWarning, stacklevel=4)
