"""The errors a user can cause, each carrying one line that says what to do."""

import re

_UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, what breaks a line or changes the direction of writing, halves of characters."""


def one_line(text: object, limit: int | None = None) -> str:
    r"""Text of a user's as one line that terminals, logs and pictures can show.

    Args:
        text: such as the name of a series or a column.
        limit: characters at most; of a longer text the middle is left out. Default: no limit.

    Returns:
        The text with escapes in place of characters that move the cursor or cannot be written.

    >>> one_line("first\nsecond"), one_line("x" * 100, limit=7)
    ('first\\nsecond', 'xxx…xxx')
    """
    line = _UNSHOWABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), str(text))
    if limit is None or len(line) <= limit:
        return line
    return f"{line[: limit // 2]}…{line[len(line) - (limit - 1) // 2 :]}"


class LstmjaxError(Exception):
    """A mistake the user can mend. The command line prints it as one line."""

    exit_status = 2
    """With which the command line ends."""


class ConfigError(LstmjaxError):
    """An option has a value it cannot have; the message names the option, the value and what is allowed."""


class DataError(LstmjaxError):
    """A table cannot be used; the message names the file, row or column, what was found and what to do."""


class CheckpointError(LstmjaxError):
    """A run directory or checkpoint is missing, damaged or made by something newer; the message says which."""


class PeerError(LstmjaxError):
    """Another process of the same run failed or is gone; so this one ends too.

    Args:
        message: one line.
        exit_status: with which the command line ends.
        told: whether this process reports it, as one of them is to.
    """

    def __init__(self, message: str, exit_status: int = 2, *, told: bool = True) -> None:
        super().__init__(message)
        self.exit_status = exit_status
        self.told = told


class ConfigWarning(UserWarning):
    """An option was given that has no effect, given the others."""


class TrainingWarning(UserWarning):
    """Training ended before it should, and what it left may be of little use. One line."""


class Interrupted(Exception):  # noqa: N818  # no error, as KeyboardInterrupt is none
    """Work was asked to stop, and did so after it had saved its state; the message says where it is."""
