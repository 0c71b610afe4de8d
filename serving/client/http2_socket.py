"""The socket below a connection over nghttp2: TCP or UNIX, with TLS or without."""

import contextlib
import os
import socket
import ssl
import time
from dataclasses import dataclass

from polserve.serving.client.credentials import Credentials
from polserve.serving.client.errors import InvalidArgument
from polserve.serving.client.target import place_of


@dataclass(frozen=True, slots=True)
class End:
    """The other end of connections."""

    target: str
    max_message_bytes: int
    server_name: str | None = None
    """Name that the service's certificate must have, where it is not the target's host."""
    tls: ssl.SSLContext | None = None

    @property
    def authority(self) -> str:
        """Return what requests say that they are for."""
        place = place_of(self.target)
        if place.path:
            return "localhost"
        host = self.server_name or place.host
        return f"[{host}]:{place.port}" if ":" in host else f"{host}:{place.port}"


class Socket:
    """A socket that waits for as long as it is told, with TLS too; then it raises BlockingIOError."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._wait_s = connected.gettimeout()

    def recv(self, n_bytes: int, wait_s: float) -> bytes:
        """Read what has come, or comes first; raises BlockingIOError where nothing does in time, and OSError."""
        self._wait_for(wait_s)
        try:
            return self._socket.recv(n_bytes)
        except OSError as error:
            raise _translated(error) from None

    def send(self, data: bytes | memoryview, wait_s: float) -> int:
        """Write what there is room for; return how many bytes that was; raises as `recv` does."""
        self._wait_for(wait_s)
        try:
            return self._socket.send(data)
        except OSError as error:
            raise _translated(error) from None

    def close(self) -> None:
        """Close the socket; whoever waits for it is told."""
        with contextlib.suppress(OSError):  # the other side has closed it already
            # NOTE: that of TLS's socket first forgets TLS: what another thread sends then would leave in the clear.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        self._socket.close()

    def _wait_for(self, wait_s: float) -> None:
        """Set how long to wait, where that is not what was set for the call before: each change asks the kernel."""
        if wait_s != self._wait_s:
            self._socket.settimeout(wait_s)
            self._wait_s = wait_s


def _translated(error: OSError) -> OSError:
    """Return the error of a socket, as BlockingIOError where there was nothing to do in time."""
    # NOTE: the kernel, too, says TimeoutError, with its number: then the other side is not there any more.
    is_over = isinstance(error, TimeoutError) and error.errno is None
    return BlockingIOError() if is_over or isinstance(error, (ssl.SSLWantReadError, ssl.SSLWantWriteError)) else error


def connect(end: End, timeout_s: float) -> Socket:
    """Connect to a service, with the handshake of TLS where there is one; raises OSError."""
    place = place_of(end.target)
    until = time.monotonic() + timeout_s
    if place.path:
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        plain.settimeout(timeout_s)
        try:
            plain.connect(place.path)
        except OSError:
            plain.close()
            raise
    else:
        plain = socket.create_connection((place.host, place.port), timeout=timeout_s)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if end.tls is None:
        return Socket(plain)
    plain.settimeout(max(0.01, until - time.monotonic()))
    try:
        return Socket(end.tls.wrap_socket(plain, server_hostname=end.server_name or place.host))
    except OSError:
        plain.close()
        raise


def tls_context(credentials: Credentials, protocol: str = "h2") -> ssl.SSLContext | None:
    """Return the client's end of TLS, for a protocol by its name in ALPN; None where connections are not encrypted.

    Raises:
        InvalidArgument: a file cannot be used.
    """
    if not credentials.is_encrypted:
        return None
    try:
        context = ssl.create_default_context(cafile=credentials.ca)
        if credentials.certificate is not None:
            context.load_cert_chain(credentials.certificate, credentials.key)
    except (OSError, ssl.SSLError) as error:
        files = [os.fspath(path) for path in (credentials.ca, credentials.certificate, credentials.key) if path]
        expected = "certificates and their key in PEM that can be read"
        raise InvalidArgument("credentials", expected, f"{', '.join(files)} ({error})") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([protocol])
    return context
