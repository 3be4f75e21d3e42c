"""What only decorates a run, pictures, tables in the terminal, trackers: where it fails, the run ends in good order."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from lstmjax import parallel
from lstmjax.errors import one_line
from lstmjax.training import Callback


class DecorationWarning(UserWarning):
    """A picture, a table or a tracker failed after training; all else is written."""


@contextlib.contextmanager
def decoration(what: str) -> Iterator[None]:
    """Turns an exception into a warning; all but a disk that is full or may not be written.

    Args:
        what: is left out then.

    >>> with warnings.catch_warnings(record=True, action="always") as caught, decoration("a picture"):
    ...     1 / 0
    >>> print(caught[0].message)
    a picture is left out: ZeroDivisionError: division by zero
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        reason = one_line(error, limit=300)
        warnings.warn(f"{what} is left out: {type(error).__name__}: {reason}", DecorationWarning, stacklevel=3)


def heard(say: Callable[[str], None]) -> Callable[[str], None]:
    """A way to report that cannot end a run: where nobody listens any more, nothing is said.

    Of several processes that train one model the first alone reports.

    Args:
        say: called with each line.
    """

    def line(text: str) -> None:
        if not parallel.is_first_process():
            return
        with contextlib.suppress(OSError), decoration("what a run says"):  # such as a reader that is gone
            say(text)

    return line


class Tracker(Callback):
    """A callback of the user's whose ``on_end`` cannot end the run: training is over, and saved.

    Args:
        callback: any object with some of the methods of `lstmjax.training.Callback`.
    """

    def __init__(self, callback: Any) -> None:
        self._callback = callback
        for name in ("on_start", "on_chunk", "on_check", "should_stop"):
            if hasattr(callback, name):
                setattr(self, name, getattr(callback, name))

    def on_end(self, result: Any) -> None:
        """Calls that of the callback."""
        method = getattr(self._callback, "on_end", None)
        try:
            if method is not None:
                method(result)
        except Exception as error:
            name = type(self._callback).__name__
            warnings.warn(
                f"on_end of {name} failed: {type(error).__name__}: {one_line(error, limit=300)}",
                DecorationWarning,
                stacklevel=2,
            )
