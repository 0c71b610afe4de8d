"""The nghttp2 front: a listening socket, and the connections that it brings."""

import asyncio
import functools
import heapq
import time
from collections.abc import Sequence
from dataclasses import replace

from polserve.serving.addresses import bind_file, listen
from polserve.serving.grpc.connection import Connection
from polserve.serving.grpc.listener import BACKLOG, ROOM, SILENCE_S, Alone, Listener, SharedPort, Taking, Ways
from polserve.serving.grpc.shared import ConnectionLimits, Front
from polserve.serving.grpc.unread import end_unread
from polserve.serving.grpc.vigil import look_after
from polserve.serving.handlers.base import Quiet
from polserve.serving.methods import Call, Method
from polserve.serving.rounds import Rounds

POLL_S = 0.01


class Uncounted:
    """The counter of calls of what does not exist."""

    def begin(self) -> None:
        """Count nothing."""

    def end(self, seconds: float, code: str) -> None:
        """Count nothing."""

    def refuse(self, reason: str) -> None:
        """Count nothing."""

    def turn_away(self, n: int, reason: str, code: str) -> None:
        """Count nothing."""


class _Nothing(Quiet):
    """Handles what does not exist: it is refused before."""

    def handle(self, calls: Sequence[Call]) -> None:
        """Never called."""


class Nghttp2Carrier:
    """Carries gRPC over nghttp2, in the loop that answers the calls."""

    def __init__(
        self, methods: Sequence[Method], rounds: Rounds, limits: ConnectionLimits, ways: Ways | None = None
    ) -> None:
        """Carry calls over a port of its own, without TLS, or by other ways."""
        self._limits = limits
        self._ways = ways or Ways()
        self._rounds = rounds
        self._methods = {method.path.encode(): method for method in methods}
        self._unknown = Method("", "", "unary", _Nothing(), Uncounted())
        self.connections: set[Connection] = set()
        """Connections that are open."""
        self._port = self._ways.port
        self._socket = self._ways.socket
        self._listeners: list[Listener] = []
        self._sweeper: asyncio.TimerHandle | None = None

    def bind(self, host: str, port: int) -> int:
        """Reserve the port, any where it is 0, and the UNIX socket; return the port.

        Raises:
            PortInUse: one of them cannot be bound.
        """
        if self._port is None:
            self._port = SharedPort(listen("grpc-port", host, port, BACKLOG), Alone())
        if self._ways.socket_path is not None:
            self._socket = SharedPort(bind_file(self._ways.socket_path), Alone())
        return int(self._port.socket.getsockname()[1])

    async def start(self) -> None:
        """Accept connections."""
        loop = asyncio.get_running_loop()
        front = Front(
            self._methods,
            self._unknown,
            self._rounds,
            self._limits,
            loop,
            self.connections,
            lost=self._note_count,
            guard=self._ways.guard,
        )
        if self._port is None:
            raise RuntimeError("bind comes before start")
        taking = Taking(
            functools.partial(Connection, front),
            self.connections.__len__,
            self._limits.max_connections,
            self._make_room,
            self._ways.certificates,
        )
        self._listeners = [Listener(self._port, loop, taking)]
        if self._socket is not None:
            self._listeners.append(Listener(self._socket, loop, replace(taking, certificates=None)))
        self._sweep(loop)

    async def drain(self) -> None:
        """Accept no more, tell clients to call elsewhere, and return once all calls in hand are answered."""
        for listener in self._listeners:
            listener.close()
            await listener.settle()
        if self._ways.socket_path is not None:
            self._ways.socket_path.unlink(missing_ok=True)
        for connection in list(self.connections):
            connection.drain()
        while self.connections:  # noqa: ASYNC110 - they go by themselves
            await asyncio.sleep(POLL_S)

    async def close(self) -> None:
        """End the connections that are left."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.connections):
            connection.abort()
        await asyncio.sleep(0)

    def _make_room(self) -> None:
        """End some of the connections that have said nothing yet, the oldest first."""
        since = time.monotonic() - SILENCE_S
        silent = [one for one in self.connections if not one.greeting.is_whole and one.received_at < since]
        for connection in heapq.nsmallest(ROOM, silent, key=lambda one: one.received_at):
            connection.abort()

    def _note_count(self) -> None:
        """Tell the processes that share the port how many connections are open here."""
        for listener in self._listeners:
            listener.note()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        for connection in list(self.connections):
            look_after(connection, now)
        self._note_count()
        self._ways.tell(len(self.connections))
        end_unread(self.connections, now, self._limits.max_reserved_bytes)
        self._sweeper = loop.call_later(min(1.0, self._limits.keepalive_s / 4), self._sweep, loop)
