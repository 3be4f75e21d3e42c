import contextlib
import io
import os
import re
import sys

import numpy as np
import pytest
from rich.console import Console

from lstmjax.training import Check, ProgressDisplay, Status, TrainState

TIME = re.compile(r"(\d+:\d\d|-:--) ")


def status(step, rate=10.0, losses=(0.5,)):
    return Status(step=step, max_steps=1000, steps_per_second=rate, train_loss=np.float32(losses))


def check(step, val=(0.25,), best_step=(100,), rate=10.0):
    numbers = np.float32(val)
    return Check(
        step=step,
        state=TrainState(*[np.zeros(len(val))] * len(TrainState._fields)),
        train_loss=np.float32([0.5] * len(val)),
        val_loss=numbers,
        val_mae=numbers,
        val_mse=numbers,
        learning_rate=numbers,
        objective=numbers,
        best_step=np.int32(best_step),
        best_loss=np.float32([0.125] * len(val)),
        active=np.array([True] * len(val)),
        seconds=12.0,
        steps_per_second=rate,
    )


def shown(console_options, *events):
    stream = io.StringIO()
    with ProgressDisplay(Console(file=stream, width=200, **console_options)) as display:
        for event in events:
            (display.on_chunk if isinstance(event, Status) else display.on_check)(event)
    return stream.getvalue()


def test_piped_output_is_one_plain_line_a_check():
    text = shown({}, status(90), status(200), check(200))
    assert text == "step 200/1000  train 0.5  validation 0.25 (best 0.125 at 100)  10.0 steps/s  0:01:20 left\n"
    assert "\x1b" not in text


def last_line(width, *events):
    """What stands on a terminal of some columns in the end, and the colours that its bar has."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None)
    with ProgressDisplay(console) as display:
        for event in events:
            (display.on_chunk if isinstance(event, Status) else display.on_check)(event)
        display._bar.refresh()
    lines = stream.getvalue().replace("\x1b[2K", "").replace("\r", "\n").split("\n")
    return [line for line in lines if "/1000" in line][-1]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_terminal_shows_bar_rate_time_left_and_the_best(width):
    line = last_line(width, status(200), check(200), status(999, rate=1234.0))
    assert line.startswith("999/1000 ━━━━")
    assert "1234/s val 0.25 (best 0.125 at 100) train 0.5" in line
    assert TIME.search(line)
    members = last_line(width, status(200), check(200, val=(0.2,) * 10, best_step=(1,) * 10), status(250))
    assert "val 0.2 (best 0.125) 10/10 active train 0.5" in members
    assert "━━━" in members


def test_the_steps_before_a_resume_count_for_no_rate():
    with ProgressDisplay(Console(file=io.StringIO(), force_terminal=True)) as display:
        display.on_start(status(900))
        (task,) = display._bar.tasks
        assert (task.completed, task.total, task.speed) == (900, 1000, None)


def test_a_reader_that_is_gone_does_not_end_the_run(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        with ProgressDisplay() as display:
            for step in range(300):
                display.on_check(check(step))
        assert display.console.quiet
        monkeypatch.undo()
        with contextlib.suppress(BrokenPipeError):
            closed.close()


def test_a_population_shows_means_and_how_many_train():
    text = shown({}, check(300, val=(0.2, 0.4, np.nan), best_step=(1, 2, 3)))
    assert "validation 0.3 (best 0.125)  3 of 3 members active" in text


def test_without_validation_and_before_the_rate_is_known():
    assert shown({}, status(1, rate=0.0), check(1, val=(np.nan,), rate=0.0)) == "step 1/1000  train 0.5\n"
