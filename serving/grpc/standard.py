"""The services that every gRPC server has: health and reflection, by the well-kept packages.

Their messages are parsed here, and not by grpcio: where its own parsing fails, it answers INTERNAL and keeps the stream
open on its side, until a connection has none left.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from polserve.serving.grpc.act import abort
from polserve.serving.grpc.codec import parse_small
from polserve.serving.grpc.statuses import status_of

HEALTH = health.SERVICE_NAME
REFLECTION = reflection.SERVICE_NAME

REFLECTION_THREADS = 4
"""Streams of reflection that are answered at once: each holds a thread for as long as its client likes."""


def health_handlers(servicer: health.HealthServicer) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
    """The handler of each method of the health service, by its name."""
    serializer = health_pb2.HealthCheckResponse.SerializeToString

    def check(message: bytes, context: grpc.ServicerContext) -> Any:
        request = parse_small(health_pb2.HealthCheckRequest, message)
        response = servicer.Check(request, context)
        if context.code() is grpc.StatusCode.NOT_FOUND:  # type: ignore[attr-defined]
            context.set_details(f"service: expected '' or the name of a live policy, got {request.service!r}")
        return response

    return {
        "Check": grpc.unary_unary_rpc_method_handler(check, response_serializer=serializer),
        "Watch": grpc.unary_stream_rpc_method_handler(_Watch(servicer), response_serializer=serializer),
    }


def reflection_handlers(services: Iterable[str]) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
    """The handler of the reflection service's one method, by its name; it tells of `services`."""
    info = _ServerReflectionInfo(reflection.ReflectionServicer(services))
    response = reflection_pb2.ServerReflectionResponse.SerializeToString
    return {"ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(info, response_serializer=response)}


class _Watch:
    """Watchers get their answers through callbacks, so that none holds a thread."""

    experimental_non_blocking = True

    def __init__(self, servicer: health.HealthServicer) -> None:
        self._servicer = servicer

    def __call__(self, message: bytes, context: grpc.ServicerContext, send: Callable[[Any], None]) -> None:
        try:
            request = parse_small(health_pb2.HealthCheckRequest, message)
        except Exception as error:  # noqa: BLE001 - every error must become a status
            abort(context, status_of(error))
        self._servicer.Watch(request, context, send)


class _ServerReflectionInfo:
    """Has threads of its own: its streams may stay open, and must not take those of other calls."""

    def __init__(self, servicer: reflection.ReflectionServicer) -> None:
        self._servicer = servicer
        self.experimental_thread_pool = ThreadPoolExecutor(REFLECTION_THREADS, thread_name_prefix="reflection")

    def __call__(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[Any]:
        requests = (parse_small(reflection_pb2.ServerReflectionRequest, message) for message in messages)
        yield from self._servicer.ServerReflectionInfo(requests, context)
