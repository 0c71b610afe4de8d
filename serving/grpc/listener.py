"""Listening sockets: of one process, or of several, where whoever has the fewest connections takes the next one."""

import asyncio
import errno
import functools
import itertools
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from polserve.serving.access.guard import AccessRules, Guard
from polserve.serving.logs import Log, SparseLog
from polserve.serving.reloading import Reloaded
from polserve.serving.tls import HANDSHAKE_S, Certificates

BACKLOG = 1024
"""Connections that wait to be accepted."""
TURN_S = 0.001
"""Time for which a connection is left to a process that has fewer, before it is looked at again."""
MOST_LEFT_S = 0.1
"""The longest that connections are left so; then all that wait are taken, since the other process is too busy."""
PAUSE_S = 1.0
"""Time without new connections, after the system could give none."""
FULL_S = 0.02
"""Time without new connections, after there were as many as there may be."""
ROOM = 256
"""Connections that must make room then, if they have said nothing for `SILENCE_S`."""
SILENCE_S = 0.25
"""Time after which silence is taken for no honest client's: what speaks HTTP/2 or TLS speaks at once."""
AT_ONCE = 32
"""Connections that a process takes in one turn of its loop, where it shares them with no other."""

log = Log()


class Turns(Protocol):
    """Whose turn it is to take the next connection."""

    def is_ours(self, n_connections: int) -> bool:
        """Note how many connections this process has; return whether it is to take one more."""

    def leave(self) -> None:
        """Take part no more."""


class Alone:
    """The turns of a process that shares its socket with no other."""

    def is_ours(self, n_connections: int) -> bool:
        """Take each connection."""
        del n_connections
        return True

    def leave(self) -> None:
        """Do nothing: nobody else looks."""


@dataclass(frozen=True, slots=True)
class SharedPort:
    """A socket that several processes listen on."""

    socket: socket.socket
    """Bound, and the same in all of them."""
    turns: Turns


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways by which clients reach a process."""

    port: SharedPort | None = None
    """What several processes share; None where the process binds a port of its own."""
    socket: SharedPort | None = None
    """Likewise of the UNIX socket."""
    socket_path: Path | None = None
    """UNIX socket that the process binds for itself; None for none."""
    certificates: Reloaded[Certificates] | None = None
    """What encrypts the connections of the port; None for nothing."""
    tell: Callable[[int], None] = lambda _n: None
    """Told how many connections are open, every second."""
    guard: Guard = field(default_factory=lambda: Guard(AccessRules()))
    """Knows who may call what; everybody may do everything where nothing is said."""
    count_arrival: Callable[[str, str], None] = lambda _method, _stage: None
    """Told of each call at grpcio, by the method's name, that it has "arrived", and that it has "begun"."""


@dataclass(frozen=True, slots=True)
class Taking:
    """What a listener does with the connections that it takes."""

    make: Callable[[Callable[[], object]], asyncio.Protocol]
    """Makes what speaks on a new connection; from when it calls what it is given, `count` counts it."""
    count: Callable[[], int]
    """Says how many connections there are, without those in the handshake of TLS."""
    most: int
    """Connections that there may be."""
    make_room: Callable[[], None]
    """Ends some of those that are of no use, where there are as many."""
    certificates: Reloaded[Certificates] | None = None
    """What encrypts them; None for nothing."""


