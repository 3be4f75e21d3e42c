import io

import numpy as np
from rich.console import Console

from lstmjax.training import Check, ProgressDisplay, Status, TrainState


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
    assert text == "step 200/1000  train 0.5  validation 0.25 (best 0.125 at 100)  10.0 steps/s  1:20 left\n"
    assert "\x1b" not in text


def test_a_terminal_shows_rate_time_left_and_validation():
    text = shown({"force_terminal": True}, status(200), check(200), status(201, rate=0.2))
    assert "\x1b" in text
    # what stands there in the end, as the line is drawn ten times a second at most
    assert "201/1000  0.2 steps/s  1:06:35 left  train 0.5  validation 0.25 (best 0.125 at 100)" in text


def test_a_population_shows_means_and_how_many_train():
    text = shown({}, check(300, val=(0.2, 0.4, np.nan), best_step=(1, 2, 3)))
    assert "validation 0.3 (best 0.125)  3 of 3 members active" in text


def test_without_validation_and_before_the_rate_is_known():
    assert shown({}, status(1, rate=0.0), check(1, val=(np.nan,), rate=0.0)) == "step 1/1000  train 0.5\n"
