"""One connection over nghttp2, for one call or stream at a time: the thread that asks reads the answer itself.

A call is one write, and one read that waits: where a loop waits for each action, every turn to the kernel counts. So
does every line of Python, whose code and data have left the processor's caches while the service answered.
"""

import contextlib
import math
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc

from polserve.serving.client.http2_socket import End, connect
from polserve.serving.http2 import engine
from polserve.serving.http2.wire import MessageReader, WireError, format_timeout, frame, percent_decode, whole_message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

READ_BYTES = 1 << 16
CONNECT_S = 5.0
"""Time limit of one attempt to connect."""
FRESH_S = 0.05
"""Time after its last answer in which a connection is taken for usable without a look at it."""

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
    reader: MessageReader | None = None
    """Puts messages together, from the first one on that does not come in one piece."""
    messages: list[bytes] = field(default_factory=list)
    """Those that nobody has taken yet, in turn: seldom more than one."""
    is_over: bool = False
    failure: CallFailed | None = None
    """Error that the stream ended with; None for OK."""


class Wire:
    """A connection to a service."""

    def __init__(self, end: End) -> None:
        """Connect; raises CallFailed."""
        self._max_message_bytes = end.max_message_bytes
        try:
            self._socket = connect(end, CONNECT_S)
        except OSError as error:
            raise CallFailed(_UNAVAILABLE, f"failed to connect to {end.target}: {error}") from error
        self._h2 = engine.client_connection()
        self._is_greeted = False
        """Whether something has come."""
        self.is_usable = True
        """Whether another call may be made on it."""
        self.lock = threading.Lock()
        """Held by whoever reads or writes."""
        self._stream: WireStream | None = None
        self._received_at = 0.0
        self._headers = (
            (b":method", b"POST"),
            (b":scheme", b"http" if end.tls is None else b"https"),
            (b":authority", end.authority.encode()),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            (b"user-agent", b"polserve-python"),
        )
        self._asked: tuple[str, int | None, Sequence[tuple[str, str]]] = ("", None, ())
        """What the latest stream asked for: its path, milliseconds and metadata."""
        self._request: Sequence[engine.Header] = ()
        """Headers that ask for it: most calls ask for what the one before did."""
        self._reactions: dict[type, Callable[[WireStream, Any], None]] = {
            engine.DataReceived: self._take_data,
            engine.ResponseReceived: _take_status,
            engine.TrailersReceived: _take_status,
            engine.StreamClosed: _take_end,
        }

    def begin(self, path: str, timeout_s: float | None, metadata: "Sequence[tuple[str, str]]" = ()) -> WireStream:
        """Open a stream; the first bytes leave with its first message."""
        # Whole milliseconds are the same for most calls, which header compression makes use of, too.
        asked = (path, None if timeout_s is None else math.ceil(1000 * timeout_s), metadata)
        if asked != self._asked:
            self._asked, self._request = asked, self._headers_of(*asked)
        try:
            stream_id = self._h2.send_request(self._request)
        except engine.NGH2Error as error:
            raise self._lost(str(error)) from error
        self._stream = WireStream(stream_id)
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
            return stream.messages.pop(0)
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
            with contextlib.suppress(engine.NGH2Error):
                self._h2.reset_stream(stream.stream_id, engine.ErrorCode.CANCEL)
            try:
                self._send(time.monotonic() + CONNECT_S)
            except OSError:
                self.is_usable = False

    def poll(self) -> bool:
        """Take in what has come by itself, such as pings, and answer it; return whether the connection is usable."""
        try:
            while self.is_usable and time.monotonic() - self._received_at > FRESH_S:
                try:
                    data = self._socket.recv(READ_BYTES, 0.0)
                except BlockingIOError:
                    break
                self._take(data)
                self._received_at = 0.0  # there may be more
                self._send(time.monotonic() + CONNECT_S)
        except (OSError, CallFailed):
            self.is_usable = False
        return self.is_usable

    def close(self) -> None:
        """Close the connection."""
        self.is_usable = False
        self._socket.close()

    def _exchange(self, until: float) -> None:
        """Send what is to be sent, and take in what comes next."""
        try:
            self._send(until)
            data = self._socket.recv(READ_BYTES, _left_s(until))
        except BlockingIOError:
            self.is_usable = False
            raise CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded") from None
        except OSError as error:
            raise self._lost(str(error)) from error
        self._take(data)

    def _send(self, until: float) -> None:
        """Send what is to be sent; raises BlockingIOError where the service does not take it in time, and OSError."""
        out = memoryview(self._h2.data_to_send())
        while out:
            out = out[self._socket.send(out, _left_s(until)) :]

    def _take(self, data: bytes) -> None:
        if not data:
            raise self._lost("the service closed it")
        if not self._is_greeted:
            if data[3:4] not in (b"", SETTINGS):
                self.is_usable = False
                raise CallFailed(_UNAVAILABLE, "Failed parsing HTTP/2: it does not begin with settings")
            self._is_greeted = True
        try:
            self._h2.receive_data(data)
        except engine.NGH2Error as error:
            self.is_usable = False
            raise CallFailed(_UNAVAILABLE, f"Failed parsing HTTP/2 ({error})") from error
        self._received_at = time.monotonic()
        stream = self._stream
        for event in self._h2.events():
            if type(event) is engine.GoAwayReceived:
                self.is_usable = False
            elif stream is not None and getattr(event, "stream_id", 0) == stream.stream_id:
                reaction = self._reactions.get(type(event))
                if reaction is not None:
                    reaction(stream, event)

    def _take_data(self, stream: WireStream, event: engine.DataReceived) -> None:
        data = event.data
        message = whole_message(data) if stream.reader is None else None
        if message is not None and len(message) <= self._max_message_bytes:
            stream.messages.append(message)
            return
        if stream.reader is None:
            stream.reader = MessageReader(self._max_message_bytes)
        try:
            for _, pieces in stream.reader.feed(data):
                stream.messages.append(b"".join(pieces))
        except WireError as error:
            stream.failure = CallFailed(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
            stream.is_over = True

    def _headers_of(
        self, path: str, timeout_ms: int | None, metadata: "Sequence[tuple[str, str]]"
    ) -> "Sequence[engine.Header]":
        """Return the headers of a stream."""
        headers = [(b":path", path.encode()), *self._headers]
        headers.extend((name.encode(), value.encode()) for name, value in metadata)
        if timeout_ms is not None:
            headers.append((b"grpc-timeout", format_timeout(timeout_ms / 1000)))
        return headers

    def _lost(self, reason: str) -> CallFailed:
        self.is_usable = False
        return CallFailed(_UNAVAILABLE, f"the connection was closed: {reason}")


def _take_status(stream: WireStream, event: "engine.ResponseReceived | engine.TrailersReceived") -> None:
    """End the stream where headers or trailers say its status."""
    fields = dict(event.headers)
    status = fields.get(b"grpc-status")
    http_status = fields.get(b":status", b"200")
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


def _take_end(stream: WireStream, event: engine.StreamClosed) -> None:
    """End the stream where it closes without a status."""
    if not stream.is_over:
        stream.is_over = True
        stream.failure = CallFailed(_UNAVAILABLE, f"the stream was reset (code {event.error_code})")


def _left_s(until: float) -> float:
    """Return the seconds until then, in whole milliseconds; 0 where it has passed."""
    return max(0, math.ceil(1000 * (until - time.monotonic()))) / 1000
