"""A call on an HTTP/2 stream: its messages come in whole, its answers go out with gRPC's headers and trailers."""

import time
from typing import TYPE_CHECKING, Any

from polserve.serving.access.callers import ANYBODY
from polserve.serving.errors import DROPPED, Expired
from polserve.serving.grpc.inbox import Inbox
from polserve.serving.grpc.shared import RESERVED_ABOVE_BYTES
from polserve.serving.grpc.trailers import ok_trailers, trailers_of
from polserve.serving.grpc.turned_away import HEADERS
from polserve.serving.http2.engine import Header, NGH2Error
from polserve.serving.http2.wire import PREFIX_BYTES, MessageReader, decompress, frame
from polserve.serving.methods import FORESEEN_BYTES, Method
from polserve.serving.request_ids import RequestId
from polserve.serving.statuses import Code, Rejected, Status, refusal_reason, status_of

if TYPE_CHECKING:
    import asyncio

    from polserve.serving.grpc.connection import Connection

MAX_QUEUED_BYTES = 64 * 1024
"""Most unread bytes of a stream's answers; above it, no more of its messages are taken in."""
UNCOMPRESSED = b"\0"
"""Flag of a message that is not compressed."""
EXPANSION = 16
"""Factor by which a compressed message is assumed to grow."""

NO_MESSAGE = Rejected(Status(Code.UNIMPLEMENTED, "the method takes exactly one request message"))
CUT_OFF = Rejected(Status(Code.INTERNAL, "the client ended the stream in the middle of a message"))


