"""Signals that ask a run to end: it finishes its chunk of steps, saves, and goes. A second one stops it at once.

SIGTERM is what SLURM sends to a job it preempts or that runs out of time (SIGKILL follows after the grace period),
SIGINT is Ctrl-C, SIGUSR1 and SIGUSR2 are what ``sbatch --signal`` and submitit are mostly told to send in advance.

Python runs a signal's handler between two of its own instructions, so not while XLA compiles for half a minute. The
signals are therefore read by a thread, from a pipe that the interpreter writes to the moment they come.
"""

import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""What is listened to. The exit status is 128 and the signal's number: 143, 130, 138, 140."""

GRACE_SECONDS = 8.0
"""How long the run has to finish its chunk and save. Then it is ended: what it did since its last save is lost."""

_SHOW_CURSOR = "\x1b[?25h"  # which a progress bar hides
_END = 0


class Signals:
    """Listens to `SIGNALS` within a ``with`` block in the main thread; elsewhere, and outside of it, to nothing.

    It imports nothing of JAX, so that it can listen while JAX is imported.

    Args:
        farewell: what to say last, such as the command that resumes the run.
    """

    def __init__(self, farewell: Callable[[], str] = lambda: "") -> None:
        self._farewell = farewell
        self._received: int | None = None
        self._something_to_lose = False
        self._before: dict[int, Any] = {}
        self._thread: threading.Thread | None = None

    def requested(self) -> bool:
        """Whether a signal has come."""
        return self._received is not None

    def arm(self) -> None:
        """From here on there are steps that would be lost: a signal waits until they are saved."""
        self._something_to_lose = True

    def disarm(self) -> None:
        """All is saved: from here on a signal ends the process at once."""
        self._something_to_lose = False

    @property
    def number(self) -> int:
        """The signal that has come; 0: none."""
        return self._received or 0

    def adopt(self, number: int) -> None:
        """Takes a signal that came to another process of the run for one that came here.

        Args:
            number: the signal; 0: none.
        """
        if number and self._received is None:
            self._received = number

    def leave(self, why: str | None) -> None:
        """Ends the process with the status that belongs to the signal.

        Args:
            why: said before the farewell; None: nothing is said.
        """
        if why is not None:
            self._say(why)
        sys.exit(self._status())

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._read, self._write = os.pipe()
            os.set_blocking(self._write, False)
            self._before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
            self._wakeup_before = signal.set_wakeup_fd(self._write)
            self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread is not None:
            signal.set_wakeup_fd(self._wakeup_before)
            for number, handler in self._before.items():
                signal.signal(number, handler)
            os.write(self._write, bytes([_END]))
            self._thread.join()
            self._thread = None
            os.close(self._read)
            os.close(self._write)

    def _listen(self) -> None:
        while True:
            number = os.read(self._read, 1)[0]
            if number == _END:
                return
            if number not in SIGNALS:
                continue
            if self._received is None:
                self._received = number
                if self._something_to_lose and self._quiet_for(GRACE_SECONDS):
                    return
            self._end_now()

    def _quiet_for(self, seconds: float) -> bool:
        """Whether the run ended in time, without a second signal."""
        ready, _, _ = select.select([self._read], [], [], seconds)
        return bool(ready) and os.read(self._read, 1)[0] == _END

    def _end_now(self) -> None:
        self._say(f"stopped by {signal.Signals(self._received or 0).name}")
        os._exit(self._status())

    def _say(self, why: str) -> None:
        end = _SHOW_CURSOR if sys.stderr.isatty() else ""
        print(f"lstmjax: {why}: {self._farewell()}{end}", file=sys.stderr, flush=True)

    def _status(self) -> int:
        return 128 + (self._received or 0)
