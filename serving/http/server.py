"""The HTTP server: uvicorn on a loop in a thread of its own, so that probes are answered whatever the models do."""

import asyncio
import functools
import ssl
import threading
from collections.abc import Callable, Iterable

import uvicorn

from polserve.serving.access.guard import AccessRules, Guard
from polserve.serving.addresses import listen
from polserve.serving.http.connections import IDLE_S, MOST_CONNECTIONS, Connection
from polserve.serving.http.routes import Count, Route, RouteTable
from polserve.serving.loops import make_loop

BACKLOG = 1024
"""Connections that wait to be accepted."""
SWEEP_S = 1.0
"""Time between two looks at the connections."""
GRACE_S = 1
"""Time that answers under way have to be finished when the server stops."""


class HttpServer:
    """The server of the HTTP port."""

    def __init__(self, host: str, port: int, most_connections: int = MOST_CONNECTIONS) -> None:
        """Bind the port; requests are answered after `start`, over so many connections at the same time.

        Raises:
            PortInUse: the port cannot be bound.
        """
        self._socket = listen("http-port", host, port, BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        self._most_connections = most_connections
        self._loop = make_loop()
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(
        self,
        routes: Iterable[Route],
        guard: Guard | None = None,
        tls: ssl.SSLContext | None = None,
        count: Count = lambda _path, _status: None,
    ) -> None:
        """Answer requests, by the first route that is meant, of callers whom the guard admits; without one, of all.

        Args:
            routes: what is answered.
            guard: says who may ask.
            tls: encrypts the connections; None for plain text.
            count: called for each request that was answered.
        """
        connect = functools.partial(Connection, most=self._most_connections)
        table = RouteTable(routes, guard or Guard(AccessRules()), count)
        self._server = uvicorn.Server(_config(table, connect, tls))
        self._thread.start()

    @property
    def connections(self) -> list[Connection]:
        """Connections that are open."""
        open_now = set() if self._server is None else self._server.server_state.connections
        return [one for one in open_now.copy() if isinstance(one, Connection)]

    def stop(self) -> None:
        """Finish the answers under way, and answer no more."""
        if self._server is not None:
            self._server.should_exit = True
            self._thread.join(2 * GRACE_S + 1)
        self._socket.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_later(SWEEP_S, self._sweep)
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        if self._server is not None:
            await self._server.serve(sockets=[self._socket])
        for connection in self.connections:
            connection.transport.abort()
        await asyncio.sleep(0)

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in self.connections:
            connection.sweep(now)
        self._loop.call_later(SWEEP_S, self._sweep)


def _config(application: RouteTable, connect: Callable[..., Connection], tls: ssl.SSLContext | None) -> uvicorn.Config:
    """Return how uvicorn is to carry the application: it logs nothing, and reads nothing of the environment."""
    return uvicorn.Config(
        application,
        http=connect,  # type: ignore[arg-type]  # which is called, and nothing else
        ws="none",
        lifespan="off",
        interface="asgi3",
        backlog=BACKLOG,
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        server_header=False,
        timeout_keep_alive=int(IDLE_S),
        timeout_graceful_shutdown=GRACE_S,
    )
