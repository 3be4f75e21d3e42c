"""Trackers, such as TensorBoard or MLflow: callbacks that report a run elsewhere, and cannot end it."""

import warnings
from typing import Any

from lstmjax.errors import one_line
from lstmjax.runs.decoration import DecorationWarning
from lstmjax.training import Callback


class Tracker(Callback):
    """A callback of the user's whose ``on_end`` cannot end the run: training is over, and saved.

    Args:
        callback: any object with some of the methods of `lstmjax.training.Callback`.
    """

    def __init__(self, callback: Any) -> None:
        self._callback = callback
        for name in ("on_start", "on_chunk", "on_check", "should_stop"):
            if hasattr(callback, name):
                setattr(self, name, getattr(callback, name))

    def on_end(self, result: Any) -> None:
        """Calls that of the callback."""
        method = getattr(self._callback, "on_end", None)
        try:
            if method is not None:
                method(result)
        except Exception as error:
            name = type(self._callback).__name__
            warnings.warn(
                f"on_end of {name} failed: {type(error).__name__}: {one_line(error, limit=300)}",
                DecorationWarning,
                stacklevel=2,
            )
