"""What tests of runs share."""

import pytest

from lstmjax.runs.signals import Signals
from lstmjax.training import Callback


class LastChunk(Callback):
    """Has a signal arrive during the last chunk of a run; ``steps`` are those at which it came."""

    def __init__(self):
        self.signals, self.steps = Signals(), []

    def on_chunk(self, status):
        if status.step == status.max_steps:
            self.steps.append(status.step)
            self.signals._received = 15


@pytest.fixture
def last_chunk():
    return LastChunk()
