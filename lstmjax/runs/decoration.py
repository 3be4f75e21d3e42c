"""What only decorates a run, pictures, tables in the terminal, trackers: where it fails, the run ends in good order."""

import contextlib
import warnings
from collections.abc import Callable, Iterator

from lstmjax import parallel
from lstmjax.errors import one_line


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
