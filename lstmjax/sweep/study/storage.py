"""Where a study is kept: any storage of Optuna, named by an address, that waits out a short outage.

A trial is claimed by Optuna's compare-and-set, ``set_trial_state_values(trial, RUNNING)``, which is atomic on every
storage but SQLite: there each transaction is begun as a writing one.
"""

import functools
import math
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy
from optuna.exceptions import DuplicatedStudyError, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import GrpcStorageProxy, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError, ProgrammingError, SQLAlchemyError

from lstmjax.errors import ConfigError, one_line
from lstmjax.sweep.study.quiet_optuna import quiet_optuna

SERVERS = ("postgresql", "mysql", "mariadb")
"""Databases that workers on several hosts may share."""

PATIENCE = 300.0
"""Seconds that an outage of the storage may take."""

LOCK_GRACE = 10
"""Seconds after which the lock of a journal is taken from its holder, which was killed."""

NEEDS_GRPC = "grpcio: pip install 'lstmjax[grpc]'"

_WAIT = 60.0  # seconds to wait for a server, and for another process that writes to SQLite
_PROXY_WAIT = 20.0  # seconds to wait for a proxy at the beginning
_SLOW = 1.0  # seconds of one call, from which on it was an outage for others too
_PAUSE, _LONGEST_PAUSE = 0.25, 10.0  # seconds between attempts to reach the storage
_MAKING = (0.2, 0.4, 0.8, 1.6)  # seconds between attempts to make tables of a database that other workers make too
_JOURNAL = b'{"op_code":'  # how every line of a journal begins


class StorageError(ConfigError):
    """The storage cannot be reached or used."""


