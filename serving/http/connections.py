"""Connections over HTTP/1.1: uvicorn's, and what keeps slow, silent and hostile clients from holding any for long.

A sweep looks at all of them once a second; where there are too many, the one that has waited longest for its client
makes room. Requests whose headers are whole are answered at once, whatever the others do.
"""

import asyncio
from typing import Any

import httptools
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
VERSIONS = ("1.1", "1.0")
"""Versions of HTTP that are spoken here."""
FRAMING = (b"content-length", b"transfer-encoding")
"""Headers that say where a body ends."""
TOO_LARGE = (b"431 Request Header Fields Too Large", b"headers: expected at most 64 KiB, got more\n")


class _Refusal(Exception):
    """Why a request is refused whose headers have been read: a status of HTTP, and a text."""


class Connection(HttpToolsProtocol):
    """A connection of one client.

    A client may ask to switch to another protocol, as Java's and curl's do at HTTP/2. That is not done: the request is
    answered over HTTP/1.1. httptools takes what follows the headers for the other protocol, so that from there on
    another parser reads, which has not seen the wish.
    """

    def __init__(self, *arguments: Any, most: int = MOST_CONNECTIONS, **named: Any) -> None:
        """Take what uvicorn gives, and how many connections there may be."""
        super().__init__(*arguments, **named)
        self._most = most
        self._is_going_on = False
        """Whether a new parser is being told how the request goes on that the last one has begun."""
        self._n_bytes = self._n_before = 0
        """Bytes that have just come, and those of them that may be of requests before the one that begins."""

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
        self._unset_keepalive_if_required()
        self._n_bytes, self._n_before = len(data), 0
        try:
            while data:
                data = self._parse(data)
        except httptools.HttpParserError as error:
            self._refuse_request(error)
        self._n_received += self._n_bytes
        if self._is_in_head and self._n_received > MAX_HEAD_BYTES:
            self._refuse(*TOO_LARGE)

    def _refuse_request(self, error: httptools.HttpParserError) -> None:
        """Refuse what is no request."""
        if isinstance(error.__context__, _Refusal):
            self._refuse(*error.__context__.args)
        else:
            is_ours = isinstance(error, httptools.HttpParserCallbackError) or "Pause" in str(error)
            reason = "" if is_ours else f": {error}"
            self._refuse(b"400 Bad Request", f"request: expected HTTP/1.1, got something else{reason}\n".encode())

    def _parse(self, data: bytes) -> bytes:
        """Read what came; return what is left of it after a wish to switch protocols; raises HttpParserError."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
            if body := self._framing():
                self._is_going_on = True
                self.parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % body)
                self._is_going_on = False
            return data[upgrade.args[0] :]
        return b""

    def _framing(self) -> bytes:
        """Return the headers that say how the request's body is sent; empty where it has none."""
        found = [(name, value) for name, value in self.headers if name in FRAMING and value != b"0"]
        return b"".join(b"%s: %s\r\n" % header for header in found)

    def on_message_begin(self) -> None:
        """Begin a request."""
        if self._is_going_on:
            return
        super().on_message_begin()
        self._since = self._received_at
        self._is_in_head = self._has_asked = True
        self._n_received = -self._n_before
        self.scope["state"]["is_gone"] = self.transport.is_closing
        self.scope["state"]["certificate"] = self._certificate

    def on_url(self, url: bytes) -> None:
        """Take a part of what is asked for."""
        if not self._is_going_on:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        if not self._is_going_on:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Have the request answered, whose body may still be coming."""
        if self._is_going_on:
            return
        self._check()
        self._is_in_head = False
        self._since = self._received_at
        super().on_headers_complete()

    def _check(self) -> None:
        """Return if the headers are those of a request; raises _Refusal."""
        version = self.parser.get_http_version()
        if version not in VERSIONS:
            raise _Refusal(b"505 HTTP Version Not Supported", b"request: expected HTTP/1.1, got another version\n")
        n_hosts = sum(name == b"host" for name, _ in self.headers)
        if n_hosts > 1 or (n_hosts == 0 and version == VERSIONS[0]):
            raise _Refusal(b"400 Bad Request", b"host: expected one such header, got %d\n" % n_hosts)
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD_BYTES:
            raise _Refusal(*TOO_LARGE)

    def on_message_complete(self) -> None:
        """Take notice that a request is whole; not where another parser is to read its body."""
        if not (self.parser.should_upgrade() and self._framing()):
            self._n_before = self._n_bytes
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._since = self.loop.time()
        super().on_response_complete()

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
        """End the connection with a status; where a request before is still being answered, after that and without."""
        if not self.is_waiting and (self._is_in_head or self.pipeline):
            self.cycle.keep_alive = False
            self.transport.pause_reading()
        elif not self.transport.is_closing():
            if self.is_waiting or not self.cycle.response_started:
                head = b"content-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: %d" % len(text)
                self.transport.write(b"HTTP/1.1 %s\r\n%s\r\n\r\n%s" % (status, head, text))
            self.transport.close()

    def _make_room(self) -> None:
        """End the connection that has waited longest for its client; this one, where all others are being answered."""
        others: list[Any] = [one for one in self.connections if one is not self and one.is_waiting]  # type: ignore[union-attr]
        waiting = [one for one in others if not one.transport.is_closing()]
        min(waiting, key=lambda one: one._since, default=self).transport.abort()  # noqa: SLF001 - of this class
