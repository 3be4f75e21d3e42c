"""The lock of a run directory: one process at a time, and a plain message where the system has no such locks."""

import sys

import pytest

from lstmjax.errors import CheckpointError
from lstmjax.storage.lock import LOCK_FILE, DirectoryLock


def test_a_directory_is_held_until_the_lock_is_closed(tmp_path):
    with DirectoryLock(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK_FILE).read_text().startswith("process ")
        with pytest.raises(CheckpointError, match=r"run is in use by process \d+ on .*: wait until it has ended"):
            DirectoryLock(tmp_path / "run")
    DirectoryLock(tmp_path / "run").close()


def test_without_posix_locks_one_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    with pytest.raises(CheckpointError, match=r"^run directories are locked with POSIX .* Linux or macOS.*$") as caught:
        DirectoryLock(tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_module_is_imported_without_posix_locks(monkeypatch):
    import importlib

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.delitem(sys.modules, "lstmjax.storage.lock")
    assert importlib.import_module("lstmjax.storage.lock").LOCK_FILE == LOCK_FILE
