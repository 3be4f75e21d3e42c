"""Writes files whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any


def replace_file(path: Path, contents: str | bytes | Callable[[IO[bytes]], Any]) -> None:
    """Writes a file next to its place, then renames it, so that no reader ever sees half of it, also on NFS.

    Args:
        path: of the file; an existing file is replaced, and stays as it was if writing fails.
        contents: text, written as UTF-8; bytes; or a function that writes into an open binary file.

    Raises:
        OSError: it cannot be written.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            if callable(contents):
                contents(file)
            else:
                file.write(contents.encode() if isinstance(contents, str) else contents)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
