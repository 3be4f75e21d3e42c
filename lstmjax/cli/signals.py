"""How a command that trains ends when a signal comes, also among the other processes of its run."""

import contextlib
import warnings
from collections.abc import Callable, Iterator

from lstmjax.config import DistributedConfig
from lstmjax.errors import Interrupted
from lstmjax.runs.signals import Signals


@contextlib.contextmanager
def until_a_signal(farewell: Callable[[], str], distributed: DistributedConfig | None = None) -> Iterator[Signals]:
    """Listens to signals while JAX is imported and a run is at work; one that has ended it gives the exit status.

    Args:
        farewell: what to say last, such as the command that resumes the run.
        distributed: how to find the other processes of the run, where there are some.
    """
    with Signals(farewell) as signals:
        from lstmjax import parallel

        parallel.configure_devices()
        try:
            if distributed is None or not distributed.active:
                yield signals
                return
            with _among_others(distributed, farewell):
                yield signals
        except Interrupted as stopped:
            signals.leave(str(stopped) if parallel.is_first_process() else None)


@contextlib.contextmanager
def _among_others(distributed: DistributedConfig, farewell: Callable[[], str]) -> Iterator[None]:
    """Connects the processes of a run; the first one alone is heard, unless another has an error of its own."""
    from lstmjax import parallel

    meeting = (distributed.coordinator, distributed.processes, distributed.process_id)
    parallel.connect(*meeting, timeout=distributed.timeout, lost=farewell)
    if not parallel.is_first_process():
        warnings.simplefilter("ignore")
    with parallel.ending_together(farewell):
        yield
