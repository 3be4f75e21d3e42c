"""How the processes of a run meet at its start, and how they end: none waits for one that is gone.

`jax.distributed` connects them. Where a peer does not come or dies, its C++ code aborts the process with a stack trace;
here that becomes one line and an exit status.
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
from collections.abc import Callable, Iterator
from typing import Any

import jax

from lstmjax.errors import ConfigError, Interrupted, LstmjaxError, PeerError, one_line
from lstmjax.parallel.processes import agree

HEARTBEAT_SECONDS = 30
"""A process that has not been heard of for so long counts as dead, and the others end. Most deaths are noticed at
once, as its connections break."""

SHUTDOWN_SECONDS = 30
"""How long processes that ended in agreement wait for each other."""

LOST_STATUS = 75
"""Exit status of a process whose peer died: that of a temporary failure (``EX_TEMPFAIL``). The run can be resumed."""

_PEER_LOST = "another process of this run has died or cannot be reached"

_LOST = ("Gloo", "NCCL", "coordination service", "Connection reset", "Connection closed", "heartbeat", "UNAVAILABLE")
"""What the error of a collective says when a peer is gone."""

_HandlerType = ctypes.CFUNCTYPE(None, ctypes.c_int)
_kept: list[Any] = []
"""What C code calls, so that it is not collected."""


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
