"""Addresses that the service listens on: how they are written, and why one of them cannot be bound."""

import contextlib
import errno
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from polserve.serving.errors import PortInUse

T = TypeVar("T")

PATIENCE_S = 5.0
"""Seconds to wait for an address that is in use: workers of a service that was killed need a moment to let it go."""
PRIVILEGED = 1024
"""Lowest port that a program without special rights may bind."""
SOCKET_UMASK = 0o117
"""Rights that a UNIX socket does not give: its owner and group may connect, and nobody else."""

_umask_lock = threading.Lock()


def spelled(host: str, port: int) -> str:
    """Write host:port as clients and URLs have it, with brackets around an address of IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def resolve(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    """Look up the family and address to bind a listening socket to, with its scope; raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "the name is none") from error
    family, _, _, _, address = found[0]
    return family, address


def unavailable(setting: str, host: str, port: int, error: OSError) -> PortInUse:
    """Explain why an address cannot be bound, and what to do.

    Args:
        setting: the flag that names the port, without its dashes.
        host: that was to be bound.
        port: likewise.
        error: what was raised when it was tried.
    """
    if isinstance(error, socket.gaierror):
        expected = "an address of this machine, such as 127.0.0.1, 0.0.0.0 for all, or ::1"
        return PortInUse(f"host: expected {expected}, got {host!r} ({error.strerror})")
    if error.errno == errno.EADDRNOTAVAIL:
        remedy = "--host takes an address of this machine, such as 127.0.0.1, 0.0.0.0 for all, or ::1"
    elif error.errno == errno.EADDRINUSE:
        remedy = f"another program listens there; stop it, or choose another port with --{setting}"
    elif error.errno == errno.EACCES and port < PRIVILEGED:
        remedy = f"ports below {PRIVILEGED} need the rights of root; choose another with --{setting}"
    else:
        remedy = f"choose another with --{setting} or --host"
    return PortInUse(f"{setting}: {spelled(host, port)} cannot be bound ({error.strerror}); {remedy}")


def listen(setting: str, host: str, port: int, backlog: int) -> socket.socket:
    """Bind a socket and listen on it, without blocking.

    Args:
        setting: the flag that names the port, without its dashes.
        host: that is to be bound.
        port: likewise; 0 for any.
        backlog: connections that may wait to be accepted.

    Raises:
        PortInUse: it cannot be bound.
    """

    def bound() -> socket.socket:
        family, address = resolve(host, port)
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(backlog)  # whoever else wants the port is told now
        except OSError:
            listening.close()
            raise
        return listening

    try:
        listening = _once_free(bound)
    except OSError as error:
        raise unavailable(setting, host, port, error) from error
    listening.setblocking(False)
    return listening


def reserve(host: str, port: int) -> socket.socket:
    """Bind a socket that holds a port for several processes, and takes no connection itself.

    Raises:
        PortInUse: another program has it, even one that would share it.
    """

    def bound() -> socket.socket:
        family, address = resolve(host, port)
        with socket.socket(family, socket.SOCK_STREAM) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # whoever listened before may have left traces
            alone.bind(address)
            address = alone.getsockname()
        shared = socket.socket(family, socket.SOCK_STREAM)
        try:
            shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            shared.bind(address)
        except OSError:
            shared.close()
            raise
        return shared

    try:
        return _once_free(bound)
    except OSError as error:
        raise unavailable("grpc-port", host, port, error) from error


def _once_free(bind: Callable[[], T]) -> T:
    """Return what `bind` does, after a moment of patience where an address is in use; raises OSError."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return bind()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                raise
        time.sleep(0.1)


def why_not(host: str, port: int) -> OSError:
    """Find out what keeps an address from being bound, for a library that does not say."""
    try:
        family, address = resolve(host, port)
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        return error
    return OSError(errno.EIO, "for a reason that gRPC does not tell")


def bind_file(path: Path) -> socket.socket:
    """Bind a UNIX socket that owner and group may connect to; it takes the place of one that nobody listens on.

    Raises:
        PortInUse: it cannot be bound.
    """
    with at_free_path(path):
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(str(path))
        except OSError:
            listening.close()
            raise
    return listening


@contextlib.contextmanager
def at_free_path(path: Path) -> Iterator[None]:
    """Bind a UNIX socket in the block; it gets the mode 0660, and none that is left there from before is in the way.

    Raises:
        PortInUse: it cannot be bound.
    """
    try:
        _once_free(lambda: _clear(path))
        with _umask_lock:
            before = os.umask(SOCKET_UMASK)  # NOTE: a chmod afterwards would leave a moment in which all may connect
            try:
                yield
            finally:
                os.umask(before)
    except OSError as error:
        expected = "a path where a socket can be made"
        raise PortInUse(f"grpc-socket: expected {expected}, got {path} ({error.strerror or error})") from error


def _clear(path: Path) -> None:
    """Remove a socket that nobody listens on; raises OSError where something else is there."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise FileExistsError(errno.EEXIST, "something else is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, "another program listens there")
