"""One listening socket for several processes: whoever has the fewest connections takes the next one."""

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

BACKLOG = 1024
"""Connections that wait to be accepted."""
TURN_S = 0.001
"""Time for which a connection is left to a process that has fewer."""
MOST_TURNS = 100
"""Most such periods in a row; after them it is taken, and what follows at once, since the other process is too busy."""
PAUSE_S = 1.0
"""Time without new connections, after the system could give none."""

log = structlog.get_logger()


class Turns(Protocol):
    """Whose turn it is to take the next connection."""

    def is_ours(self, n_connections: int) -> bool:
        """Note how many connections this process has; return whether it is to take one more."""

    def leave(self) -> None:
        """Take part no more."""


@dataclass(frozen=True, slots=True)
class SharedPort:
    """A port that several processes listen on."""

    socket: socket.socket
    """Bound, and the same in all of them."""
    turns: Turns


class SharedListener:
    """Accepts the connections of a shared port."""

    def __init__(
        self,
        port: SharedPort,
        loop: asyncio.AbstractEventLoop,
        make: Callable[[], asyncio.Protocol],
        count: Callable[[], int],
    ) -> None:
        """Listen from now on, as the loop's thread.

        Args:
            port: what is shared.
            loop: the running loop.
            make: makes what speaks on a new connection.
            count: says how many connections there are.
        """
        self._port, self._loop, self._make, self._count = port, loop, make, count
        self._beginning: set[asyncio.Task[Any]] = set()
        self._n_left, self._left_at = 0, 0.0
        self._is_closed = False
        port.socket.listen(BACKLOG)
        port.socket.setblocking(False)
        self._listen()

    def note(self) -> None:
        """Tell the other processes how many connections there are."""
        if not self._is_closed:
            self._is_ours()

    def close(self) -> None:
        """Accept no more; what waits is left to the other processes."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._port.socket)
            self._port.turns.leave()
            self._port.socket.close()

    def _is_ours(self) -> bool:
        return self._port.turns.is_ours(self._count() + len(self._beginning))

    def _listen(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._port.socket, self._take)

    def _take(self) -> None:
        """Take a connection, or leave it to another process for a moment."""
        now = time.monotonic()
        is_ours = self._is_ours()
        if is_ours or now - self._left_at > 10 * TURN_S:  # those were other connections
            self._n_left = 0
        if not is_ours and self._n_left < MOST_TURNS:
            self._n_left, self._left_at = self._n_left + 1, now
            self._wait(TURN_S)
            return
        self._left_at = now
        try:
            connection, _ = self._port.socket.accept()
        except (BlockingIOError, ConnectionAbortedError):  # another process has taken it, or it is gone
            return
        except OSError as error:
            if error.errno == errno.EINVAL:  # the supervisor has ended it for all
                self.close()
            else:
                log.error("accept_failed", error=str(error))  # noqa: TRY400 - it says why in one line
                self._wait(PAUSE_S)
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._loop.connect_accepted_socket(self._make, connection))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    def _wait(self, seconds: float) -> None:
        self._loop.remove_reader(self._port.socket)
        self._loop.call_later(seconds, self._listen)
