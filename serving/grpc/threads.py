"""The grpcio front: calls of the public `grpc.server`, whose threads hand them to the loop and wait.

For machines on which nghttp2 does not work, and as what the other front is compared with.
"""

import asyncio
import errno
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from polserve.serving.addresses import at_free_path, spelled, unavailable, why_not
from polserve.serving.grpc.listener import Ways
from polserve.serving.grpc.thread_access import admit
from polserve.serving.grpc.thread_calls import Send, ThreadStreamCall, ThreadUnaryCall, begin
from polserve.serving.methods import Method
from polserve.serving.reloading import Reloaded
from polserve.serving.rounds import Rounds
from polserve.serving.tls import Certificates

THREADS = 16
"""Unary calls handled at once."""
MOST_STREAMS = 1024
"""Streams of one method that are open at once: each holds a thread."""
CLOSERS = 4
"""Threads that end streams whose own thread waits for the client."""
NEVER_MS = 2**31 - 1
LONG_S = 3600.0
"""The grace of a drain, which ends sooner: by `close`."""
PROBE_TIMEOUT_MS = 20_000
MIN_PING_INTERVAL_MS = 9_000
"""Shortest time between two probes of a client: they may come every 10 s, less a little since clocks differ."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What the public server may take."""

    max_message_bytes: int
    max_streams: int
    """Calls at once on a connection."""
    max_calls: int
    """Most calls at once, over all connections."""
    keepalive_s: float
    max_age_s: float
    """Age of a connection at which its client is asked to connect again; infinite for never."""
    is_port_shared: bool
    """Whether other processes of ours listen on the same port."""
    max_metadata_bytes: int = 16 * 1024
    max_connections: int = 10_000
    """More are closed as soon as they are accepted."""

    def options(self, min_ping_interval_ms: int = MIN_PING_INTERVAL_MS) -> list[tuple[str, int]]:
        """Return the options of the public server.

        NOTE: gRPC ignores a name that it does not know; a test looks for each in the library.
        """
        is_old_ended = self.max_age_s < NEVER_MS / 1000
        return [
            ("grpc.max_connection_age_ms", round(self.max_age_s * 1000) if is_old_ended else NEVER_MS),
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_concurrent_streams", self.max_streams),
            ("grpc.max_allowed_incoming_connections", self.max_connections),
            # gRPC refuses some calls between the two, at random: so there is no room between them.
            ("grpc.max_metadata_size", self.max_metadata_bytes),
            ("grpc.absolute_max_metadata_size", self.max_metadata_bytes),
            ("grpc.keepalive_time_ms", round(self.keepalive_s * 1000)),
            ("grpc.keepalive_timeout_ms", PROBE_TIMEOUT_MS),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", min_ping_interval_ms),
            # NOTE: with the default of 1 a second server on the same port is no error: it takes half of the calls.
            ("grpc.so_reuseport", int(self.is_port_shared)),
        ]


