"""Connections over HTTP/1.1: uvicorn's, and what keeps slow, silent and hostile clients from holding any for long.

A sweep looks at all of them once a second; where there are too many, the one that has waited longest for its client
makes room. Requests whose headers are whole are answered at once, whatever the others do.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from polserve.serving.peers import peer_of

MOST_CONNECTIONS = 1024
"""Connections at the same time, at most, where nobody says otherwise: ten times what browsers and probes open."""
MAX_HEAD_BYTES = 64 * 1024
"""Longest request line and headers."""
HEAD_S = 10.0
"""Time for the first request to come, and for any request line with its headers once it has begun."""
IDLE_S = 75.0
"""Time that a connection is kept between two requests."""
SILENCE_S = 20.0
"""Time without a byte after which the rest of a body is no longer waited for, nor for an answer to be read."""
SLOW_S, SLOW_BYTES_PER_S = 30.0, 1024
"""After this time a body must have come at this rate."""


class Connection(HttpToolsProtocol):
    """A connection of one client."""

    def __init__(self, *arguments: Any, most: int = MOST_CONNECTIONS, **named: Any) -> None:
        """Take what uvicorn gives, and how many connections there may be."""
        super().__init__(*arguments, **named)
        self._most = most

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; where there are too many connections, another one ends."""
        super().connection_made(transport)
        self._certificate = peer_of(transport).certificate
        self._since = self._received_at = self._read_at = self.loop.time()
        self._is_in_head = self._has_asked = False
        self._n_received = self._n_unread = 0
        if len(self.connections) > self._most:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._received_at = self.loop.time()
        super().data_received(data)
        self._n_received += len(data)
        if self._is_in_head and self._n_received > MAX_HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large", b"headers: expected at most 64 KiB, got more\n")

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._since = self._received_at
        self._is_in_head = self._has_asked = True
        self._n_received = 0
        self.scope["state"]["is_gone"] = self.transport.is_closing
        self.scope["state"]["certificate"] = self._certificate

    def on_headers_complete(self) -> None:
        """Have the request answered, whose body may still be coming."""
        self._is_in_head = False
        self._since = self._received_at
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the base class's signature
        """Refuse what is no HTTP."""
        self._refuse(b"400 Bad Request", b"request: expected HTTP/1.1, got what is none\n")

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for its client's request, and answers none."""
        return self.cycle is None or self.cycle.response_complete

    def sweep(self, now: float) -> None:
        """End the connection where its client has let it wait for too long."""
        if self.transport.is_closing():
            return
        if self.is_waiting:
            limit_s = IDLE_S if self._has_asked and not self._is_in_head else HEAD_S
            if now - self._since > limit_s:
                self._time_out()
        elif self.cycle.more_body and not self.pipeline:
            age_s = now - self._since
            is_slow = age_s > SLOW_S and self._n_received < age_s * SLOW_BYTES_PER_S
            if is_slow or now - self._received_at > SILENCE_S:
                self._time_out()
        self._sweep_unread(now)

    def _sweep_unread(self, now: float) -> None:
        """End the connection where an answer has been waiting for too long to be read any further."""
        n_unread = self.transport.get_write_buffer_size()
        if n_unread == 0 or n_unread != self._n_unread:
            self._read_at = now
        elif now - self._read_at > SILENCE_S:
            self.transport.abort()
        self._n_unread = n_unread

    def _time_out(self) -> None:
        if self._is_in_head or not self.is_waiting:
            self._refuse(b"408 Request Timeout", b"request: expected it whole within a reasonable time\n")
        else:
            self.transport.close()

    def _refuse(self, status: bytes, text: bytes) -> None:
        """End the connection with a status, where no other answer is under way."""
        if not self.transport.is_closing():
            if self.is_waiting or not self.cycle.response_started:
                head = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d" % len(text)
                self.transport.write(b"HTTP/1.1 %s\r\n%s\r\n\r\n%s" % (status, head, text))
            self.transport.close()

    def _make_room(self) -> None:
        """End the connection that has waited longest for its client; this one, where all others are being answered."""
        others: list[Any] = [one for one in self.connections if one is not self and one.is_waiting]  # type: ignore[union-attr]
        waiting = [one for one in others if not one.transport.is_closing()]
        min(waiting, key=lambda one: one._since, default=self).transport.abort()  # noqa: SLF001 - of this class
