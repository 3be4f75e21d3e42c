"""The database of a study: any relational one that Optuna knows, and the lock under which workers share it.

POSIX only: the lock beside an SQLite file is that of `fcntl.flock`.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from lstmjax.errors import ConfigError
from lstmjax.sweep.study.quiet_optuna import quiet_optuna

SERVERS = ("postgresql", "mysql", "mariadb")
"""Databases that workers on several hosts may share."""

_WAIT = 60.0  # seconds to wait for a server, and for another process that writes to SQLite
_PAUSES = (0.1, 0.5, 1.0, 3.0, 10.0)  # seconds between attempts


class StorageError(ConfigError):
    """The database cannot be reached or used."""


class Storage:
    """A database of studies.

    What takes several steps, such as claiming a block of trials, is done under `exclusive`, so that no worker sees half
    of another's work. The lock ends with the process that holds it: a file lock beside an SQLite file, a row lock in a
    server.

    Args:
        url: address of the database, as SQLAlchemy writes it: ``sqlite:///study.db``, ``postgresql://user@host/name``.

    Raises:
        ConfigError: the database does not exist, cannot be reached, or is of a kind that is not supported.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = sqlalchemy.make_url(url)
        except ArgumentError:
            raise ConfigError(
                f"--storage is {url!r}: expected the address of a database, such as sqlite:///study.db or "
                "postgresql://user@host/name"
            ) from None
        self.name = parsed.render_as_string(hide_password=True)
        self.kind = parsed.get_backend_name()
        self._file = Path(parsed.database or "") if self.kind == "sqlite" else None
        if self.kind not in (*SERVERS, "sqlite"):
            raise ConfigError(f"--storage is {self.name!r}: expected sqlite, postgresql or mysql")
        if self._file is not None and parsed.database in (None, "", ":memory:"):
            raise ConfigError(f"--storage is {self.name!r}: name a file, as a database in memory ends with the process")
        arguments = {"connect_timeout": round(_WAIT)} if self._file is None else {"timeout": _WAIT}
        with self._reached():
            _probe(url, arguments)
            self.rdb = self._open(url, {"connect_args": arguments, "pool_pre_ping": self._file is None})

    @property
    def shared_by_hosts(self) -> bool:
        """Whether workers on several hosts may use it."""
        return self._file is None

    def close(self) -> None:
        """Closes its connections."""
        self.rdb.engine.dispose()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Locks the database for this process alone. Cannot be nested.

        Raises:
            StorageError: the database cannot be reached (anymore).
        """
        with self._reached(), self._row_lock() if self._file is None else self._file_lock():
            yield

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        """Turns errors of the database into one line for the user."""
        try:
            yield
        except ImportError as error:
            missing = error.name or (error.__cause__.name if isinstance(error.__cause__, ImportError) else None)
            raise StorageError(
                f"--storage is {self.name!r}, which needs the driver {missing or 'of that database'}: install it"
            ) from None
        except (SQLAlchemyError, StorageInternalError) as error:
            cause = error.__cause__ if isinstance(error, StorageInternalError) else error
            reason = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
            raise StorageError(f"--storage is {self.name!r}, which cannot be used: {reason}") from None

    def _open(self, url: str, engine: dict) -> RDBStorage:
        """Makes the tables unless they exist; when several workers do so at once, all but one fail and try again."""
        pauses = iter(_PAUSES)
        while True:
            try:
                with contextlib.nullcontext() if self._file is None else self._file_lock(), quiet_optuna():
                    return RDBStorage(url, engine_kwargs=engine)
            except (IntegrityError, ProgrammingError, OperationalError) as error:
                pause = next(pauses, None)
                if pause is None or (isinstance(error, OperationalError) and "already exists" not in str(error)):
                    raise
                time.sleep(pause)
            except RuntimeError as error:  # made by another version of Optuna, whose message says what to do
                raise ConfigError(f"--storage is {self.name!r}: {error}") from None

    @contextlib.contextmanager
    def _file_lock(self) -> Iterator[None]:
        try:
            file = os.open(f"{self._file}.lock", os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as error:
            raise StorageError(f"--storage is {self.name!r}, which cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    @contextlib.contextmanager
    def _row_lock(self) -> Iterator[None]:
        """Locks the one row of Optuna's table of versions, which nothing else locks."""
        version = sqlalchemy.table("version_info", sqlalchemy.column("schema_version"))
        with self.rdb.engine.begin() as connection:
            connection.execute(sqlalchemy.select(version.c.schema_version).with_for_update())
            yield


def _probe(url: str, arguments: dict) -> None:
    """Raises if the database cannot be reached, and closes its connection, which Optuna would not do."""
    engine = sqlalchemy.create_engine(url, connect_args=arguments)
    try:
        sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()
