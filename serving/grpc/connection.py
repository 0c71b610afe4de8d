"""A connection of the nghttp2 front: bytes from the socket become calls, answers become bytes."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

from polserve.serving.errors import Overloaded
from polserve.serving.grpc.ending import Ending
from polserve.serving.grpc.lingering import Lingering
from polserve.serving.grpc.requests import begin, http_problem, refuse_http
from polserve.serving.grpc.shared import Front
from polserve.serving.grpc.stream import MAX_QUEUED_BYTES, StreamCall
from polserve.serving.grpc.turned_away import TurnedAway
from polserve.serving.grpc.unread import Unread
from polserve.serving.grpc.unwanted import Unwanted
from polserve.serving.grpc.vigil import NOT_HTTP2, Greeting, Pings, Vigil
from polserve.serving.grpc.width import Width
from polserve.serving.http2 import engine
from polserve.serving.http2.wire import WireError, whole_message
from polserve.serving.logs import Log
from polserve.serving.peers import Peer, peer_of
from polserve.serving.request_ids import read_request_id

log = Log()


class Connection(asyncio.Protocol):
    """The service's end of a connection."""

    def __init__(self, front: Front, made: Callable[[], object] = lambda: None) -> None:
        """Make the end of a connection; call `made` when the connection exists."""
        self.front = front
        self._made = made
        self.rounds, self.limits, self.loop = front.rounds, front.limits, front.loop
        self.calls: dict[int, StreamCall] = {}
        """Calls whose streams are open, by the stream's number."""
        self.n_sent = 0
        """Messages that were sent."""
        self.received_at = time.monotonic()
        self.vigil = Vigil(front.limits, self.received_at)
        self.unread = Unread(self, self.received_at)
        self.turned_away = TurnedAway(self)
        self._unwanted = Unwanted(self.acknowledge)
        self._width = Width(self)
        self.h2 = engine.server_connection(front.limits.max_streams, front.limits.max_metadata_bytes)
        self._transport: Any = None
        self.peer = Peer("")
        """The client's end."""
        self.greeting = Greeting()
        self.lingering = Lingering(self)
        self._is_paused = False
        self._ending = Ending(self)
        self._is_dead = False
        """Whether nothing more that comes is looked at."""
        self._fresh: list[StreamCall] = []
        """Calls that have just begun."""
        self._stalled: set[StreamCall] = set()
        self.n_open = 0
        """Calls that have not ended."""
        self._pings = Pings(front.limits.min_ping_interval_s)
        self._reactions: dict[type, Callable[[Any], None]] = {
            engine.DataReceived: self._take_data,
            engine.RequestReceived: self._take_request,
            engine.StreamClosed: self._take_end_of_stream,
            engine.TrailersReceived: self._take_trailers,
            engine.PingReceived: self._take_ping,
            engine.PingAcknowledged: self._ending.take_ping_answer,
            engine.GoAwayReceived: self._ending.take_goodbye,
        }

    # What asyncio calls

    def connection_made(self, transport: Any) -> None:
        """Wait for the client's greeting: what speaks HTTP/1 is to get no frames of HTTP/2."""
        self._transport = transport
        self.peer = peer_of(transport)
        transport.set_write_buffer_limits(high=1 << 20)
        self.front.connections.add(self)
        self._made()

    def connection_lost(self, _error: Exception | None) -> None:
        """Cancel the calls."""
        self._is_dead = True
        self.front.connections.discard(self)
        self.front.lost()
        for call in list(self.calls.values()):
            call.abandon()
        self.calls.clear()
        self._stalled.clear()
        # Without these cycles, what the client has not read is freed now, and not when Python next looks for cycles.
        self._reactions.clear()
        del self._ending, self.lingering, self.unread, self.turned_away, self._unwanted, self._width
        self._transport = None

    def pause_writing(self) -> None:
        """Send no more for now: the client does not read."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Send again."""
        self._is_paused = False
        self.rounds.touch(self)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self.received_at = time.monotonic()
        self.vigil.is_probed = False
        if self._is_dead or not (self.greeting.is_whole or self._greet(data)):
            return
        h2 = self.h2
        try:
            h2.receive_data(data)
        except engine.NGH2Error as error:
            self._break_off(error)
            return
        reactions = self._reactions
        for event in h2.events():
            reaction = reactions.get(type(event))
            if reaction is not None:
                reaction(event)
        self.turned_away.settle()
        self._width.follow()
        for call in self._fresh:
            call.wait_for_message()
        self._fresh.clear()
        self.rounds.touch(self)

    # What calls use

    @property
    def is_gone(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._transport is None or bool(self._transport.is_closing())

    def flush(self) -> None:
        """Send what is to be sent."""
        if self._is_paused or not self.greeting.is_whole or self.is_gone:
            return
        try:
            out = self.h2.data_to_send()
        except engine.NGH2Error as error:
            self._break_off(error)
            return
        if out:
            self._transport.write(out)
        if self._stalled:
            self._resume_stalled()
        if self.h2.want_read:
            return
        if self._ending.is_in_order:  # and every stream has ended: a client may lose the answer on one that is open
            self._transport.close()
        else:  # what was sent just now says why
            self._hang_up(", ".join(str(event) for event in self.h2.events() if type(event) is engine.ConnectionClosed))

    def acknowledge(self, stream_id: int, n_bytes: int) -> None:
        """Let the client send as many bytes more."""
        if not n_bytes or self._is_dead:
            return
        try:
            self.h2.acknowledge_received_data(n_bytes, stream_id)
        except engine.NGH2Error:  # the connection has ended
            return

    def queued_bytes(self, stream_id: int | None) -> int:
        """Bytes of a stream's answers, or of all, that could not be sent yet, since the client does not read them."""
        try:
            return self.h2.queued_body_size(stream_id)
        except engine.NGH2Error:
            return 0

    def unread_bytes(self) -> int:
        """Bytes of all answers that the client has not read, as far as they are still here."""
        written = 0 if self._transport is None else int(self._transport.get_write_buffer_size())
        return written + self.queued_bytes(None)

    def stall(self, call: StreamCall) -> None:
        """Take in no more of a call until its client has read what it was answered."""
        call.is_stalled = True
        self._stalled.add(call)

    def reserve(self, call: StreamCall, n_bytes: int) -> None:
        """Set room aside for a large message that is coming; raises Overloaded."""
        call.reserved = self.limits.reserve(n_bytes, call.reserved)

    def release(self, call: StreamCall) -> None:
        """Give the room back that was set aside for a large message."""
        self.limits.reserved_bytes -= call.reserved
        call.reserved = 0

    def ended(self, call: StreamCall) -> None:
        """Take notice that a call has ended; its stream may live on for a moment."""
        self.n_open -= 1
        self.rounds.forget(call)
        self.release(call)
        self._stalled.discard(call)
        if self._is_dead:
            return
        is_unread = call.method.kind != "unary" and self.queued_bytes(call.stream_id) > MAX_QUEUED_BYTES
        if is_unread or not call.is_half_closed:
            self.lingering.reset_later(call.stream_id)

    # The end

    def drain(self) -> None:
        """Tell the client to call elsewhere, answer what is in hand, and close."""
        self._ending.announce()

    def close(self) -> None:
        """Take no more calls, and close once those in hand are answered."""
        self._ending.begin()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # What comes

    def _greet(self, data: bytes) -> bool:
        """Whether what comes first is HTTP/2, as far as it has come."""
        if self.greeting.take(data):
            return True
        self._is_dead = True
        self._transport.write(NOT_HTTP2)
        self._transport.close()
        return False

    def _break_off(self, error: engine.NGH2Error) -> None:
        """End a connection whose client breaks the rules of HTTP/2."""
        with contextlib.suppress(engine.NGH2Error):
            self._transport.write(self.h2.data_to_send())  # nghttp2 says why
        self._hang_up(f"{type(error).__name__}: {error}")

    def _hang_up(self, reason: str) -> None:
        log.info("connection_refused", client=str(self.peer), error=reason)
        self._is_dead = True
        self._transport.close()

    def _take_request(self, event: engine.RequestReceived) -> None:
        if self.turned_away.take_alike(event):
            return
        fields = dict(event.headers[::-1])  # of several alike the first counts, as over HTTP and grpcio
        stream_id = event.stream_id
        problem = http_problem(fields)
        if problem is not None:
            refuse_http(self.h2, stream_id, problem)
            self.lingering.reset_later(stream_id)
            return
        method = self.front.methods.get(fields[b":path"], self.front.unknown)
        if self.turned_away.take(event, method, fields):
            return
        call = StreamCall(self, stream_id, method, None, self.received_at)
        call.request_id = read_request_id(fields)
        call.is_half_closed = event.end_stream
        self.calls[stream_id] = call
        self.n_open += 1
        method.counter.begin()
        try:
            begin(call, event.headers, fields, self.front.unknown)
            self._fresh.append(call)
        except Exception as error:  # noqa: BLE001 - every error must become a status
            call.fail(error)
        if event.end_stream:
            call.end_input()

    def _take_data(self, event: engine.DataReceived) -> None:
        call = self.calls.get(event.stream_id)
        data = event.data
        if call is None or call.is_over:  # what is no longer wanted is not kept
            if not event.end_stream:
                self._unwanted.take(event.stream_id, len(data))
                return
            self.acknowledge(event.stream_id, len(data))
            if call is None:
                self.lingering.forget(event.stream_id)
            else:
                call.is_half_closed = True
            return
        try:
            message = whole_message(data) if call.is_between_messages else None
            if message is None or len(message) > self.limits.max_message_bytes:
                if call.is_between_messages:
                    call.foresee(data)
                    self._width.let_in(event.stream_id)
                call.receive(data)
                call.wait()
            else:
                call.receive_whole(message)
        except (WireError, Overloaded) as error:
            call.fail(error)
        if event.end_stream:
            call.end_input()
        call.acknowledge(len(data))

    def _take_trailers(self, event: engine.TrailersReceived) -> None:
        """HTTP/2 lets a request have trailers; gRPC has none: they end the stream."""
        call = self.calls.get(event.stream_id)
        if call is not None:
            call.end_input()

    def _take_end_of_stream(self, event: engine.StreamClosed) -> None:
        if self._unwanted.withheld:
            self._unwanted.forget(event.stream_id)
        self.lingering.forget(event.stream_id)
        call = self.calls.pop(event.stream_id, None)
        if call is not None:
            call.is_half_closed = True
            call.abandon()

    def _take_ping(self, _event: engine.PingReceived) -> None:
        """Send a client away that pings too often."""
        if self._pings.is_abuse(self.received_at, self.n_sent, self.unread_bytes()) and not self._is_dead:
            log.info("too_many_pings", client=str(self.peer))
            self._is_dead = True
            with contextlib.suppress(engine.NGH2Error):  # it has ended already
                self.h2.send_goaway(engine.ErrorCode.ENHANCE_YOUR_CALM, debug_data=b"too_many_pings")
            self.flush()
            self._transport.close()

    def _resume_stalled(self) -> None:
        for call in [call for call in self._stalled if self.queued_bytes(call.stream_id) <= MAX_QUEUED_BYTES]:
            self._stalled.discard(call)
            call.resume()
