"""What the processes that train one model agree upon, on one host or on many.

All run the same program, each with a part of every batch; the first one alone writes and reports. Whatever decides what
is run next is agreed here first, because a process that runs something else than the others leaves all of them waiting.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np

from lstmjax.errors import DataError, PeerError, one_line

_TEXT_BYTES = 1000
"""Length of an error that is sent to the other processes."""


def process_count() -> int:
    """Returns the number of processes that train together. It starts no device where there is one."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def is_first_process() -> bool:
    """Returns whether this process is the one that writes files and reports."""
    return process_count() == 1 or jax.process_index() == 0


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
