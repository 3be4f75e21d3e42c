"""Ends training after some time, in good order."""

import time

from lstmjax.training.callback import Callback
from lstmjax.training.report import Status


class TimeLimit(Callback):
    """Ends training at the first chunk of steps after a time; chunks take about two seconds.

    No check is added, so a run that is resumed has the same bytes as one that was not limited.

    Args:
        seconds: from the start of training, or from where it is resumed; compilation counts.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def on_start(self, status: Status) -> None:
        """Starts the clock."""
        self._end = time.monotonic() + self._seconds

    def should_stop(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._end
