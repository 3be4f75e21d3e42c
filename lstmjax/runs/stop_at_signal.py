"""The callback that ends training when a signal has come."""

from lstmjax.runs.signals import Signals
from lstmjax.training import Callback, Status


class StopAtSignal(Callback):
    """Ends training when a signal has come; from the first chunk on a signal waits until the steps are saved."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def on_chunk(self, status: Status) -> None:
        """Lets signals wait from here on."""
        self._signals.arm()

    def should_stop(self) -> bool:
        """Whether a signal has come."""
        return self._signals.requested()
