"""Writes files, and folders, whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
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


@contextlib.contextmanager
def replace_folder(path: Path, *, new: Path, old: Path) -> Iterator[Path]:
    """A folder that takes its place when all is written, so that no reader ever sees half of it.

    What a killed process left is put right first.

    Args:
        path: of the folder; an existing one is replaced, and stays as it was if the body raises.
        new: where the folder is written meanwhile, on the same file system.
        old: where the replaced one is for a moment; likewise.

    Yields:
        ``new``, which is not there yet.

    Raises:
        OSError: it cannot be renamed.
    """
    if old.exists() and not path.exists():  # killed between the two renames below
        old.rename(path)
    for left in (old, new):
        shutil.rmtree(left, ignore_errors=True)
    try:
        yield new
        if path.exists():
            path.rename(old)
        new.rename(path)
    finally:
        if old.exists() and not path.exists():  # interrupted there
            old.rename(path)
    shutil.rmtree(old, ignore_errors=True)
