"""The calls of the asyncio client over gRPC: stubs used in turn, retries, and streams with deadlines."""

import asyncio
import itertools
from typing import Any, Protocol

import grpc
import grpc.aio

from polserve.protos.polserve.v1 import budget_pb2_grpc, policy_pb2_grpc
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.client.channel import Link, open_async_channel, tls_of
from polserve.serving.client.credentials import Bearer
from polserve.serving.client.errors import ClientError, InvalidArgument
from polserve.serving.client.messages import ClientCall, T
from polserve.serving.client.reach import Reach
from polserve.serving.client.request_ids import with_request_id
from polserve.serving.client.turns import Turn


class AsyncStream(Protocol):
    """A stream of episodes: each request gets one response."""

    async def ask(self, request: pb.EpisodeRequest) -> pb.EpisodeResponse:
        """Send a request and return its response; raises ClientError."""

    async def close(self) -> None:
        """End the stream."""


class AsyncTransport(Protocol):
    """What carries a client's calls to whatever answers them."""

    async def call(self, call: ClientCall[T]) -> T:
        """Make a call and return what it answered; raises ClientError."""

    def open_stream(self) -> AsyncStream:
        """Open a stream of episodes."""

    async def close(self) -> None:
        """Free what it holds."""


class AsyncGrpcTransport:
    """Connections to a service, for one event loop: that of the first call."""

    def __init__(self, reach: Reach) -> None:
        """Connect at the first call; raises InvalidArgument where a file of the credentials cannot be used."""
        self._link = Link(reach.target, reach.options, is_encrypted=reach.credentials.is_encrypted)
        self._reach = reach
        self._timeout_s = reach.timeout_s
        self._bearer = Bearer(reach.credentials)
        if reach.credentials.is_encrypted:
            tls_of(reach.credentials)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channels: list[grpc.aio.Channel] = []
        self._stubs: itertools.cycle[Any] = itertools.cycle([])
        self._budgets: itertools.cycle[Any] = itertools.cycle([])

    async def call(self, call: ClientCall[T]) -> T:
        """Make a call, again while the service is full; raises ClientError."""
        self._enter()
        stub = next(self._budgets) if call.method == "Allocate" else next(self._stubs)
        method = getattr(stub, call.method)
        attempts = self._link.attempts(self._timeout_s)
        while True:
            try:
                metadata = with_request_id(self._bearer.metadata())
                response = await method(call.request, timeout=attempts.timeout_s(), metadata=metadata)
            except grpc.aio.AioRpcError as error:
                await asyncio.sleep(attempts.pause_s(error))
            except grpc.aio.UsageError:  # of a channel that another task has closed
                self._link.check_open()
                raise
            else:
                self._link.answered()
                return call.read(response)

    def open_stream(self) -> AsyncStream:
        """Open a stream of episodes; raises ClientError where the client was closed."""
        self._enter()
        return AsyncGrpcStream(next(self._stubs), self._link, self._timeout_s, self._bearer)

    async def close(self) -> None:
        """Close the connections."""
        self._link.close()
        for channel in self._channels:
            await channel.close()

    def _enter(self) -> None:
        """Open the channels, which belong to the loop that runs now.

        Raises:
            InvalidArgument: they belong to another loop, or none runs.
            ClientError: the client was closed.
        """
        self._link.check_open()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise InvalidArgument("client", "to be used where asyncio runs", "a call outside of it") from None
        if self._loop is loop:
            return
        if self._loop is not None:
            raise InvalidArgument("client", "to be used in one event loop", "another one; make a client in each")
        self._loop = loop
        reach = self._reach
        self._channels = [
            open_async_channel(reach.target, reach.credentials, reach.options) for _ in range(reach.connections)
        ]
        self._stubs = itertools.cycle([policy_pb2_grpc.PolicyServiceStub(channel) for channel in self._channels])
        self._budgets = itertools.cycle([budget_pb2_grpc.BudgetServiceStub(channel) for channel in self._channels])


class AsyncGrpcStream:
    """A stream of episodes over gRPC; for one task."""

    def __init__(self, stub: Any, link: Link, timeout_s: float, bearer: Bearer) -> None:
        self._link = link
        self._timeout_s = timeout_s
        self._turn = Turn()
        self._call = stub.Episode(metadata=with_request_id(bearer.metadata()))

    async def ask(self, request: pb.EpisodeRequest) -> pb.EpisodeResponse:
        """Send a request and return its response; raises ClientError."""
        with self._turn:
            return await self._ask(request)

    async def close(self) -> None:
        """End the stream; the service forgets it."""
        self._turn.end()
        self._call.cancel()

    async def _ask(self, request: pb.EpisodeRequest) -> pb.EpisodeResponse:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._call.write(request)
                response = await self._call.read()
        except TimeoutError as error:
            failure = ClientError(grpc.StatusCode.DEADLINE_EXCEEDED, f"no answer within {self._timeout_s:g} s")
            self._turn.end(failure)
            self._call.cancel()
            raise failure from error
        except grpc.aio.AioRpcError as error:
            failure = self._link.error(error.code(), error.details())
            self._turn.end(failure)
            raise failure from error
        except asyncio.InvalidStateError:  # written to after its end
            response = grpc.aio.EOF
        if response is grpc.aio.EOF:
            failure = await self._ended()
            self._turn.end(failure)
            raise failure
        self._link.answered()
        answer: pb.EpisodeResponse = response
        return answer

    async def _ended(self) -> ClientError:
        """Return the error that says how the stream ended."""
        code, details, trailing = await self._call.code(), await self._call.details(), self._call.trailing_metadata()
        error = self._link.error(code, details)
        error.__cause__ = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), await trailing, details)
        return error
