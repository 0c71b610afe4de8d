"""A client that sends what it is told, frame by frame, so that tests see what a service does with it."""

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from polserve.serving.http2 import engine
from polserve.serving.http2.wire import frame, percent_decode

ACT = "/polserve.v1.PolicyService/Act"
EPISODE = "/polserve.v1.PolicyService/Episode"
PATIENCE_S = 20.0
"""Seconds to wait for what a service sends at once where the machine is not busy."""


@dataclass
class Stream:
    """What came back on a stream."""

    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    reset: int | None = None
    is_closed: bool = False

    @property
    def ended(self) -> dict[str, str]:
        """Trailers, or the headers of an answer that is nothing else."""
        return self.trailers or self.headers

    @property
    def status(self) -> int:
        """The gRPC status; -1 where there is none."""
        return int(self.ended.get("grpc-status", -1))

    @property
    def details(self) -> str:
        """What the status says."""
        return percent_decode(self.ended.get("grpc-message", "").encode())

    @property
    def messages(self) -> list[bytes]:
        """The messages that came whole."""
        found, rest = [], self.data
        while len(rest) >= 5:
            size = int.from_bytes(rest[1:5], "big")
            found.append(rest[5 : 5 + size])
            rest = rest[5 + size :]
        return found


def read(connection: socket.socket, seconds: float) -> bytes | None:
    """What comes next: nothing at the end of the connection, and None where it does not come within so long."""
    connection.settimeout(seconds)
    try:
        return connection.recv(1 << 16)
    except TimeoutError:
        return None
    except OSError:
        return b""


class RawClient:
    """One connection."""

    def __init__(self, target: str) -> None:
        host, port = target.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.h2 = engine.client_connection()
        self.streams: dict[int, Stream] = {}
        self.goaway: engine.GoAwayReceived | None = None
        self.is_closed = False
        self.take(0.1)  # the service's settings, where it has room for us

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def begin(
        self, path: str = ACT, *, end: bool = False, more: Sequence[tuple[str, str]] = (), **changes: str | None
    ) -> int:
        """Open a stream with gRPC's headers, `changes` to them, None to leave one out, and more; returns its number."""
        headers: dict[str, str | None] = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "polserve",
            "content-type": "application/grpc",
            "te": "trailers",
        }
        headers.update({name.replace("__", ":").replace("_", "-"): value for name, value in changes.items()})
        given = [(name, value) for name, value in headers.items() if value is not None]
        fields = [(name.encode(), value.encode()) for name, value in (*given, *more)]
        stream_id = self.h2.send_request(fields, end_stream=end)
        self.streams[stream_id] = Stream()
        self.flush()
        return stream_id

    def send(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Send bytes on a stream as they are."""
        self.h2.send_data(stream_id, data, end_stream=end)
        self.flush()

    def flush(self) -> None:
        """Write what is to be written."""
        if out := self.h2.data_to_send():
            self.socket.sendall(out)

    def pump(self, seconds: float) -> None:
        """Take in what comes, for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.is_closed:
            self.take(left)

    def take(self, seconds: float) -> None:
        """Take in what comes next, if it comes within so long."""
        self.flush()
        data = read(self.socket, seconds)
        if data is None:
            return
        if not data:
            self.is_closed = True
            return
        try:
            self.h2.receive_data(data)
        except engine.NGH2Error:
            self.is_closed = True
        for event in self.h2.events():
            self._note(event)

    def take_until(self, condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
        """Take in what comes until `condition()` holds, the connection is closed, or it has taken so long."""
        until = time.monotonic() + seconds
        while not condition() and not self.is_closed and time.monotonic() < until:
            self.take(0.05)

    def wait(self, stream_id: int, seconds: float = PATIENCE_S) -> Stream:
        """Return what came on a stream, once it is over."""
        stream = self.streams[stream_id]
        self.take_until(lambda: stream.is_closed, seconds)
        return stream

    def call(self, path: str, pieces: Sequence[bytes], **changes: str | None) -> Stream:
        """Make a call whose body is these pieces, each in frames of its own; return what came back."""
        stream_id = self.begin(path, more=(), end=not pieces, **changes)
        for i, piece in enumerate(pieces):
            self.send(stream_id, piece, end=i == len(pieces) - 1)
        return self.wait(stream_id)

    def _note(self, event: object) -> None:
        if isinstance(event, engine.GoAwayReceived):
            self.goaway = event
            return
        stream = self.streams.get(getattr(event, "stream_id", -1))
        if stream is None:
            return
        match event:
            case engine.ResponseReceived():
                stream.headers = _texts(event.headers)
            case engine.TrailersReceived():
                stream.trailers = _texts(event.headers)
            case engine.DataReceived():
                stream.data += event.data
            case engine.StreamReset():
                stream.reset = event.error_code
            case engine.StreamClosed():
                stream.is_closed = True


def _texts(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}


def framed(message: bytes) -> bytes:
    """Return a message with gRPC's prefix."""
    return frame(message)
