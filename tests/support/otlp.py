"""A receiver of OpenTelemetry's protocol (OTLP), made of its published messages.

No collector can be had from where CI installs its programs.
"""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Received:
    """The spans that have come."""

    def __init__(self) -> None:
        self._requests: list[pb.ExportTraceServiceRequest] = []
        self._lock = threading.Lock()

    def take(self, request: pb.ExportTraceServiceRequest) -> None:
        """Keep what came."""
        with self._lock:
            self._requests.append(request)

    def spans(self, trace_id: str = "") -> list[Span]:
        """Spans of one trace, or all, as they came."""
        with self._lock:
            found = [
                span
                for request in self._requests
                for of_resource in request.resource_spans
                for of_scope in of_resource.scope_spans
                for span in of_scope.spans
            ]
        return [span for span in found if not trace_id or span.trace_id.hex() == trace_id]

    def services(self) -> set[str]:
        """Names of the services that they came from."""
        with self._lock:
            return {
                attribute.value.string_value
                for request in self._requests
                for of_resource in request.resource_spans
                for attribute in of_resource.resource.attributes
                if attribute.key == "service.name"
            }


def attributes(span: Span) -> dict[str, Any]:
    """Attributes of a span by name."""
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes}


@contextlib.contextmanager
def grpc_receiver() -> Iterator[tuple[str, Received]]:
    """A receiver over gRPC: its address, and what it receives."""
    received = Received()

    class Servicer(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> pb.ExportTraceServiceResponse:  # noqa: ARG002, N802 - gRPC's
            received.take(request)
            return pb.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Servicer(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}", received
    finally:
        server.stop(0).wait()


@contextlib.contextmanager
def http_receiver() -> Iterator[tuple[str, Received]]:
    """A receiver over HTTP: its address, and what it receives."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.take(pb.ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
