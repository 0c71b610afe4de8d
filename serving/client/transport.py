"""The calls of the synchronous client over gRPC: stubs used in turn, retries, and streams with deadlines."""

import itertools
import queue
import threading
import time
from typing import Any, Literal, Protocol, TypeAlias

import grpc

from polserve.protos.polserve.v1 import budget_pb2_grpc, policy_pb2_grpc
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.client.channel import Link, open_channel
from polserve.serving.client.credentials import Bearer
from polserve.serving.client.errors import ClientError
from polserve.serving.client.messages import ClientCall, T
from polserve.serving.client.reach import Reach
from polserve.serving.client.request_ids import with_request_id
from polserve.serving.client.turns import Turn, stream_ended

TransportName: TypeAlias = Literal["grpcio", "nghttp2"]

WATCH_S = 0.1
"""Seconds between two checks whether an episode's answer is overdue."""


class Stream(Protocol):
    """A stream of episodes: each request gets one response."""

    def ask(self, request: pb.EpisodeRequest) -> pb.EpisodeResponse:
        """Send a request and return its response; raises ClientError."""

    def close(self) -> None:
        """End the stream."""


class Transport(Protocol):
    """What carries a client's calls to whatever answers them."""

    def call(self, call: ClientCall[T]) -> T:
        """Make a call and return what it answered; raises ClientError."""

    def open_stream(self) -> Stream:
        """Open a stream of episodes."""

    def close(self) -> None:
        """Free what it holds."""


class GrpcTransport:
    """Connections to a service."""

    def __init__(self, reach: Reach) -> None:
        """Connect at the first call; raises InvalidArgument where a file of the credentials cannot be read."""
        self._link = Link(reach.target, reach.options, is_encrypted=reach.credentials.is_encrypted)
        self._timeout_s = reach.timeout_s
        self._bearer = Bearer(reach.credentials)
        self._channels = [
            open_channel(reach.target, reach.credentials, reach.options) for _ in range(reach.connections)
        ]
        self._stubs = itertools.cycle([policy_pb2_grpc.PolicyServiceStub(channel) for channel in self._channels])
        self._budgets = itertools.cycle([budget_pb2_grpc.BudgetServiceStub(channel) for channel in self._channels])

    def call(self, call: ClientCall[T]) -> T:
        """Make a call, again while the service is full; raises ClientError."""
        stub = next(self._budgets) if call.method == "Allocate" else next(self._stubs)
        method = getattr(stub, call.method)
        attempts = self._link.attempts(self._timeout_s)
        while True:
            try:
                response = method(
                    call.request, timeout=attempts.timeout_s(), metadata=with_request_id(self._bearer.metadata())
                )
            except grpc.RpcError as error:
                time.sleep(attempts.pause_s(error))
            except ValueError:  # of a channel that another thread has closed
                self._link.check_open()
                raise
            else:
                self._link.answered()
                return call.read(response)

    def open_stream(self) -> Stream:
        """Open a stream of episodes; raises ClientError where the client was closed."""
        self._link.check_open()
        return GrpcStream(next(self._stubs), self._link, self._timeout_s, self._bearer)

    def close(self) -> None:
        """Close the connections."""
        self._link.close()
        for channel in self._channels:
            channel.close()


class GrpcStream:
    """A stream of episodes over gRPC; for one thread."""

    def __init__(self, stub: Any, link: Link, timeout_s: float, bearer: Bearer) -> None:
        self._link = link
        self._timeout_s = timeout_s
        self._due: float | None = None
        self._is_overdue = False
        self._turn = Turn()
        self._ended = threading.Event()
        self._requests: queue.SimpleQueue[pb.EpisodeRequest | None] = queue.SimpleQueue()
        self._responses = stub.Episode(iter(self._requests.get, None), metadata=with_request_id(bearer.metadata()))
        if not self._responses.add_callback(self._release):  # it has ended already
            self._release()
        self._watcher = threading.Thread(target=self._watch, name="episode-watch", daemon=True)
        self._watcher.start()

    def ask(self, request: pb.EpisodeRequest) -> pb.EpisodeResponse:
        """Send a request and return its response; raises ClientError."""
        with self._turn:
            self._requests.put(request)
            self._due = time.monotonic() + self._timeout_s
            try:
                response: pb.EpisodeResponse = next(self._responses)
            except grpc.RpcError as error:
                failure = self._link.error(error.code(), error.details())
                if self._is_overdue:
                    message = f"no answer within {self._timeout_s:g} s"
                    failure = ClientError(grpc.StatusCode.DEADLINE_EXCEEDED, message)
                self._turn.end(failure)
                raise failure from error
            except StopIteration:
                self._turn.end()
                raise stream_ended() from None
            finally:
                self._due = None
            self._link.answered()
            return response

    def close(self) -> None:
        """End the stream; the service forgets it."""
        self._turn.end()
        self._responses.cancel()
        self._release()
        self._watcher.join()

    def _release(self) -> None:
        """Let the threads of the stream end: it has ended, by its own close, or by its client's or the service's."""
        self._ended.set()
        self._requests.put(None)

    def _watch(self) -> None:
        """Cancel the stream when an answer is overdue: gRPC's own deadline is for the stream as a whole."""
        while not self._ended.wait(min(WATCH_S, self._timeout_s)):
            due = self._due  # looked at once: the other thread sets it back
            if due is not None and time.monotonic() > due:
                self._is_overdue = True
                self._responses.cancel()
                return
