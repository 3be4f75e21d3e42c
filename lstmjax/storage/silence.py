"""Silences the logger of another library while one of our calls into it runs, and only then."""

import contextlib
import logging
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_silenced: dict[str, tuple[int, int]] = {}
"""By logger: how many calls silence it now, and its level before the first of them."""


@contextlib.contextmanager
def silenced(name: str) -> Iterator[None]:
    """Lets a logger report nothing, then restores its level.

    Calls may nest and overlap, also in several threads: the level returns when the last one ends.

    Args:
        name: of the logger. Import its library first, which may want to make the logger itself.

    >>> with silenced("chatty"):
    ...     logging.getLogger("chatty").critical("not seen")
    >>> logging.getLogger("chatty").level == logging.NOTSET
    True
    """
    logger = logging.getLogger(name)
    with _lock:
        calls, level = _silenced.get(name, (0, logger.level))
        _silenced[name] = calls + 1, level
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        with _lock:
            calls, level = _silenced.pop(name)
            if calls > 1:
                _silenced[name] = calls - 1, level
            else:
                logger.setLevel(level)
