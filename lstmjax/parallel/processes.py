"""Several processes, on one host or on many, that train one model: how they meet, agree, and end together.

`jax.distributed` connects them. All run the same program, each with a part of every batch; the first one alone writes
and reports. Whatever decides what is run next is agreed here first, because a process that runs something else than the
others leaves all of them waiting.
"""

import atexit
import contextlib
import ctypes
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from lstmjax.errors import ConfigError, DataError, Interrupted, LstmjaxError, PeerError, one_line

HEARTBEAT_SECONDS = 30
"""A process that has not been heard of for so long counts as dead, and the others end. Most deaths are noticed at
once, as its connections break."""

SHUTDOWN_SECONDS = 30
"""How long processes that ended in agreement wait for each other."""

LOST_STATUS = 75
"""Exit status of a process whose peer died: that of a temporary failure (``EX_TEMPFAIL``). The run can be resumed."""

_LOST = ("Gloo", "NCCL", "coordination service", "Connection reset", "Connection closed", "heartbeat", "UNAVAILABLE")
"""What the error of a collective says when a peer is gone."""

_TEXT_BYTES = 1000
"""Length of an error that is sent to the other processes."""

_HandlerType = ctypes.CFUNCTYPE(None, ctypes.c_int)
_kept: list[Any] = []
"""What C code calls, so that it is not collected."""


def process_count() -> int:
    """Returns the number of processes that train together. It starts no device where there is one."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def is_first_process() -> bool:
    """Returns whether this process is the one that writes files and reports."""
    return process_count() == 1 or jax.process_index() == 0


def connect(
    coordinator: str | None = None,
    processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout: float = 300.0,
    lost: Callable[[], str] = lambda: "",
) -> None:
    """Meets the other processes of this run. Call it after `configure_devices`, and before anything else uses JAX.

    Nothing is said on standard output by C++ code from here on, such as by Gloo, which connects CPUs.

    Args:
        coordinator: ``HOST:PORT`` of the first process, the same for all. Default: from the cluster (SLURM, TPU pods,
            Open MPI), with the other two.
        processes: how many there are.
        process_id: number of this one, from 0.
        timeout: seconds to wait for the others. Then this process ends with one line and exit status 2.
        lost: what to say last when another process has died, such as the command that resumes the run.

    Raises:
        ConfigError: the port is in use, the address cannot be used, or there is no cluster.
    """
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM from `lstmjax.runs.signals`
    asked: dict[str, Any] = {"heartbeat_timeout_seconds": HEARTBEAT_SECONDS}
    asked |= {"shutdown_timeout_seconds": SHUTDOWN_SECONDS, "initialization_timeout": int(timeout) + 60}
    if coordinator is not None:
        asked |= {"coordinator_address": coordinator, "num_processes": processes, "process_id": process_id}
        asked |= {"cluster_detection_method": "deactivate"}
        if _is_loopback(coordinator):  # the service has no authentication: nobody else need reach it
            asked |= {"coordinator_bind_address": coordinator}
        if process_id == 0:
            _require_free(coordinator)
    where = "the cluster's coordinator" if coordinator is None else coordinator
    missing = (
        f"not all {'' if processes is None else f'{processes} '}processes reached {where} within {timeout:g} seconds: "
        "start those that are missing, each with its own --distributed.process-id, or allow --distributed.timeout more"
    )
    refused = (
        f"{where} refused this process: give all processes the same --distributed.processes, and each its own "
        "--distributed.process-id"
    )
    _free_standard_output()
    with _log_silenced() as error_output:
        _at_abort(lambda: (refused, 2), error_output)
        watch = threading.Timer(timeout, _end, (f"error: {missing}", 2, error_output))
        watch.daemon = True
        watch.start()
        try:
            jax.distributed.initialize(**asked)
            jax.devices()  # every process has told of its devices
        except Exception as error:
            raise ConfigError(_why_not_connected(error, where)) from None
        finally:
            watch.cancel()
    _at_abort(lambda: (f"{_PEER_LOST}: {lost()}", LOST_STATUS), 2)


_PEER_LOST = "another process of this run has died or cannot be reached"


@contextlib.contextmanager
def ending_together(lost: Callable[[], str]) -> Iterator[None]:
    """Lets no process wait for one that is gone: for the work of a process after `connect`.

    A process whose error is its own leaves at once, so that the others notice; after an error that all have agreed
    upon, and at the end of the work, they wait for each other.

    Args:
        lost: as for `connect`.

    Raises:
        PeerError: another process is gone.
    """
    try:
        yield
        agree(0)  # the first one may still be writing
    except Interrupted:  # upon which all have agreed
        raise
    except Exception as error:
        if not isinstance(error, LstmjaxError) and any(word in str(error) for word in _LOST):
            atexit.register(_leave, LOST_STATUS)
            raise PeerError(f"{_PEER_LOST}: {lost()}", LOST_STATUS) from None
        if not isinstance(error, PeerError) and not getattr(error, "agreed", False):
            atexit.register(_leave, getattr(error, "exit_status", 1))
        raise


def agree(number: int) -> int:
    """Returns the largest of the numbers that the processes give; of flags, whether one of them is true.

    All processes must call it, in the same order among all they run on devices.
    """
    return int(number) if process_count() == 1 else int(_exchange(np.asarray(number, np.int32)).max())


def from_first(number: int) -> int:
    """Returns the number that the first process gives. All processes must call it."""
    return number if process_count() == 1 else int(_exchange(np.asarray(number, np.int32))[0])


def text_from_first(text: str) -> str:
    """Returns the text, of at most 1000 bytes, that the first process gives. All processes must call it."""
    return text if process_count() == 1 else _exchange_texts(text)[0]


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Runs a block in which one process may fail: then all fail. Nothing in it may run on the devices of others.

    Raises:
        Exception: what the block raised here.
        PeerError: it failed in another process; the first one reports why.
    """
    if process_count() == 1:
        yield
        return
    raised: Exception | None = None
    try:
        yield
    except Exception as error:
        raised = error
    texts = _exchange_texts("" if raised is None else one_line(raised) or type(raised).__name__)
    failed = [number for number, text in enumerate(texts) if text]
    if not failed:
        return
    own = jax.process_index()
    if raised is not None and (own == 0 or texts[own] != texts[0]):
        raised.agreed = True  # type: ignore[attr-defined]  # for `ending_together`
        raise raised
    which = "" if texts[failed[0]] == texts[own] else f"process {failed[0]}: "
    raise PeerError(f"{which}{texts[failed[0]]}", told=own == 0)