class StreamCall:
    """A call that has come over a stream of a connection."""

    __slots__ = (
        "_encoding",
        "_inbox",
        "_is_unary",
        "_message",
        "_partial_since",
        "_pieces",
        "_reader",
        "_timer",
        "_unacknowledged",
        "active_at",
        "caller",
        "connection",
        "deadline",
        "has_begun",
        "is_busy",
        "is_half_closed",
        "is_held",
        "is_over",
        "is_stalled",
        "method",
        "request_id",
        "reserved",
        "size",
        "started",
        "state",
        "stream_id",
    )

    request_id: RequestId

    def __init__(
        self, connection: "Connection", stream_id: int, method: Method, deadline: float | None, now: float
    ) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.method = method
        self.deadline = deadline
        """Time at which the call expires, by the monotonic clock; None for never."""
        self.started = self.active_at = now
        self.state: Any = None
        self.size = 0
        """Bytes of the message that is to be answered now."""
        self.caller = ANYBODY
        self.is_over = self.is_half_closed = self.is_stalled = self.has_begun = self.is_held = False
        self.reserved = 0
        """Bytes that were set aside for a large message."""
        self._is_unary = method.kind != "bidi_stream"
        self.is_busy = False
        """Whether a message is to be answered."""
        self._message: bytes = b""
        self._partial_since: float | None = None
        """When the message of a stream began to come that is not whole yet."""
        self._pieces: tuple[int, list[bytes]] | None = None
        self._reader: MessageReader | None = None
        self._encoding = ""
        self._inbox: Inbox | None = None
        self._unacknowledged = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def message(self) -> bytes:
        """The message that is to be answered now; put together, and decompressed, when it is looked at.

        Raises:
            WireError: it cannot be decompressed.
        """
        if self._pieces is not None:
            flag, pieces = self._pieces
            self._pieces = None
            self._message = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if flag:
                self._message = decompress(self._message, self._encoding, self.connection.limits.max_message_bytes)
        return self._message

    @message.setter
    def message(self, message: bytes) -> None:
        self._message = message
        self._pieces = None

    def is_wanted(self) -> bool:
        """Whether somebody still waits: the deadline has not passed, and the client has not gone."""
        return not self.is_over and (self.deadline is None or time.monotonic() < self.deadline)

    @property
    def awaited_since(self) -> float | None:
        """When it was first waited for the rest of a message, by the monotonic clock; None where it is not."""
        if self.is_over or self.is_busy:
            return None
        return self.started if self._is_unary else self._partial_since

    @property
    def n_received(self) -> int:
        """Bytes of the message that is being read, as far as they have come."""
        return 0 if self._reader is None else self._reader.n_received

    # What comes in

    def use_encoding(self, encoding: str) -> None:
        """Decompress messages in this way, where their flag says so."""
        self._encoding = encoding

    def receive_whole(self, message: bytes) -> None:
        """Take a message that came in one piece."""
        if self.is_busy:
            self._put_by(0, [message], len(message))
        else:
            self._begin(0, [message], len(message))

    def foresee(self, data: bytes) -> None:
        """Let the handler look at the first piece of a request; raises Overloaded where the rest is not to be read."""
        if self._is_unary and not self.is_held and not self.is_busy and data[:1] == UNCOMPRESSED:
            self.method.handler.foresee(self, data[PREFIX_BYTES : PREFIX_BYTES + FORESEEN_BYTES])

    def receive(self, data: bytes) -> None:
        """Take a piece of what the client sends, wherever it was cut."""
        if self._reader is None:
            self._reader = MessageReader(self.connection.limits.max_message_bytes)
        for flag, pieces in self._reader.feed(data):
            take = self._put_by if self.is_busy else self._begin
            take(flag, pieces, sum(map(len, pieces)))
            if self.is_over:
                return
        self._partial_since = None if self._reader.is_between else self._partial_since or self.connection.received_at
        self.connection.reserve(self, self._reader.wanted)

    @property
    def is_between_messages(self) -> bool:
        """Whether the next byte begins a message."""
        return self._reader is None or self._reader.is_between

    def acknowledge(self, n_bytes: int) -> None:
        """Let the client send as many bytes more, now or when it has read what it was answered."""
        self._unacknowledged += n_bytes
        if not (self.is_stalled or (self._inbox is not None and self._inbox.is_full)):
            self.connection.acknowledge(self.stream_id, self._unacknowledged)
            self._unacknowledged = 0

    def end_input(self) -> None:
        """Take notice that the client sends no more."""
        self.is_half_closed = True
        if self.is_over or self.is_held:
            return
        if self._reader is not None and not self._reader.is_between:
            self.fail(CUT_OFF)
        elif self._is_unary:
            if not self.is_busy:
                self.fail(NO_MESSAGE)
        elif not self.is_busy:
            self._half_close()

    def resume(self) -> None:
        """Go on with what was put by, now that the client has read what it was answered."""
        self.is_stalled = False
        self.acknowledge(0)
        self.connection.rounds.add(self)

    def _begin(self, flag: int, pieces: list[bytes], size: int) -> None:
        """Have a message answered."""
        self.is_busy = True
        self.size = size * EXPANSION if flag else size
        if flag or len(pieces) != 1:  # none of an empty message
            self._pieces = (flag, pieces)
        else:
            self._message = pieces[0]
        if self.is_held:
            return
        if self._is_unary:
            self.connection.rounds.add(self)
            return
        self.active_at = self.connection.received_at
        if self.connection.queued_bytes(self.stream_id) > MAX_QUEUED_BYTES:
            self.connection.stall(self)
        else:
            self.connection.rounds.add(self)

    def _put_by(self, flag: int, pieces: list[bytes], size: int) -> None:
        """Keep a message of a stream until those before it are answered; of a unary call only the first counts."""
        if self._is_unary:
            return
        if self._inbox is None:
            self._inbox = Inbox()
        self._inbox.put(flag, pieces, size)

    # What goes out

    def reply(self, response: bytes) -> None:
        """Send a message, the answer to `message`. It ends a unary call, and lets a stream go on."""
        if self.is_over:
            return
        connection = self.connection
        if len(response) > RESERVED_ABOVE_BYTES and (refusal := connection.unread.refusal(len(response))) is not None:
            self.fail(refusal)
            return
        h2, stream_id = connection.h2, self.stream_id
        try:
            if not self.has_begun:
                self.has_begun = True
                h2.send_response(stream_id, HEADERS)
            h2.send_data(stream_id, frame(response))
            if self.method.kind == "unary":
                h2.send_trailers(stream_id, ok_trailers(self.request_id))
        except NGH2Error:  # the stream was reset, or the connection has ended: nobody waits
            return
        connection.n_sent += 1
        connection.rounds.touch(connection)
        if self.method.kind == "unary":
            self._end("OK")
        else:
            self._go_on()

    def fail(self, error: BaseException) -> None:
        """End the call with the status of an error; nothing where it has ended."""
        if self.is_over:
            return
        if (reason := refusal_reason(error)) is not None:
            self.method.counter.refuse(reason)
        status = status_of(error, self.request_id)
        self._send_trailers(trailers_of(status, self.request_id))
        self._end(status.code.name)

    def finish(self) -> None:
        """End a stream with OK."""
        if not self.is_over:
            self._send_trailers(ok_trailers(self.request_id))
            self._end("OK")

    def wait(self) -> None:
        """See to it that the call ends at its deadline, since it is not answered at once."""
        if self.deadline is not None and self._timer is None and not self.is_over:
            delay_s = max(0.0, self.deadline - time.monotonic())
            self._timer = self.connection.loop.call_later(delay_s, self._expire)

    def wait_for_message(self) -> None:
        """See to it that the call ends at its deadline, and is expected, where it is not about to be answered."""
        if not (self._is_unary and self.is_busy):
            self.wait()
            if self._is_unary and not self.is_over:
                self.connection.rounds.expect(self)

    def abandon(self) -> None:
        """Forget the call, since its client has gone."""
        if not self.is_over:
            self._end("CANCELLED")

    def _expire(self) -> None:
        self._timer = None
        self.fail(Expired(DROPPED if self.method.kind == "unary" else "the call's deadline has passed"))

    def _send_trailers(self, trailers: "tuple[Header, ...] | list[Header]") -> None:
        h2 = self.connection.h2
        try:
            if self.has_begun:
                h2.send_trailers(self.stream_id, trailers)
            else:
                h2.send_response(self.stream_id, (*HEADERS, *trailers), end_stream=True)
        except NGH2Error:
            return
        self.connection.rounds.touch(self.connection)

    def _go_on(self) -> None:
        """Take the next message of a stream, where there is one and its client reads what it is answered."""
        now = time.monotonic()
        self.active_at = now
        self._message = b""
        if self.reserved:
            self.connection.release(self)
        if not self.is_busy:  # an answer that no message asked for, such as to a watcher
            return
        if self._inbox:
            self._begin(*self._inbox.take())
            if self._unacknowledged:
                self.acknowledge(0)
        else:
            if self.method.kind == "bidi_stream":
                self.is_busy = False
            if self.is_half_closed:
                self._half_close()

    def _half_close(self) -> None:
        try:
            self.method.handler.half_close(self)
        except Exception as error:  # noqa: BLE001 - every error must become a status
            self.fail(error)

    def _end(self, code: str) -> None:
        self.is_over = True
        self._inbox = self._reader = self._pieces = None
        self._message = b""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.method.counter.end(time.monotonic() - self.started, code)
        self.method.handler.close(self)
        self.connection.ended(self)
