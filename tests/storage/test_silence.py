"""Other libraries' loggers: silent during our calls, as the user left them before and after."""

import logging
import subprocess
import sys
import threading

import numpy as np
import pytest

from lstmjax.storage import checkpoint
from lstmjax.storage.checkpoint_saver import Saver
from lstmjax.storage.silence import silenced


@pytest.fixture
def absl_logger():
    import absl.logging  # noqa: F401 - makes the logger

    logger = logging.getLogger("absl")
    before = logger.level
    yield logger
    logger.setLevel(before)


@pytest.mark.parametrize("level", [logging.NOTSET, logging.DEBUG, logging.ERROR])
def test_a_save_and_a_load_leave_the_level_of_absl(tmp_path, absl_logger, level):
    absl_logger.setLevel(level)
    checkpoint.save(tmp_path, 1, {"x": np.arange(3)}, {})
    assert absl_logger.level == level
    checkpoint.load(tmp_path)
    assert absl_logger.level == level
    with Saver(tmp_path) as saver:
        saver.save(2, {"x": np.arange(3)}, {})
    assert absl_logger.level == level


def test_a_save_that_fails_and_a_damaged_checkpoint_leave_it_too(tmp_path, absl_logger):
    absl_logger.setLevel(logging.INFO)
    (tmp_path / "file").write_text("")
    with pytest.raises(checkpoint.CheckpointError, match="cannot save the checkpoint"):
        checkpoint.save(tmp_path / "file", 1, {"x": np.arange(3)}, {})
    (tmp_path / "5").mkdir()
    with pytest.raises(checkpoint.CheckpointError, match="no checkpoint verifies"):
        checkpoint.load(tmp_path)
    assert absl_logger.level == logging.INFO


def test_the_first_save_of_a_process_leaves_the_level_of_absl_too(tmp_path):
    code = (
        "import logging, numpy, absl.logging; level = logging.getLogger('absl').level;"
        "from lstmjax.storage import checkpoint;"
        f"checkpoint.save({str(tmp_path)!r}, 1, {{'x': numpy.arange(3)}}, {{}});"
        "assert logging.getLogger('absl').level == level, logging.getLogger('absl').level"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_overlapping_calls_restore_the_level_when_the_last_one_ends():
    logger = logging.getLogger("overlapping")
    logger.setLevel(logging.INFO)
    inside, leave = threading.Event(), threading.Event()

    def work():
        with silenced("overlapping"):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=work)
    with silenced("overlapping"):
        thread.start()
        assert inside.wait(10)
    assert not logger.isEnabledFor(logging.CRITICAL)
    leave.set()
    thread.join()
    assert logger.level == logging.INFO


def test_an_error_inside_restores_the_level():
    with pytest.raises(KeyError), silenced("failing"):
        raise KeyError
    assert logging.getLogger("failing").level == logging.NOTSET
