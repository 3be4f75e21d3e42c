"""Disks that are full or forbidden, in the middle of a run and from its beginning."""

import resource
import time

import pytest

from lstmjax.storage import checkpoint

SMALL = 20_000  # bytes: less than a checkpoint has, more than any other file of the run


def warned(command, text):
    deadline = time.monotonic() + 60
    while text not in command.stderr:
        assert time.monotonic() < deadline, command.stderr


def test_a_full_disk_costs_checkpoints_and_nothing_else(start, options, whole, assert_same_files, tmp_path):
    directory = tmp_path / "run"
    command = start(*options, "--run-dir", directory, largest_file=SMALL)
    warned(command, "cannot save the checkpoint")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.prlimit(command.pid, resource.RLIMIT_FSIZE, (hard, hard))  # there is room again
    assert command.wait() == 0, command.stderr
    assert "training continues" in command.stderr
    assert_same_files(directory)


@pytest.mark.slow
def test_a_disk_that_stays_full_ends_with_a_line_and_the_run_goes_on_elsewhere(
    start, options, whole, assert_same_files, tmp_path
):
    command = start(*options, "--run-dir", tmp_path / "run", largest_file=SMALL)
    assert "cannot save the checkpoint" in command.error()
    assert checkpoint.steps(tmp_path / "run" / "checkpoints") == []
    resumed = start("train", "--resume", tmp_path / "run", "--run-dir", tmp_path / "roomy")
    assert resumed.wait() == 0, resumed.stderr
    assert_same_files(tmp_path / "roomy")


FORBIDDEN = """
import numpy as np
from pathlib import Path
from lstmjax.storage.checkpoint_saver import Saver

directory = Path({directory!r})
with Saver(directory, say=print) as saver:
    for step, mode in ((1, 0o700), (2, 0o500), (3, 0o700)):
        directory.mkdir(exist_ok=True)
        directory.chmod(mode)
        saver.save(step, dict(x=np.arange(step)), dict())
        saver.wait()
"""


def test_a_missing_permission_costs_one_checkpoint(start, tmp_path):
    command = start(code=FORBIDDEN.format(directory=str(tmp_path / "c")), obey_permissions=True)
    assert command.wait() == 0, command.stderr
    (line,) = command.stdout.splitlines()
    assert "cannot save the checkpoint (Permission denied)" in line
    assert checkpoint.steps(tmp_path / "c") == [1, 3]


@pytest.mark.slow
def test_checkpoints_that_may_not_be_written(start, options, whole, after, assert_same_files, tmp_path):
    directory = tmp_path / "run"
    command = start(*options, "--run-dir", directory, obey_permissions=True)
    after(command, directory, 4, 0.1)
    (directory / "checkpoints").chmod(0o500)
    assert "Permission denied" in command.error()
    assert "training continues" in command.stderr
    (directory / "checkpoints").chmod(0o700)
    resumed = start("train", "--resume", directory)
    assert resumed.wait() == 0, resumed.stderr
    assert_same_files(directory)


def test_a_directory_that_may_not_be_written_is_one_line(start, options, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    command = start(*options, "--run-dir", tmp_path / "locked" / "run", obey_permissions=True)
    assert "Permission denied" in command.error()
