"""A proxy before a database of trials, for workers that cannot open it themselves, such as those on other hosts."""

import logging
import socket
import warnings

from optuna.storages import run_grpc_proxy_server

from lstmjax.errors import ConfigError, ConfigWarning
from lstmjax.sweep.study.quiet_optuna import quiet_optuna
from lstmjax.sweep.study.storage import NEEDS_GRPC, Storage


def serve(address: str, host: str, port: int) -> None:
    """Serves a storage to workers with ``--storage grpc://HOST:PORT``, until the process ends.

    Workers wait while the proxy, or the database behind it, is away for a moment; a proxy may be killed at any time.

    Args:
        address: the database, see `Storage`.
        host: the address to listen on: localhost for workers on this machine only, 0.0.0.0 for any.
        port: the port to listen on.

    Raises:
        ConfigError: the storage cannot be used, grpcio is missing, or the port is in use.
    """
    if address.startswith(("journal:", "grpc:")):
        raise ConfigError(f"--storage is {address!r}: a proxy serves a database; workers use this storage themselves")
    require_port(host, port)
    storage = Storage(address)
    logging.getLogger("grpc").setLevel(logging.CRITICAL)  # a worker says in one line what went wrong
    warnings.warn(
        f"the proxy has no authentication: anyone who can reach {host}:{port} can read and change the trials",
        ConfigWarning,
        stacklevel=2,
    )
    try:
        with quiet_optuna():
            run_grpc_proxy_server(storage.backend, host=host, port=port)
    except ImportError:
        raise ConfigError(f"a proxy needs {NEEDS_GRPC}") from None
    finally:
        storage.close()


def require_port(host: str, port: int) -> None:
    """Refuses a port that another process listens on, which a proxy would share with it.

    Raises:
        ConfigError: the port is in use, or no port of this machine.
    """
    if not 0 < port < 65536:
        raise ConfigError(f"port is {port}: expected 1 to 65535")
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise ConfigError(f"{host}:{port} cannot be listened on ({error}): name another --host or --port") from None
