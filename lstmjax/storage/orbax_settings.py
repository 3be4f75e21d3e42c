"""Orbax, as checkpoints use it: imported on first use, quiet, uncompressed; no process waits for others to load."""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

from lstmjax.storage.silence import silenced


@contextlib.contextmanager
def orbax() -> Iterator[Any]:
    """Orbax's v1 interface, imported on first use: that takes half a second. Its log is silenced meanwhile.

    It logs its own steps at every save, and whole tracebacks at one that fails; what a user must know is raised or
    warned of here.
    """
    import orbax.checkpoint.experimental.v1 as ocp

    with silenced("absl"):
        yield ocp


def uncompressed(ocp: Any) -> Any:
    """Sets Orbax to leave arrays as they are: weights hardly get smaller, and a third of the time is saved."""
    from orbax.checkpoint.experimental.v1 import options

    return ocp.Context(array_options=options.ArrayOptions(saving=options.ArrayOptions.Saving(use_compression=False)))


def by_itself(ocp: Any) -> Any:
    """Sets Orbax to wait for no other process while this one loads."""
    import jax
    from orbax.checkpoint.experimental.v1 import options

    if not jax.distributed.is_initialized():
        return contextlib.nullcontext()
    own = jax.process_index()
    alone = {"primary_host": own, "active_processes": {own}, "barrier_sync_key_prefix": f"process-{own}"}
    return ocp.Context(multiprocessing_options=options.MultiprocessingOptions(**alone))


def reason(error: Exception) -> str:
    """Returns the cause of an error in one line: the system's message, which TensorStore hides in a paragraph."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else " ".join(str(error).split())[:200] or type(error).__name__
