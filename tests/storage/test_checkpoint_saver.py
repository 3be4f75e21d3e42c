"""Saving in the background: what is kept, and that a save that fails costs one checkpoint and no more."""

import resource
import threading

import jax.numpy as jnp
import numpy as np
import pytest

from lstmjax.storage import checkpoint
from lstmjax.storage.checkpoint import CheckpointWarning
from lstmjax.storage.checkpoint_saver import Saver


def saved_in_turn(saver, losses):
    for step, loss in losses.items():
        saver.save(step, {"x": np.array([step])}, {"step": step}, loss=loss)
        saver.wait()


@pytest.mark.parametrize(
    ("losses", "kept"),
    [
        ({1: 5.0}, [1]),
        ({1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}, [1, 3, 4]),
        ({1: 4.0, 2: 3.0, 3: 2.0, 4: 1.0}, [3, 4]),
        ({1: 2.0, 2: 1.0, 3: 1.0, 4: 1.0, 5: 2.0}, [2, 4, 5]),
        ({1: None, 2: float("nan"), 3: float("inf"), 4: None}, [3, 4]),
        ({9: 1.0, 10: 2.0, 11: 2.0}, [9, 10, 11]),
    ],
)
def test_the_latest_two_and_the_best_are_kept(tmp_path, losses, kept):
    with Saver(tmp_path) as saver:
        saved_in_turn(saver, losses)
    assert checkpoint.steps(tmp_path) == kept
    assert checkpoint.load(tmp_path).metadata == {"step": max(losses)}


def test_the_best_is_remembered_by_the_next_process(tmp_path):
    with Saver(tmp_path) as saver:
        saved_in_turn(saver, {1: 1.0, 2: 2.0, 3: 3.0})
    with Saver(tmp_path) as saver:
        saved_in_turn(saver, {4: 4.0, 5: 5.0})
    assert checkpoint.steps(tmp_path) == [1, 4, 5]


def test_checkpoints_after_the_resumed_step_and_half_a_save_are_deleted(tmp_path):
    with Saver(tmp_path) as saver:
        saved_in_turn(saver, {1: 1.0, 2: 2.0, 3: 3.0})
    (tmp_path / "4.orbax-checkpoint-tmp-1").mkdir()
    Saver(tmp_path, since=2)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["1", "2"]


def test_a_state_that_is_not_finite_is_reported_and_never_written(tmp_path):
    with Saver(tmp_path, must_be_finite=lambda name: name != "best_loss") as saver:
        saver.save(1, {"w": np.ones(3, np.float32), "best_loss": np.array(np.inf)}, {})
        saver.wait()
        saver.save(2, {"w": np.array([1, np.nan], np.float32)}, {})
        with pytest.warns(CheckpointWarning, match="step 2 is not saved: w holds"):
            saver.wait()
    assert checkpoint.steps(tmp_path) == [1]


def test_a_save_that_fails_is_reported_and_the_next_one_works(tmp_path):
    reported = []
    with Saver(tmp_path / "c", say=reported.append) as saver:
        saver.save(1, {"x": np.arange(9)}, {})
        saver.wait()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # no file may grow beyond: a full disk
            saver.save(2, {"x": np.arange(100_000)}, {})
            saver.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert len(reported) == 1
        assert "\n" not in reported[0]
        assert "cannot save" in reported[0]
        assert saver.saved == 1
        saver.save(3, {"x": np.arange(100_000)}, {})
    assert len(reported) == 1
    assert checkpoint.steps(tmp_path / "c") == [1, 3]
    assert checkpoint.load(tmp_path / "c").arrays["x"][-1] == 99_999
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"1", "3"}


def test_the_loop_never_waits_and_the_newest_state_is_written(tmp_path, monkeypatch):
    free, seen, write = threading.Event(), [], checkpoint.save

    def slow(directory, step, *rest):
        free.wait(30)
        seen.append(step)
        return write(directory, step, *rest)

    monkeypatch.setattr(checkpoint, "save", slow)
    with Saver(tmp_path) as saver:
        for step in range(1, 6):
            saver.save(step, {"x": jnp.full(3, step)}, {})
        assert not seen
        free.set()
    assert seen[-1] == 5
    assert len(seen) <= 2
    np.testing.assert_array_equal(checkpoint.load(tmp_path).arrays["x"], [5, 5, 5])


def test_a_closed_saver_takes_nothing(tmp_path):
    saver = Saver(tmp_path)
    saver.close()
    with pytest.raises(ValueError, match="closed"):
        saver.save(1, {}, {})
