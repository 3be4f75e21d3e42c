"""Files that are there whole or not at all."""

import errno
import os
import threading

import pytest

from lstmjax.storage.files import replace_file


def test_text_bytes_and_writers_are_written_for_all_to_read(tmp_path):
    for contents in ("größer\n", "größer\n".encode(), lambda file: file.write("größer\n".encode())):
        path = tmp_path / "file"
        replace_file(path, contents)
        assert path.read_bytes() == "größer\n".encode()
        assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
def test_what_was_there_stays_when_writing_fails(tmp_path, monkeypatch, failing):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file"
    path.write_text("old")
    if failing != "write":
        monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, full if failing == "write" else "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_nobody_sees_half_a_file(tmp_path):
    path, sizes, stopped = tmp_path / "file", {1, 2_000_000}, threading.Event()
    seen = set()

    def watch():
        while not stopped.is_set():
            seen.add(len(path.read_bytes()))

    replace_file(path, b"x")
    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(20):
        for size in sizes:
            replace_file(path, b"x" * size)
    stopped.set()
    watcher.join()
    assert seen <= sizes
