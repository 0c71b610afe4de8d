"""The calls of the synchronous client over nghttp2: for loops that wait for each action.

Each call has a connection for itself, and the thread that asks reads the answer, so that no thread hands it to another.
No proxies, no balancing between addresses: those are the default transport's.
"""

import threading
import time
from typing import Any

import grpc

from polserve.protos.polserve.v1 import budget_pb2
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.client.channel import MAX_MESSAGE_BYTES, Link
from polserve.serving.client.credentials import Bearer
from polserve.serving.client.errors import ClientError, InvalidArgument
from polserve.serving.client.http2_socket import End, tls_context
from polserve.serving.client.http2_wire import CallFailed, Wire, WireStream
from polserve.serving.client.messages import ClientCall, T
from polserve.serving.client.reach import Reach
from polserve.serving.client.request_ids import with_request_id
from polserve.serving.client.transport import Stream
from polserve.serving.client.turns import Turn, stream_ended

MOST_IDLE = 64
"""Connections that are kept for the next calls."""
LOOK_S = 10.0
"""Seconds between two checks of idle connections: the service probes silent ones, and closes those that are dead."""
ENABLE_RETRIES = "grpc.enable_retries"

_POLICY = pb.DESCRIPTOR.services_by_name["PolicyService"].full_name
_BUDGET = budget_pb2.DESCRIPTOR.services_by_name["BudgetService"].full_name
_RESPONSES: dict[str, tuple[str, Any]] = {
    "Act": (f"/{_POLICY}/Act", pb.ActResponse),
    "ListPolicies": (f"/{_POLICY}/ListPolicies", pb.ListPoliciesResponse),
    "GetPolicy": (f"/{_POLICY}/GetPolicy", pb.GetPolicyResponse),
    "Allocate": (f"/{_BUDGET}/Allocate", budget_pb2.AllocateResponse),
}


class Http2Transport:
    """Connections to a service; may be used from several threads, each call on a connection of its own."""

    def __init__(self, reach: Reach) -> None:
        """Connect at the first call; raises InvalidArgument."""
        if foreign := sorted(set(reach.options) - {ENABLE_RETRIES}):
            expected = f"only {ENABLE_RETRIES} with transport='nghttp2'"
            raise InvalidArgument("options", expected, ", ".join(foreign))
        credentials = reach.credentials
        self._end = End(reach.target, MAX_MESSAGE_BYTES, credentials.server_name, tls_context(credentials))
        self._timeout_s = reach.timeout_s
        self._link = Link(reach.target, reach.options, is_encrypted=reach.credentials.is_encrypted)
        self._bearer = Bearer(credentials)
        self._idle: list[Wire] = []
        self._open: set[Wire] = set()
        """Connections that carry a stream."""
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._keeper: threading.Thread | None = None

    def call(self, call: ClientCall[T]) -> T:
        """Make a call, again while the service is full or cannot be reached; raises ClientError."""
        path, kind = _RESPONSES[call.method]
        message = call.request.SerializeToString()
        attempts = self._link.attempts(self._timeout_s)
        while True:
            try:
                answer = self._call_once(path, message, attempts.until)
            except CallFailed as error:
                time.sleep(attempts.pause_s(error, is_unavailable_tried_again=True))
                self._link.check_open()
            else:
                self._link.answered()
                return call.read(kind.FromString(answer))

    def open_stream(self) -> Stream:
        """Open a stream of episodes; its connection is made with the first message."""
        self._link.check_open()
        return Http2Stream(self, self._link, self._timeout_s, self._bearer)

    def close(self) -> None:
        """Close the connections."""
        self._link.close()
        self._closed.set()
        with self._lock:
            wires = [*self._idle, *self._open]
            self._idle.clear()
            self._open.clear()
            keeper, self._keeper = self._keeper, None
        for wire in wires:
            wire.close()
        if keeper is not None:
            keeper.join()

    def take(self, *, is_for_stream: bool = False) -> Wire:
        """Return a connection that nobody else uses; raises CallFailed."""
        wire = self._take_idle() or Wire(self._end)
        if is_for_stream:
            with self._lock:
                self._open.add(wire)
                if self._keeper is None:
                    self._keeper = threading.Thread(target=self._keep, name="polserve-keeper", daemon=True)
                    self._keeper.start()
        return wire

    def give_back(self, wire: Wire) -> None:
        """Let others use a connection, or close it where it is not usable."""
        with self._lock:
            self._open.discard(wire)
            if wire.is_usable and len(self._idle) < MOST_IDLE and not self._closed.is_set():
                self._idle.append(wire)
                return
        wire.close()

    def _call_once(self, path: str, message: bytes, until: float) -> bytes:
        wire = self.take()
        try:
            stream = wire.begin(path, max(0.0, until - time.monotonic()), with_request_id(self._bearer.metadata()))
            wire.send(stream, message, is_last=True)
            answer = wire.receive(stream, until)
            if answer is not None:
                wire.receive_status(stream, until)  # which decides, and follows at once
                if stream.failure is not None:
                    raise stream.failure
        finally:
            self.give_back(wire)
        if answer is None:
            raise CallFailed(grpc.StatusCode.INTERNAL, "the call ended with OK and without an answer")
        return answer

    def _take_idle(self) -> Wire | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                wire = self._idle.pop()
            if wire.poll():
                return wire
            wire.close()

    def _keep(self) -> None:
        """Answer the service's probes on the connections of streams that wait."""
        while not self._closed.wait(LOOK_S):
            with self._lock:
                wires = list(self._open)
            for wire in wires:
                if wire.lock.acquire(blocking=False):
                    try:
                        wire.poll()
                    finally:
                        wire.lock.release()


class Http2Stream:
    """A stream of episodes over nghttp2; for one thread."""

    def __init__(self, transport: Http2Transport, link: Link, timeout_s: float, bearer: Bearer) -> None:
        self._transport = transport
        self._bearer = bearer
        self._named = with_request_id(())  # as the stream is opened, which is not when its first message is sent
        self._link = link
        self._timeout_s = timeout_s
        self._wire: Wire | None = None
        self._stream: WireStream | None = None
        self._turn = Turn()

    def ask(self, request: pb.EpisodeRequest) -> pb.EpisodeResponse:
        """Send a request and return its response; raises ClientError."""
        with self._turn:
            try:
                answer = self._ask(request.SerializeToString())
            except CallFailed as error:
                failure = self._link.error(error.code(), error.details())
                if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and error.details() == "Deadline Exceeded":
                    failure = ClientError(error.code(), f"no answer within {self._timeout_s:g} s")
                self._turn.end(failure)
                self.close()
                raise failure from error
            if answer is None:
                self.close()
                raise stream_ended()
            self._link.answered()
            return pb.EpisodeResponse.FromString(answer)

    def close(self) -> None:
        """End the stream; the service forgets it."""
        self._turn.end()
        if self._wire is not None and self._stream is not None:
            with self._wire.lock:
                self._wire.end(self._stream)
            self._transport.give_back(self._wire)
        self._wire = self._stream = None

    def _ask(self, message: bytes) -> bytes | None:
        if self._wire is None:
            self._wire = self._transport.take(is_for_stream=True)
        with self._wire.lock:
            if self._stream is None:
                self._stream = self._wire.begin(f"/{_POLICY}/Episode", None, (*self._bearer.metadata(), *self._named))
            self._wire.send(self._stream, message, is_last=False)
            return self._wire.receive(self._stream, time.monotonic() + self._timeout_s)
