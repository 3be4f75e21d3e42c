"""Files that others read while they are written."""

import os
import uuid
from pathlib import Path


def replace_file(path: Path, text: str) -> None:
    """Writes a file: first beside its place, then into it, so that nobody ever sees half of it, on NFS neither."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