class GrpcioCarrier:
    """Carries gRPC by the public server of grpcio."""

    def __init__(
        self,
        methods: Sequence[Method],
        rounds: Rounds,
        loop: asyncio.AbstractEventLoop,
        limits: ServerLimits,
        ways: Ways | None = None,
    ) -> None:
        self._rounds = rounds
        self._loop = loop
        self._ways = ways or Ways()
        self._closers = ThreadPoolExecutor(CLOSERS, thread_name_prefix="closer")
        self._server = grpc.server(
            ThreadPoolExecutor(THREADS, thread_name_prefix="grpc"),
            options=limits.options(),
            maximum_concurrent_rpcs=limits.max_calls,
            interceptors=[_Arrivals({method.path: method.name for method in methods}, self._ways.count_arrival)],
        )
        services: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {}
        for method in methods:
            services.setdefault(method.service, {})[method.name] = self._handler(method)
        for service, handlers in services.items():
            self._server.add_registered_method_handlers(service, handlers)

    def bind(self, host: str, port: int) -> int:
        """Reserve the port, any where it is 0, and the UNIX socket; return the port.

        Raises:
            PortInUse: one of them cannot be bound.
        """
        certificates = self._ways.certificates
        try:
            if certificates is None:
                bound = self._server.add_insecure_port(spelled(host, port))
            else:
                bound = self._server.add_secure_port(spelled(host, port), credentials(certificates))
        except RuntimeError as error:
            raise unavailable("grpc-port", host, port, why_not(host, port)) from error
        if self._ways.socket_path is not None:
            self._bind_file(self._ways.socket_path)
        return bound

    def _bind_file(self, path: Path) -> None:
        with at_free_path(path):
            try:
                self._server.add_insecure_port(f"unix:{path}")
            except RuntimeError as error:
                raise OSError(errno.EIO, "for a reason that gRPC does not tell") from error

    async def start(self) -> None:
        """Take calls."""
        self._server.start()

    async def drain(self) -> None:
        """Take no more calls, and return once those in hand are answered."""
        ended = self._server.stop(LONG_S)
        if self._ways.socket_path is not None:
            self._ways.socket_path.unlink(missing_ok=True)
        while not ended.is_set():  # noqa: ASYNC110 - an event of threads
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """End what is still in hand."""
        ended = self._server.stop(0)
        until = time.monotonic() + 1.0
        while not ended.is_set() and time.monotonic() < until:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)
        self._closers.shutdown(wait=False)

    def _handler(self, method: Method) -> "grpc.RpcMethodHandler[Any, Any]":
        if method.kind == "unary":
            return grpc.unary_unary_rpc_method_handler(functools.partial(self._unary, method))
        behaviour: Any = _Streaming(self._watch if method.kind == "server_stream" else self._stream, method)
        if method.kind == "server_stream":
            return grpc.unary_stream_rpc_method_handler(behaviour)
        return grpc.stream_stream_rpc_method_handler(behaviour)

    def _unary(self, method: Method, message: bytes, context: grpc.ServicerContext) -> bytes:
        self._ways.count_arrival(method.name, "begun")
        call = ThreadUnaryCall(method, message, context, self._loop)
        admit(self._ways.guard, call, context)
        self._rounds.post(functools.partial(begin, call, self._rounds))
        return call.result()

    def _watch(self, method: Method, message: bytes, context: grpc.ServicerContext, send: Send) -> None:
        self._ways.count_arrival(method.name, "begun")
        call = ThreadStreamCall(method, context, send, self._rounds, self._loop, self._closers)
        call.message, call.size = message, len(message)
        admit(self._ways.guard, call, context)
        self._rounds.post(functools.partial(begin, call, self._rounds))
        call.end_with_client()

    def _stream(self, method: Method, requests: Iterator[bytes], context: grpc.ServicerContext, send: Send) -> None:
        self._ways.count_arrival(method.name, "begun")
        call = ThreadStreamCall(method, context, send, self._rounds, self._loop, self._closers)
        admit(self._ways.guard, call, context)
        call.serve(requests)


def credentials(certificates: Reloaded[Certificates]) -> grpc.ServerCredentials:
    """Return TLS for the public server; it asks for the certificates at each new connection."""

    def current() -> grpc.ServerCertificateConfiguration:
        told = certificates.value
        return grpc.ssl_server_certificate_configuration([(told.key, told.chain)], told.client_ca)

    is_mutual = certificates.value.client_ca is not None
    return grpc.dynamic_ssl_server_credentials(current(), current, require_client_authentication=is_mutual)


class _Arrivals(grpc.ServerInterceptor):
    """Counts calls as they arrive: grpcio refuses some before it shows them to anybody, and tells nobody of that."""

    def __init__(self, names: Mapping[str, str], count: Callable[[str, str], None]) -> None:
        """`names`: of the methods that there are, by what stands in a request's `:path`."""
        self._names = names
        self._count = count

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Count a call of a method that there is."""
        name = self._names.get(handler_call_details.method)
        if name is not None:
            self._count(name, "arrived")
        return continuation(handler_call_details)


class _Streaming:
    """A behaviour that sends through a callback, in threads of its own.

    So another thread can end an idle stream with a status that says why, and none is taken from other calls.
    """

    experimental_non_blocking = True

    def __init__(self, behave: Callable[..., None], method: Method) -> None:
        self._behave = functools.partial(behave, method)
        self.experimental_thread_pool = ThreadPoolExecutor(MOST_STREAMS, thread_name_prefix=method.name.lower())

    def __call__(self, request: Any, context: grpc.ServicerContext, send: Send) -> None:
        self._behave(request, context, send)
