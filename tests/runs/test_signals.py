"""What a process does when it is asked to end, at moments that a training run is too quick to show."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from lstmjax.runs.signals import Signals

PROGRAM = """
import hashlib, sys, time
from lstmjax.runs import signals
from lstmjax.runs.signals import Signals

signals.GRACE_SECONDS = 0.5
with Signals(lambda: "good bye") as it:
    {before}
    print("ready", flush=True)
    {work}
    it.leave("left in order")
"""
# One call of C code for half a minute, during which Python runs no handler: as XLA compiles.
BUSY = "hashlib.pbkdf2_hmac('sha256', b'', b'', 60_000_000)"
POLITE = "while not it.requested(): time.sleep(0.01)"


def ended(number, *, before="pass", work, times=1, pause=0.1):
    """Exit status, last words and seconds of a process that is sent a signal."""
    program = PROGRAM.format(before=before, work=work)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        began = time.monotonic()
        for _ in range(times):
            process.send_signal(number)
            time.sleep(pause)
        _, words = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    return process.returncode, words, time.monotonic() - began


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138), (signal.SIGUSR2, 140)]
)
def test_a_run_with_steps_to_lose_ends_in_its_own_time(number, status):
    assert ended(number, before="it.arm()", work=POLITE)[:2] == (status, "lstmjax: left in order: good bye\n")


def test_a_run_with_nothing_to_lose_ends_at_once_even_while_it_compiles():
    status, words, seconds = ended(signal.SIGTERM, work=BUSY)
    assert (status, words) == (143, "lstmjax: stopped by SIGTERM: good bye\n")
    assert seconds < 2


def test_what_is_saved_is_not_waited_for():
    status, _, seconds = ended(signal.SIGTERM, before="it.arm(); it.disarm()", work=BUSY)
    assert status == 143
    assert seconds < 2


def test_a_second_signal_stops_at_once():
    before = "signals.GRACE_SECONDS = 60; it.arm()"
    status, words, seconds = ended(signal.SIGINT, before=before, work=BUSY, times=2)
    assert (status, words) == (130, "lstmjax: stopped by SIGINT: good bye\n")
    assert seconds < 2


def test_a_run_that_does_not_end_in_time_is_ended():
    status, _, seconds = ended(signal.SIGTERM, before="it.arm()", work=BUSY)
    assert status == 143
    assert 0.5 < seconds < 3


def test_afterwards_signals_do_what_they_did_before():
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        assert signal.getsignal(signal.SIGTERM) is not before
        assert not signals.requested()
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.set_wakeup_fd(-1) == -1
    assert "signals" not in {thread.name for thread in threading.enumerate()}


def test_other_signals_are_left_alone():
    seen = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: seen.append(number))
    try:
        with Signals() as signals:
            signals.arm()
        os.kill(os.getpid(), signal.SIGUSR2)
        assert seen == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_in_another_thread_nothing_is_listened_to():
    found = []

    def use():
        with Signals() as signals:
            found.append(signals.requested())

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert found == [False]


def test_the_module_is_light():
    program = textwrap.dedent("""
        import sys, lstmjax.runs.signals
        print({"jax", "numpy", "pandas"} & set(sys.modules))
    """)
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "set()\n"
