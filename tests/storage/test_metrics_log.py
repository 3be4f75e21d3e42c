"""The log of checks: every line once, whatever happened to the process or the disk."""

import resource

import pytest

from lstmjax.storage.checkpoint import CheckpointWarning
from lstmjax.storage.metrics_log import MetricsLog


def lines(*steps):
    return [{"step": step, "loss": step / 2} for step in steps]


def test_lines_come_back(tmp_path):
    log = MetricsLog(tmp_path / "log")
    assert log.read() == []
    for line in lines(1, 2, 3):
        log.append(line)
    assert MetricsLog(tmp_path / "log").read() == lines(1, 2, 3)


@pytest.mark.parametrize("torn", [b"", b'{"step": 4, "lo', b'{"step": 4, "loss": 2.0}', b"\n", b"\x00\xff\n"])
def test_a_resumed_run_writes_later_lines_again_and_keeps_no_half_line(torn, tmp_path):
    log = MetricsLog(tmp_path / "log")
    for line in lines(1, 2, 3):
        log.append(line)
    with log.path.open("ab") as file:
        file.write(torn)
    again = MetricsLog(tmp_path / "log")
    assert again.read() == lines(1, 2, 3)
    again.rewind(2)
    assert again.read() == lines(1, 2)
    for line in lines(3, 4):
        again.append(line)
    assert again.read() == lines(1, 2, 3, 4)
    assert again.path.read_bytes().count(b"\n") == 4


def test_a_full_disk_loses_no_line(tmp_path):
    log = MetricsLog(tmp_path / "log")
    log.append(lines(1)[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40, hard))
        for line in lines(2, 3):
            with pytest.warns(CheckpointWarning, match="cannot be written now"):
                log.append(line)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert log.read() == lines(1)
    log.append(lines(4)[0])
    assert log.read() == lines(1, 2, 3, 4)


def test_what_was_never_begun_can_be_rewound(tmp_path):
    log = MetricsLog(tmp_path / "log")
    log.rewind(5)
    assert not log.path.exists()
