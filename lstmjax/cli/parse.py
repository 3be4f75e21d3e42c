"""Reads a command line. A mistake in it is one line, which names the nearest option where one is mistyped."""

import contextlib
import dataclasses
import difflib
import io
import re
import sys
import typing
from collections.abc import Iterator
from typing import Any

import tyro

from lstmjax.errors import ConfigError


def parse(commands: Any, arguments: list[str]) -> Any:
    """The command that is typed.

    Args:
        commands: union of the dataclasses of the commands, each annotated with `tyro.conf.subcommand`.
        arguments: the command line.

    Raises:
        ConfigError: an unknown command or option, or a value that an option cannot have.
        SystemExit: a help text was asked for, and is printed.
    """
    names = [command.__metadata__[0].name for command in typing.get_args(commands)]
    first = arguments[0] if arguments else ""
    if not first.startswith("-") and first not in names:
        near = difflib.get_close_matches(first, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(names)}"
        raise ConfigError(f"unknown command {first!r}: {hint}" if first else f"no command is given: {hint}")
    said = io.StringIO()
    about = "Time-series forecasting with LSTMs in JAX. lstmjax --version prints the version."
    options: dict[str, Any] = {"args": arguments, "prog": "lstmjax", "description": about, "return_unknown_args": True}
    try:
        with contextlib.redirect_stderr(said):
            command, unknown = tyro.cli(commands, **options)
    except SystemExit as ended:
        if not ended.code:
            raise
        raise ConfigError(_what_is_wrong(said.getvalue())) from None
    sys.stderr.write(said.getvalue())  # warnings
    if unknown:
        raise ConfigError(_unknown(unknown[0], command, first))
    return command


def _what_is_wrong(box: str) -> str:
    """The message in one of tyro's boxes, without the frame, the title and the help below it."""
    text = "".join(f"{line.strip('│ ')}\n" for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines())
    parts = re.split(r"^(?:[╭╰─].*|-{3,})\n", text, flags=re.MULTILINE)  # ASCII, where the terminal has no lines
    return " ".join(parts[1].split()) if len(parts) > 1 else " ".join(text.split())


def _unknown(argument: str, command: object, name: str) -> str:
    typed = argument.split("=")[0].replace("_", "-")
    if not typed.startswith("-"):
        return f"unexpected argument {argument!r}: see lstmjax {name} --help"
    flags = list(_flags(command))
    last = typed.lstrip("-").split(".")[-1]
    near = [flag for flag in flags if flag.lstrip("-").split(".")[-1] == last]
    near = near or difflib.get_close_matches(typed, flags, n=1)
    hint = f"did you mean {near[0]}?" if near else f"see lstmjax {name} --help"
    return f"unknown option {argument.split('=')[0]}: {hint}"


def _flags(command: Any, prefix: str = "") -> Iterator[str]:
    """All flags of a command, such as ``--data.h`` and ``--train.no-refit-all``."""
    hints = typing.get_type_hints(type(command), include_extras=True)
    for field in dataclasses.fields(command):
        value, marks = getattr(command, field.name), getattr(hints[field.name], "__metadata__", ())
        name = field.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            unnamed = any(getattr(mark, "name", None) == "" for mark in marks)
            yield from _flags(value, prefix if unnamed else f"{prefix}{name}.")
        elif tyro.conf.Positional not in marks:
            yield f"--{prefix}{name}"
            if isinstance(value, bool):
                yield f"--{prefix}no-{name}"