def require_equal(given: Callable[[], Mapping[str, str]]) -> None:
    """Refuses processes that were given different things.

    Args:
        given: digests or versions, by what they are of, such as "data"; called where there are several processes.

    Raises:
        DataError: names the first process that differs, and in what. All processes raise it.
    """
    if process_count() == 1:
        return
    with together():
        for what, value in given().items():
            values = _exchange_texts(value)
            for number, other in enumerate(values):
                if other != values[0]:
                    raise DataError(
                        f"process {number} was given other {what} than process 0 ({other[:40]}, not "
                        f"{values[0][:40]}): give all the same"
                    )


def _exchange(values: np.ndarray) -> np.ndarray:
    """An array of each process, (processes, ...)."""
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(values))


def _exchange_texts(text: str) -> list[str]:
    told = np.zeros(_TEXT_BYTES, np.uint8)
    letters = np.frombuffer(text.encode()[:_TEXT_BYTES], np.uint8)
    told[: len(letters)] = letters
    return [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in _exchange(told)]


def _is_loopback(address: str) -> bool:
    return address.rsplit(":", 1)[0] in ("127.0.0.1", "localhost", "[::1]")


def _require_free(address: str) -> None:
    """Refuses a port that is in use, which `jax.distributed` reports by the way."""
    host, port = address.rsplit(":", 1)
    family, name = (socket.AF_INET, host) if _is_loopback(address) and host != "[::1]" else (socket.AF_INET6, "::")
    with contextlib.ExitStack() as stack:
        try:
            probe = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((name, int(port)))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):  # such as a host without IPv6
                return
            raise ConfigError(
                f"--distributed.coordinator {address}: port {port} cannot be used ({error.strerror}): choose a port "
                "that is free on the host of process 0, the same for all processes"
            ) from None


def _why_not_connected(error: Exception, where: str) -> str:
    if "should be defined" in str(error) or "must be defined" in str(error):
        return (
            "--distributed.auto finds no SLURM job, TPU pod or Open MPI job here: give --distributed.coordinator, "
            "--distributed.processes and --distributed.process-id"
        )
    return f"the processes cannot be connected through {where}: {one_line(error, limit=200)}"


def _free_standard_output() -> None:
    """Gives Python's standard output a descriptor of its own: what C++ code writes to the old one goes nowhere."""
    try:
        if sys.stdout.fileno() != 1:
            return
    except (AttributeError, OSError, ValueError):  # closed, or not a file
        return
    sys.stdout.flush()
    own = os.dup(1)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    sys.stdout = os.fdopen(own, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, buffering=1)


@contextlib.contextmanager
def _log_silenced() -> Iterator[int]:
    """Silences what C++ code writes to standard error; gives a descriptor that still reaches it."""
    own = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield own
    finally:
        os.dup2(own, 2)
        os.close(own)


def _at_abort(message: Callable[[], tuple[str, int]], error_output: int) -> None:
    """Ends the process with one line where C++ code aborts it, as `jax.distributed` does when a peer is gone."""

    def handle(_: int) -> None:
        text, status = message()
        _end(f"error: {text}", status, error_output)

    _kept[:] = [_HandlerType(handle)]
    ctypes.CDLL(None).signal(signal.SIGABRT, _kept[0])


def _end(line: str, status: int, error_output: int) -> None:
    os.write(error_output, f"lstmjax: {line}\n".encode())
    os._exit(status)


def _leave(status: int) -> None:
    """Ends the process without the wait for the others in which `jax.distributed` ends it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)
