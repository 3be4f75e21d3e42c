"""One line on standard error per warning and per mistake, and the exit status that goes with it."""

import contextlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from lstmjax.errors import CheckpointError, LstmjaxError, PeerError, one_line


@contextlib.contextmanager
def one_line_messages(program: str = "lstmjax") -> Iterator[None]:
    """Shows warnings and a user's mistakes as one line each on standard error; a mistake ends the process.

    Args:
        program: what the lines begin with.
    """

    def show(message: Warning | str, category: type[Warning], *_: Any) -> None:
        print(f"{program}: warning: {one_line(message)}", file=sys.stderr)

    reconfigure_stdout(errors="backslashreplace")  # a terminal that cannot show a name shows its escapes
    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]  # the place in the code is of no use to a user
        try:
            try:
                yield
            finally:  # also after a help text, which ends with SystemExit: here it shows whether anybody reads on
                _flush()
        except LstmjaxError as error:
            if not isinstance(error, PeerError) or error.told:
                print(f"{program}: error: {one_line(error)}", file=sys.stderr)
            sys.exit(error.exit_status)
        except KeyboardInterrupt:
            print(f"{program}: stopped by SIGINT", file=sys.stderr)
            sys.exit(128 + signal.SIGINT)
        except BrokenPipeError:
            # The reader, such as head, has what it wants. What is still to be written goes nowhere, without complaint.
            _write_nowhere()
            sys.exit(128 + signal.SIGPIPE)


def _flush() -> None:
    if sys.stdout is None:  # closed by the program that started this one
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _write_nowhere()
        raise CheckpointError(f"standard output: cannot be written ({error.strerror})") from None


def _write_nowhere() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def reconfigure_stdout(**options: Any) -> None:
    """Changes how standard output encodes text, where it is a text stream; options as in `io.TextIOWrapper`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(**options)
