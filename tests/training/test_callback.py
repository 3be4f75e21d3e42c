"""Callbacks: when they are called, with what, and what an exception in one of them does."""

import numpy as np
import pytest

from lstmjax.config import OptimizerConfig, TrainConfig
from lstmjax.training import Callback, train

CONFIG = TrainConfig(
    loss="mse",
    max_steps=10,
    batch_size=12,
    batch_shards=1,
    val_check_steps=4,
    chunk_steps=3,
    early_stop_patience_steps=-1,
)


class Diary(Callback):
    """Writes down what it is called with."""

    def __init__(self):
        self.lines = []

    def on_start(self, status):
        self.lines.append(("start", status.step, status.train_loss.shape))

    def on_chunk(self, status):
        self.lines.append(("chunk", status.step))

    def on_check(self, check):
        self.lines.append(("check", check.step))

    def on_end(self, result):
        self.lines.append(("end", result.steps(), result.interrupted))


def run(tiny, data, *callbacks, **options):
    return train(tiny, data, OptimizerConfig(schedule="constant"), CONFIG, callbacks=callbacks, **options)


def test_they_are_called_in_the_order_of_events(tiny, data):
    diary = Diary()
    result = run(tiny, data, diary)
    assert diary.lines == [
        ("start", 0, (1,)),
        ("chunk", 3),
        ("chunk", 4),
        ("check", 4),
        ("chunk", 7),
        ("chunk", 8),
        ("check", 8),
        ("chunk", 10),
        ("check", 10),
        ("end", 10, False),
    ]
    resumed = Diary()
    run(tiny, data, resumed, seeds=[0, 1], until=3)
    assert resumed.lines == [("start", 0, (2,)), ("chunk", 3), ("end", 3, False)]
    again = Diary()
    run(tiny, data, again, state=result.state)
    assert again.lines == [("start", 10, (1,)), ("end", 10, False)]


def test_they_are_called_one_after_the_other(tiny, data, calls):
    order = []
    run(tiny, data, *(calls(on_end=lambda result, name=name: order.append(name)) for name in "abc"))
    assert order == ["a", "b", "c"]


def test_one_that_asks_for_it_ends_training_in_good_order(tiny, data, calls, tools):
    diary = Diary()
    seen = []
    stopping = calls(on_check=seen.append, should_stop=lambda: len(seen) == 1)
    result = run(tiny, data, stopping, diary)
    assert result.interrupted
    assert diary.lines[-2:] == [("check", 4), ("end", 4, True)]
    assert tools.same_bytes(run(tiny, data, state=result.state).state, run(tiny, data).state)


@pytest.mark.parametrize("event", ["on_start", "on_chunk", "on_check", "on_end", "should_stop"])
def test_an_exception_is_raised_after_all_others_were_called(event, tiny, data, calls):
    def broken(*_):
        raise RuntimeError(f"broken {event}")

    diary, saved = Diary(), []
    with pytest.raises(RuntimeError, match=f"broken {event}"):
        run(tiny, data, calls(**{event: broken}), diary, calls(on_end=saved.append))
    (result,) = saved
    steps = {"on_start": 0, "on_chunk": 3, "on_check": 4, "on_end": 10, "should_stop": 3}[event]
    assert result.steps() == steps
    assert diary.lines[-1] == ("end", steps, event not in ("on_end", "on_start"))
    assert np.isfinite(result.weights().params["linear.kernel"]).all()


def test_of_several_exceptions_the_first_is_raised(tiny, data, calls):
    def broken(what):
        raise ValueError(type(what).__name__)

    with pytest.raises(ValueError, match="Check"):
        run(tiny, data, calls(on_check=broken, on_end=broken))


def test_a_keyboard_interrupt_is_not_held_back(tiny, data, calls):
    def interrupt(_):
        raise KeyboardInterrupt

    diary = Diary()
    with pytest.raises(KeyboardInterrupt):
        run(tiny, data, calls(on_chunk=interrupt), diary)
    assert diary.lines == [("start", 0, (1,))]
