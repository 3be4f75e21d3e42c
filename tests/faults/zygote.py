"""Starts command lines of lstmjax as processes of their own, within milliseconds: it forks.

Importing JAX, pandas and the rest takes four seconds, and a test of faults starts dozens of processes. This one has
imported everything, and forks a child for every order it reads: a line of JSON on standard input, answered by one on
standard output. JAX has started no device yet when it forks, so that every child starts its own.
Only the pictures are left out.
"""

import ctypes
import gc
import json
import os
import resource
import sys
import time
import traceback

import jax
import orbax.checkpoint.experimental.v1  # noqa: F401
from jax._src import compiler, distributed

import lstmjax.cli.app
import lstmjax.parallel.connection
import lstmjax.runs.backtest
import lstmjax.runs.outputs
import lstmjax.runs.run
import lstmjax.runs.seeds

CAPABILITIES_VERSION = 0x20080522
DAC_OVERRIDE_AND_READ_SEARCH = 0b110


def keep_compiled_programs_of_every_process():
    """JAX stores those of the first process alone, where no other one finds its own: their keys differ."""
    write, state = compiler._cache_write, distributed.global_state

    def write_as_the_first(*arguments):
        number, state.process_id = state.process_id, 0
        try:
            write(*arguments)
        finally:
            state.process_id = number

    compiler._cache_write = write_as_the_first


def obey_permissions():
    """Root may write anywhere; without these two capabilities it may not."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the same of capabilities from 32 on
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    for number in (0, 1):
        sets[number] &= ~DAC_OVERRIDE_AND_READ_SEARCH
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


def child(order):
    """Runs the order; never returns."""
    status = 1
    try:
        for descriptor, path in ((1, order["stdout"]), (2, order["stderr"])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), descriptor)
        os.dup2(os.open(order.get("stdin", os.devnull), os.O_RDONLY), 0)
        if order.get("without_output"):
            os.close(1)
            sys.stdout = None  # as Python begins where descriptor 1 is closed
        sys.argv = ["lstmjax", *order.get("arguments", [])]
        if "flags" in order:
            os.environ["XLA_FLAGS"] = order["flags"]
        jax.config.update("jax_num_cpu_devices", order.get("devices", 1))
        if "heartbeat" in order:
            lstmjax.parallel.connection.HEARTBEAT_SECONDS = order["heartbeat"]
        if order.get("obey_permissions"):
            obey_permissions()
        if "largest_file" in order:
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest_file"], hard))
        if "code" in order:
            exec(order["code"], {})
        else:
            lstmjax.cli.app.main(order["arguments"])
        status = 0
    except SystemExit as stopped:
        status = stopped.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        os._exit(status)


def wait(pid, seconds):
    """The exit status as subprocess has it, -9 for a process killed by signal 9; None if it still runs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def main():
    """Obeys until its standard input is closed."""
    # A third of a child's time, for pictures that nobody looks at.
    for module in (lstmjax.runs.outputs, lstmjax.runs.seeds):
        module.draw_forecasts = module.draw_learning_curve = lambda *_, **__: None
    keep_compiled_programs_of_every_process()
    # A fifth of a child's processor time was to look for unused cycles among a million objects that it has inherited.
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            answer = {"status": wait(order["wait"], order["seconds"])}
        else:
            pid = os.fork()
            if pid == 0:
                child(order)
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
