"""One connection over nghttp2, for one call or stream at a time: the thread that asks reads the answer itself."""

import contextlib
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import grpc

from polserve.serving.http2 import engine
from polserve.serving.http2.wire import MessageReader, WireError, format_timeout, frame, percent_decode

READ_BYTES = 1 << 16
CONNECT_S = 5.0
"""Time limit of one attempt to connect."""

SETTINGS = b"\x04"
"""The kind of frame with which a server of HTTP/2 begins; its place is after three bytes of length."""

_CODES = {int(code.value[0]): code for code in grpc.StatusCode}
_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


class CallFailed(grpc.RpcError):
    """A call failed, as grpcio says it."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(details)
        self._code, self._details, self._trailing = code, details, trailing

    def code(self) -> grpc.StatusCode:
        """Return the status of the call."""
        return self._code

    def details(self) -> str:
        """Return what the status says."""
        return self._details

    def trailing_metadata(self) -> tuple[Any, ...]:
        """Return the metadata that came with the status."""
        return self._trailing


@dataclass(slots=True)
class WireStream:
    """What has come on the stream that is open."""

    stream_id: int
    reader: MessageReader
    messages: deque[bytes] = field(default_factory=deque)
    is_over: bool = False
    failure: CallFailed | None = None
    """Error that the stream ended with; None for OK."""
    n_received: int = 0
    """Frames of any kind that came on the stream: a call that got none may be made again."""


class Wire:
    """A connection to a service."""

    def __init__(self, target: str, max_message_bytes: int) -> None:
        """Connect; raises CallFailed."""
        host, _, port = target.rpartition(":")
        self._authority = target.encode()
        self._max_message_bytes = max_message_bytes
        try:
            self._socket = socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S)
        except OSError as error:
            raise CallFailed(_UNAVAILABLE, f"failed to connect to {target}: {error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._h2 = engine.client_connection()
        self._is_greeted = False
        """Whether something has come."""
        self.is_usable = True
        """Whether another call may be made on it."""
        self.lock = threading.Lock()
        """Held by whoever reads or writes."""
        self._stream: WireStream | None = None

    def begin(self, path: str, timeout_s: float | None) -> WireStream:
        """Open a stream; the first bytes leave with its first message."""
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", self._authority),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"user-agent", b"polserve-python"),
        ]
        if timeout_s is not None:
            headers.append((b"grpc-timeout", format_timeout(timeout_s)))
        try:
            stream_id = self._h2.send_request(headers)
        except engine.NGH2Error as error:
            raise self._lost(str(error)) from error
        self._stream = WireStream(stream_id, MessageReader(self._max_message_bytes))
        return self._stream

    def send(self, stream: WireStream, message: bytes, *, is_last: bool) -> None:
        """Send a message; raises CallFailed."""
        try:
            self._h2.send_data(stream.stream_id, frame(message), end_stream=is_last)
        except engine.NGH2Error as error:
            raise stream.failure or self._lost(str(error)) from error

    def receive(self, stream: WireStream, until: float) -> bytes | None:
        """Return the next message; None where the stream ended with OK.

        Args:
            stream: one that is open.
            until: by the monotonic clock.

        Raises:
            CallFailed: the stream ended otherwise, the connection was lost, or nothing came in time.
        """
        while not stream.messages and not stream.is_over:
            self._exchange(until)
        if stream.messages:
            return stream.messages.popleft()
        if stream.failure is not None:
            raise stream.failure
        return None

    def receive_status(self, stream: WireStream, until: float) -> None:
        """Take in what comes next on a stream whose answer has come, until its status has."""
        while not stream.is_over:
            self._exchange(until)

    def end(self, stream: WireStream) -> None:
        """Forget a stream, and tell the service where it is still open."""
        self._stream = None
        if not stream.is_over and self.is_usable:
            with contextlib.suppress(engine.NGH2Error, OSError):
                self._h2.reset_stream(stream.stream_id, engine.ErrorCode.CANCEL)
                self._socket.sendall(self._h2.data_to_send())

    def poll(self) -> bool:
        """Take in what has come by itself, such as pings, and answer it; return whether the connection is usable."""
        try:
            self._socket.settimeout(0)
            while self.is_usable:
                self._take(self._socket.recv(READ_BYTES))
                self._socket.sendall(self._h2.data_to_send())
        except BlockingIOError:
            return self.is_usable
        except (OSError, CallFailed):
            self.is_usable = False
        return self.is_usable

    def close(self) -> None:
        """Close the connection."""
        self.is_usable = False
        self._socket.close()

    def _exchange(self, until: float) -> None:
        """Send what is to be sent, and take in what comes next."""
        left_s = until - time.monotonic()
        if left_s <= 0:
            self.is_usable = False
            raise CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        try:
            self._socket.settimeout(left_s)
            if out := self._h2.data_to_send():
                self._socket.sendall(out)
            data = self._socket.recv(READ_BYTES)
        except TimeoutError:
            return
        except OSError as error:
            raise self._lost(str(error)) from error
        self._take(data)

    def _take(self, data: bytes) -> None:
        if not data:
            raise self._lost("the service closed it")
        if not self._is_greeted and data[3:4] not in (b"", SETTINGS):
            self.is_usable = False
            raise CallFailed(_UNAVAILABLE, "Failed parsing HTTP/2: it does not begin with settings")
        self._is_greeted = True
        try:
            self._h2.receive_data(data)
        except engine.NGH2Error as error:
            self.is_usable = False
            raise CallFailed(_UNAVAILABLE, f"Failed parsing HTTP/2 ({error})") from error
        for event in self._h2.events():
            self._note(event)

    def _note(self, event: object) -> None:
        if isinstance(event, engine.GoAwayReceived):
            self.is_usable = False
            return
        stream = self._stream
        if stream is None or getattr(event, "stream_id", 0) != stream.stream_id:
            return
        stream.n_received += 1
        if isinstance(event, engine.DataReceived):
            try:
                for _, pieces in stream.reader.feed(event.data):
                    stream.messages.append(b"".join(pieces))
            except WireError as error:
                stream.failure = CallFailed(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
                stream.is_over = True
        elif isinstance(event, (engine.ResponseReceived, engine.TrailersReceived)):
            self._note_status(stream, dict(event.headers))
        elif isinstance(event, engine.StreamClosed) and not stream.is_over:
            stream.is_over = True
            stream.failure = CallFailed(_UNAVAILABLE, f"the stream was reset (code {event.error_code})")

    @staticmethod
    def _note_status(stream: WireStream, fields: dict[bytes, bytes]) -> None:
        """End the stream where headers or trailers say its status."""
        http_status = fields.get(b":status", b"200")
        status = fields.get(b"grpc-status")
        if status is None and http_status == b"200":
            return
        stream.is_over = True
        if status is None:
            details = f"Failed parsing HTTP/2: no gRPC, but HTTP status {http_status.decode('latin-1')}"
            stream.failure = CallFailed(_UNAVAILABLE, details)
        elif status != b"0":
            code = _CODES.get(int(status) if status.isdigit() else -1, grpc.StatusCode.UNKNOWN)
            trailing = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields.items())
            stream.failure = CallFailed(code, percent_decode(fields.get(b"grpc-message", b"")), trailing)

    def _lost(self, reason: str) -> CallFailed:
        self.is_usable = False
        return CallFailed(_UNAVAILABLE, f"the connection was closed: {reason}")