class Listener:
    """Accepts the connections of a socket."""

    def __init__(self, port: SharedPort, loop: asyncio.AbstractEventLoop, taking: Taking) -> None:
        """Listen from now on, as the thread of the running loop."""
        self._port, self._loop, self._taking = port, loop, taking
        self._at_once = AT_ONCE if isinstance(port.turns, Alone) else 1
        self._beginning: dict[asyncio.Task[Any], float] = {}
        """Connections that are not heard yet, such as in the handshake of TLS, and since when; the oldest first."""
        self._fullness = SparseLog("connections_full")
        self._failures = SparseLog("connection_not_begun")
        self._left_since: float | None = None
        """Since when something has waited that is left to other processes; None where nothing does."""
        self._is_closed = False
        self._poll = select.poll()
        self._poll.register(port.socket, select.POLLIN)
        port.socket.listen(BACKLOG)
        port.socket.setblocking(False)
        self._listen()

    def note(self) -> None:
        """Tell the other processes how many connections there are."""
        if not self._is_closed:
            self._is_ours()

    def close(self) -> None:
        """Accept no more, and end the handshakes in hand; what waits is left to the other processes."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._port.socket)
            self._port.turns.leave()
            self._port.socket.close()
            for task in self._beginning if self._taking.certificates is not None else ():
                self._loop.call_soon(task.cancel)  # not before its first step, from which on it closes its socket

    async def settle(self) -> None:
        """Return once each connection that was accepted speaks or has ended; after `close`, that is at once."""
        if self._beginning:
            await asyncio.wait(list(self._beginning))

    def _is_ours(self) -> bool:
        return self._port.turns.is_ours(self._taking.count() + len(self._beginning))

    def _listen(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._port.socket, self._take)

    def _take(self) -> None:
        """Take what waits, or leave it to another process for a moment."""
        if self._is_left():
            self._loop.remove_reader(self._port.socket)
            self._loop.call_later(TURN_S, self._look_again)
            return
        self._take_some()
        self._note_empty()

    def _is_left(self) -> bool:
        """Whether what waits is left to a process that has fewer connections, for a while at most."""
        if self._is_ours():
            self._left_since = None
            return False
        now = time.monotonic()
        self._left_since = self._left_since or now
        return now - self._left_since < MOST_LEFT_S

    def _look_again(self) -> None:
        """Take what still waits, or leave it once more."""
        self._listen()
        self._note_empty()
        if self._left_since is not None and not self._is_closed:
            self._take()

    def _note_empty(self) -> None:
        """Take notice where nothing waits any more: what comes next was left to nobody yet."""
        if self._left_since is not None and not self._poll.poll(0):
            self._left_since = None

    def _take_some(self) -> None:
        for _ in range(self._at_once):
            if self._taking.count() + len(self._beginning) >= self._taking.most:
                self._make_room()
                return
            if not self._accept():
                return
            self.note()

    def _make_room(self) -> None:
        """Take no more for a moment, in which those that have said nothing yet are ended."""
        self._fullness.write(most=self._taking.most)
        since = time.monotonic() - SILENCE_S
        for task in [task for task, begun_at in itertools.islice(self._beginning.items(), ROOM) if begun_at < since]:
            task.cancel()
        self._taking.make_room()
        self._wait(FULL_S)

    def _accept(self) -> bool:
        """Accept a connection; return whether there may be another one to accept."""
        try:
            connection, address = self._port.socket.accept()
        except (BlockingIOError, ConnectionAbortedError):  # another process has taken it, or it is gone
            return False
        except OSError as error:
            if error.errno == errno.EINVAL:  # the supervisor has ended it for all
                self.close()
            else:
                log.error("accept_failed", error=str(error))  # noqa: TRY400 - it says why in one line
                self._wait(PAUSE_S)
            return False
        connection.setblocking(False)
        client = f"{address[0]} {address[1]}" if isinstance(address, tuple) else "unix"  # as other events have it
        task = self._loop.create_task(self._begin(connection, client))
        self._beginning[task] = time.monotonic()
        task.add_done_callback(self._note_begun)
        return True

    def _note_begun(self, task: asyncio.Task[Any] | None) -> None:
        """Take a connection off the list of those that are beginning, if it is on it."""
        if task is not None:
            self._beginning.pop(task, None)

    async def _begin(self, connection: socket.socket, client: str) -> None:
        """Let a connection speak, after the handshake where it is encrypted."""
        certificates = self._taking.certificates
        note_begun = functools.partial(self._note_begun, asyncio.current_task())
        try:
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(
                lambda: self._taking.make(note_begun),
                connection,
                ssl=None if certificates is None else certificates.value.context,
                ssl_handshake_timeout=None if certificates is None else HANDSHAKE_S,
            )
        except OSError as error:  # of TLS too: strangers knock, and a client may not like the certificate
            self._failures.write(client=client, error=str(error) or type(error).__name__)
            connection.close()

    def _wait(self, seconds: float) -> None:
        self._loop.remove_reader(self._port.socket)
        self._loop.call_later(seconds, self._listen)
