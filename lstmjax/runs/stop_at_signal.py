"""The callback that ends training when a signal has come."""

from lstmjax import parallel
from lstmjax.runs.signals import Signals
from lstmjax.training import Callback, Status


class StopAtSignal(Callback):
    """Ends training when a signal has come; from the first chunk on a signal waits until the steps are saved.

    Of several processes each waits from the start, so that all leave together if the first chunk ends in time.
    """

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def on_start(self, status: Status) -> None:
        """Lets signals wait from here on where other processes would wait for this one."""
        if parallel.process_count() > 1:
            self._signals.arm()

    def on_chunk(self, status: Status) -> None:
        """Lets signals wait from here on."""
        self._signals.arm()

    def should_stop(self) -> bool:
        """Whether a signal has come."""
        return self._signals.requested()