class Storage:
    """A storage of studies: every method of Optuna's `BaseStorage`, which here waits out a short outage.

    Args:
        address: ``sqlite:///study.db``, ``postgresql://user@host/name`` and other databases as SQLAlchemy writes them;
            ``journal:PATH``, a file on a file system that all workers share; ``grpc://HOST:PORT``, a proxy.

    Attributes:
        name: the address, without its password.
        backend: Optuna's storage, without patience.
        shared_by_hosts: whether workers on several hosts may use it.
        recovered: when the last outage ended, by `time.monotonic`.
        outages: the errors of a storage that may be back in a moment.

    Raises:
        ConfigError: it does not exist, cannot be reached, or is of a kind that is not supported.
    """

    def __init__(self, address: str) -> None:
        self.name, self.shared_by_hosts, self.recovered = address, True, -math.inf
        self.outages: tuple[type[Exception], ...] = (SQLAlchemyError, StorageInternalError, OSError, RuntimeError)
        kind = address[: address.find(":") + 1]
        open_backend = {"journal:": self._journal, "grpc:": self._proxy}.get(kind, self._database)
        try:
            with quiet_optuna():
                self.backend, self.close = open_backend(address)
        except ImportError as error:
            missing = error.name or getattr(error.__cause__, "name", None) or "of that database"
            driver = f"the driver {missing}: install it" if missing != "grpc" else NEEDS_GRPC
            raise StorageError(f"--storage is {self.name!r}, which needs {driver}") from None
        except (SQLAlchemyError, StorageInternalError, OSError) as error:
            raise self._failure(error) from None

    def __getattr__(self, method: str) -> Callable[..., Any]:
        """A method of Optuna's `BaseStorage`.

        The method raises `StorageError` if the storage cannot be reached for `PATIENCE`, or lacks the study. Where it
        would change a trial that is finished, as by another worker that had it too, it changes nothing and gives False.
        """
        return functools.partial(self._patiently, getattr(self.backend, method))

    def _patiently(self, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        began = time.monotonic()
        pause, waited = _PAUSE, False
        while True:
            try:
                found = method(*arguments, **named)
            except DuplicatedStudyError:
                raise
            except UpdateFinishedTrialError:
                return False
            except (KeyError, ValueError) as error:
                what = "its study is not there anymore" if isinstance(error, KeyError) else error
                raise self._failure(what) from None
            except self.outages as error:
                if time.monotonic() + pause > began + PATIENCE:
                    raise self._failure(error) from None
                if not waited:
                    line = f"{self._failure(error)}: waiting up to {PATIENCE:.0f} seconds for it"
                    print(f"lstmjax: {one_line(line)}", file=sys.stderr, flush=True)
                time.sleep(pause)
                pause, waited = min(1.5 * pause, _LONGEST_PAUSE), True
            else:
                if waited or time.monotonic() > began + _SLOW:
                    self.recovered = time.monotonic()
                return found

    def _failure(self, error: object) -> StorageError:
        """One line for the user."""
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        details = getattr(cause, "details", None)
        reason = details() if callable(details) else getattr(cause, "strerror", None) or getattr(cause, "orig", cause)
        line = (str(reason).strip() or type(cause).__name__).splitlines()[0]
        return StorageError(f"--storage is {self.name!r}, which cannot be used: {line}")

    def _database(self, address: str) -> tuple[Any, Callable[[], None]]:
        try:
            url = sqlalchemy.make_url(address)
        except ArgumentError:
            raise ConfigError(
                f"--storage is {address!r}: expected the address of a database, such as sqlite:///study.db or "
                "postgresql://user@host/name, or journal:PATH, or grpc://HOST:PORT"
            ) from None
        self.name, kind = url.render_as_string(hide_password=True), url.get_backend_name()
        self.shared_by_hosts = kind != "sqlite"
        if kind not in (*SERVERS, "sqlite"):
            raise ConfigError(f"--storage is {self.name!r}: expected sqlite, postgresql or mysql, journal or grpc")
        if kind == "sqlite" and url.database in (None, "", ":memory:"):
            raise ConfigError(f"--storage is {self.name!r}: name a file, as a database in memory ends with the process")
        arguments = {"connect_timeout": round(_WAIT)} if self.shared_by_hosts else {"timeout": _WAIT}
        _probe(address, arguments)
        engine = {"connect_args": arguments, "pool_pre_ping": self.shared_by_hosts}
        for pause in (*_MAKING, None):
            try:
                rdb = RDBStorage(address, engine_kwargs=engine)
                break
            except (IntegrityError, ProgrammingError, OperationalError) as error:
                # Of several workers that make the tables at once all but one fail, and find them made.
                if pause is None or (isinstance(error, OperationalError) and "already exists" not in str(error)):
                    raise
                time.sleep(pause)
            except RuntimeError as error:  # made by another version of Optuna, whose message says what to do
                raise ConfigError(f"--storage is {self.name!r}: {error}") from None
        if kind == "sqlite":
            # SQLite has no row locks. By default two workers read that a trial waits, and both take it.
            sqlalchemy.event.listen(rdb.engine, "begin", lambda link: link.exec_driver_sql("BEGIN IMMEDIATE"))
        return get_storage(rdb), rdb.engine.dispose

    def _journal(self, address: str) -> tuple[Any, Callable[[], None]]:
        path = Path(address.removeprefix("journal:")).absolute()
        start = b""
        if path.is_file():
            with path.open("rb") as file:
                start = file.read(len(_JOURNAL))
        other = path.exists() and not path.is_file()  # a folder or a device
        if other or address == "journal:" or not _JOURNAL.startswith(start):
            raise ConfigError(f"--storage is {self.name!r}: expected journal:PATH, a journal of Optuna or a new file")
        try:
            return JournalStorage(JournalFileBackend(str(path), _JournalLock(str(path)))), lambda: None
        except (ValueError, KeyError) as error:
            raise self._failure(f"the journal is damaged ({type(error).__name__}: {error})") from None

    def _proxy(self, address: str) -> tuple[Any, Callable[[], None]]:
        found = re.fullmatch(r"grpc://([^/]+):(\d{1,5})/?", address)
        if found is None:
            raise ConfigError(f"--storage is {self.name!r}: expected grpc://HOST:PORT, such as grpc://localhost:13000")
        import grpc

        self.outages += (grpc.RpcError,)
        proxy = GrpcStorageProxy(host=found[1], port=int(found[2]))
        try:
            proxy.wait_server_ready(timeout=_PROXY_WAIT)
        except ConnectionError:
            proxy.close()
            raise self._failure("no proxy answers there: start it with lstmjax sweep-proxy") from None
        return proxy, proxy.close


class _JournalLock(JournalFileSymlinkLock):
    """The lock of a journal; its holder first removes a line that a killed process left half written.

    Optuna would write its next line behind that half, and could not read either again.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, grace_period=LOCK_GRACE)
        self.path = path

    def acquire(self) -> bool:
        acquired = super().acquire()
        try:
            with open(self.path, "rb+") as file:
                end = file.seek(0, os.SEEK_END)
                while end and (file.seek(end - 1), file.read(1))[1] != b"\n":
                    end -= 1
                file.truncate(end)
        except BaseException:
            self.release()
            raise
        return acquired


def _probe(url: str, arguments: dict) -> None:
    """Raises if the database cannot be reached, and closes its connection, which Optuna would not do."""
    engine = sqlalchemy.create_engine(url, connect_args=arguments)
    try:
        sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()
