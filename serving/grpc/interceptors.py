"""Around every call of the public server: metrics, and domain errors as gRPC statuses."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc

from polserve.serving.grpc.act import abort
from polserve.serving.grpc.statuses import status_of
from polserve.serving.metrics.answers import AnsweringMetrics, RpcMetrics

POOL = "experimental_thread_pool"
"""Attribute by which a handler tells gRPC which threads to run in."""


class CallInterceptor(grpc.ServerInterceptor):
    """Counts and times every call, and turns what it raises into a status.

    Streams that answer through a callback see to both themselves: wrapped, a health watcher would hold a thread.
    """

    def __init__(self, metrics: AnsweringMetrics) -> None:
        self._metrics = metrics

    def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """The handler of the method, wrapped."""
        handler = continuation(handler_call_details)
        if handler is None or hasattr(handler.unary_stream or handler.stream_stream, "experimental_non_blocking"):
            return handler
        service, method = handler_call_details.method.lstrip("/").split("/", 1)
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(
                _unary(handler.unary_unary, self._metrics.rpc("unary", service, method)),
                handler.request_deserializer,
                handler.response_serializer,
            )
        if handler.stream_stream is not None:
            stream = _stream(handler.stream_stream, self._metrics.rpc("bidi_stream", service, method))
            if pool := getattr(handler.stream_stream, POOL, None):
                setattr(stream, POOL, pool)
            return grpc.stream_stream_rpc_method_handler(
                stream, handler.request_deserializer, handler.response_serializer
            )
        return handler


def _unary(behaviour: Callable[..., Any], rpc: RpcMetrics) -> Callable[..., Any]:
    def call(request: Any, context: grpc.ServicerContext) -> Any:
        started = rpc.begin()
        try:
            return behaviour(request, context)
        except Exception as error:  # noqa: BLE001 - every error must become a status
            _abort(context, error)
        finally:
            rpc.end(started, _code(context))

    return call


def _stream(behaviour: Callable[..., Any], rpc: RpcMetrics) -> Callable[..., Iterator[Any]]:
    def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        started = rpc.begin()
        try:
            yield from behaviour(request, context)
        except Exception as error:  # noqa: BLE001 - every error must become a status
            _abort(context, error)
        finally:
            rpc.end(started, _code(context))

    return call


def _code(context: Any) -> str:
    name: str = (context.code() or grpc.StatusCode.OK).name
    return name


def _abort(context: Any, error: Exception) -> None:
    """End the call with the status of `error`, unless the handler ended it by itself."""
    if context.code() is not None:
        raise error
    abort(context, status_of(error))
