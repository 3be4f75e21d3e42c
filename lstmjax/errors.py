"""The errors a user can cause, each carrying one line that says what to do."""


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


class ConfigWarning(UserWarning):
    """An option was given that has no effect, given the others."""


class Interrupted(Exception):  # noqa: N818  # no error, as KeyboardInterrupt is none
    """Work was asked to stop, and did so after it had saved its state; the message says where it is."""
