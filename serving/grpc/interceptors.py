"""Around every call: metrics, and domain errors as gRPC statuses."""

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import structlog

from serving.errors import InvalidRequest, NotReady, PolserveError, UnknownPolicy, UnknownVersion
from serving.metrics import Metrics

STATUSES: dict[type[PolserveError], grpc.StatusCode] = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    UnknownPolicy: grpc.StatusCode.NOT_FOUND,
    UnknownVersion: grpc.StatusCode.NOT_FOUND,
    NotReady: grpc.StatusCode.UNAVAILABLE,
}
"""The status of each error that may reach a client; any other is INTERNAL with an id to search the log for."""

log = structlog.get_logger()


class CallInterceptor(grpc.ServerInterceptor):
    """Counts and times every call but health watchers, and turns what it raises into a status."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """The handler of the method, wrapped."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        service, method = handler_call_details.method.lstrip("/").split("/", 1)
        if handler.unary_unary is not None:
            behaviour = self._unary(handler.unary_unary, ("unary", service, method))
            return grpc.unary_unary_rpc_method_handler(
                behaviour, handler.request_deserializer, handler.response_serializer
            )
        if hasattr(handler.unary_stream, "experimental_non_blocking"):
            return handler  # a health watcher, which answers through callbacks: wrapped, it would hold a thread
        if handler.unary_stream is not None:
            streaming = self._stream(handler.unary_stream, ("server_stream", service, method))
            return grpc.unary_stream_rpc_method_handler(
                streaming, handler.request_deserializer, handler.response_serializer
            )
        if handler.stream_stream is not None:
            streaming = self._stream(handler.stream_stream, ("bidi_stream", service, method))
            return grpc.stream_stream_rpc_method_handler(
                streaming, handler.request_deserializer, handler.response_serializer
            )
        return handler

    def _unary(self, behaviour: Callable[..., Any], labels: tuple[str, str, str]) -> Callable[..., Any]:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            started = self._begin(labels)
            try:
                return behaviour(request, context)
            except Exception as error:  # noqa: BLE001 - every error must become a status
                _abort(context, error)
            finally:
                self._end(labels, context, started)

        return call

    def _stream(self, behaviour: Callable[..., Any], labels: tuple[str, str, str]) -> Callable[..., Iterator[Any]]:
        def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            started = self._begin(labels)
            try:
                yield from behaviour(request, context)
            except Exception as error:  # noqa: BLE001 - every error must become a status
                _abort(context, error)
            finally:
                self._end(labels, context, started)

        return call

    def _begin(self, labels: tuple[str, str, str]) -> float:
        self._metrics.started.labels(*labels).inc()
        return time.perf_counter()

    def _end(self, labels: tuple[str, str, str], context: Any, started: float) -> None:
        code = context.code() or grpc.StatusCode.OK
        self._metrics.handled.labels(*labels, code.name).inc()
        self._metrics.handling.labels(*labels).observe(time.perf_counter() - started)


def _abort(context: Any, error: Exception) -> None:
    """End the call with the status of `error`."""
    if context.code() is not None:  # the handler aborted by itself
        raise error
    status = STATUSES.get(type(error)) if isinstance(error, PolserveError) else None
    if status is not None:
        context.abort(status, str(error))
    error_id = uuid.uuid4().hex[:12]
    log.error("internal_error", error_id=error_id, exc_info=error)
    context.abort(grpc.StatusCode.INTERNAL, f"internal error {error_id}; the server's log has the details")
