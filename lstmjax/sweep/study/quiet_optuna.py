"""Silence for Optuna while the sweep's own calls run, and only then."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

from optuna.exceptions import ExperimentalWarning


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Hides Optuna's notes and its warnings of experimental parts; afterwards all levels and filters are as before."""
    levels = {logger: logger.level for logger in map(logging.getLogger, ("optuna", "alembic"))}
    for logger in levels:
        logger.setLevel(max(logging.WARNING, logger.getEffectiveLevel()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)
