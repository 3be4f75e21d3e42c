"""Callbacks: what training calls as it goes, and what may end it. Progress, logs, checkpoints, signals, trackers."""

from collections.abc import Sequence
from typing import Any

from lstmjax.training.report import Check, Status, TrainResult


class Callback:
    """What training calls as it goes. Every method is optional; arrays in what it is given are by member.

    An exception in any of them ends training: the other callbacks are still called, so that the state is saved, and
    then it is raised.

    >>> class Patience(Callback):
    ...     '''Stops when the training loss is low enough.'''
    ...     def __init__(self, enough):
    ...         self.enough, self.losses = enough, []
    ...     def on_check(self, check):
    ...         self.losses.append(float(check.train_loss[0]))
    ...     def should_stop(self):
    ...         return bool(self.losses) and self.losses[-1] < self.enough
    """

    def on_start(self, status: Status) -> None:
        """Before the first step; a resumed run starts at a later one.

        Args:
            status: where the run is. Its losses are NaN.
        """

    def on_chunk(self, status: Status) -> None:
        """After every chunk of steps, about two seconds.

        Args:
            status: where the run is.
        """

    def on_check(self, check: Check) -> None:
        """After every validation check: every ``train.val_check_steps`` steps, and at the last step.

        Args:
            check: what it found, and the state after it.
        """

    def on_end(self, result: TrainResult) -> None:
        """Once, when training has ended: by its steps, early stopping, `should_stop` or an exception in a callback.

        Args:
            result: the last state.
        """

    def should_stop(self) -> bool:
        """Whether to end training now; asked after every chunk of steps."""
        return False


class Callbacks:
    """Several callbacks as one.

    Args:
        callbacks: called in this order. An object that lacks a method of `Callback` is not called for it.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self._callbacks = tuple(callbacks)
        self.error: Exception | None = None
        """The first exception that one of them raised."""

    def notify(self, event: str, argument: Status | Check | TrainResult) -> None:
        """Calls a method of all of them, also after one has raised."""
        for callback in self._callbacks:
            method: Any = getattr(callback, event, None)
            try:
                if method is not None:
                    method(argument)
            except Exception as error:
                self.error = self.error or error

    def should_stop(self) -> bool:
        """Whether one of them asks for it, or has raised."""
        for callback in self._callbacks:
            asked: Any = getattr(callback, "should_stop", None)
            try:
                if asked is not None and asked():
                    return True
            except Exception as error:
                self.error = self.error or error
        return self.error is not None
