"""Sessions of real clients, recorded off the wire, and changed at random."""

import contextlib
import itertools
import selectors
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator

import numpy as np

PREFACE_BYTES = 24
"""Length of HTTP/2's preface, without which nothing that follows is read."""


@contextlib.contextmanager
def recording(target: str) -> Iterator[tuple[str, list[bytearray]]]:
    """A relay to a service: its address, and what the client of each connection has sent through it."""
    host, port = target.rsplit(":", 1)
    sessions: list[bytearray] = []
    listening = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def pass_on(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        with source, sink, contextlib.suppress(OSError):  # either side has gone
            while data := source.recv(1 << 16):
                kept += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def relay() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:  # it was closed
                return
            server = socket.create_connection((host, int(port)))
            sessions.append(bytearray())
            for pair in ((client, server, sessions[-1]), (server.dup(), client.dup(), bytearray())):
                threads.append(threading.Thread(target=pass_on, args=pair))
                threads[-1].start()

    accepting = threading.Thread(target=relay)
    accepting.start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}", sessions
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for thread in (accepting, *threads):
            thread.join(10)


def mutate(session: bytes, rng: np.random.Generator) -> bytes:
    """Return a session with one to five changes behind its preface; sometimes it is cut off."""
    return changed(session, rng, PREFACE_BYTES)


def changed(data: bytes, rng: np.random.Generator, kept: int = 0) -> bytes:
    """Return bytes with one to five changes: set, cut out, repeated or copied; sometimes the end is cut off.

    Args:
        data: what is changed.
        rng: chooses the changes.
        kept: bytes at the beginning that stay as they are.
    """
    mutated = bytearray(data)
    for _ in range(rng.integers(1, 6)):
        start = int(rng.integers(kept, max(len(mutated), kept + 1)))
        end = start + int(rng.integers(1, 40))
        match int(rng.integers(8)):
            case 0:
                del mutated[start:end]
            case 1:
                mutated[start:start] = mutated[start:end]
            case 2:
                mutated[start:start] = mutated[int(rng.integers(kept, start + 1)) : start]
            case 3:
                mutated[start:end] = rng.bytes(end - start)
            case _:
                mutated[start : start + 1] = rng.bytes(1)
    return bytes(mutated[: rng.integers(1, max(2, len(mutated) + 1))]) if rng.random() < 0.2 else bytes(mutated)


class Thrower:
    """Sends sessions to a service, several at a time, each over a connection of its own, and reads what comes back."""

    def __init__(
        self, target: str, *, at_once: int = 32, patience_s: float = 2.0, tls: ssl.SSLContext | None = None
    ) -> None:
        self._tls = tls
        host, port = target.rsplit(":", 1)
        self._address = (host, int(port))
        self._at_once, self._patience_s = at_once, patience_s

    def throw(self, sessions: Iterable[bytes]) -> None:
        """Send every session, end it, and read until the service has hung up or has been quiet for a while."""
        waiting = iter(sessions)
        selector = selectors.DefaultSelector()
        while True:
            begun = list(itertools.islice(waiting, self._at_once - len(selector.get_map())))
            for session in begun:
                self._begin(session, selector)
            if not selector.get_map():
                if begun:
                    continue  # the service hung up on all of them
                return
            ready = [key.fileobj for key, _ in selector.select(self._patience_s)]
            for connection in ready or [key.fileobj for key in selector.get_map().values()]:
                assert isinstance(connection, socket.socket)
                if not (ready and _goes_on(connection)):
                    selector.unregister(connection)
                    connection.close()

    def _begin(self, session: bytes, selector: selectors.BaseSelector) -> None:
        connection = socket.create_connection(self._address, timeout=10)
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_hostname=self._address[0])
            connection.sendall(session)
            if self._tls is None:
                connection.shutdown(socket.SHUT_WR)
        except OSError:  # it was hung up on
            connection.close()
            return
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)


def _goes_on(connection: socket.socket) -> bool:
    """Whether the service has sent something, and may send more."""
    try:
        return bool(connection.recv(1 << 16))
    except ssl.SSLWantReadError:
        return True
    except OSError:
        return False
