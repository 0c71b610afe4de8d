"""The page at /, /metrics, /livez and /readyz."""

import json
import sys
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import structlog
from prometheus_client import CONTENT_TYPE_LATEST

from polserve.serving.addresses import resolve, unavailable
from polserve.serving.http import home

log = structlog.get_logger()

TEXT = "text/plain; charset=utf-8"

Readiness: TypeAlias = Mapping[str, Any]
"""JSON with the key "ready" and the reasons."""


class HttpServer:
    """The HTTP pages of the service: home, metrics and probes."""

    def __init__(self, host: str, port: int, metrics: Callable[[], bytes], readiness: Callable[[], Readiness]) -> None:
        """Bind the port; requests are answered after `start`.

        Raises:
            PortInUse: the port cannot be bound.
        """
        try:
            self._server = _server(host, port)
        except OSError as error:
            raise unavailable("http-port", host, port, error) from error
        self._server.metrics, self._server.readiness = metrics, readiness
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Answer requests, in threads of their own."""
        threading.Thread(target=self._server.serve_forever, name="http", daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # connections that wait to be accepted; the library's 5 are few on a busy machine
    metrics: Callable[[], bytes]
    readiness: Callable[[], Readiness]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log one line instead of a traceback: a prober that hangs up is no error of ours."""
        del request
        log.warning("http_connection_failed", client=str(client_address), error=str(sys.exc_info()[1]))


def _server(host: str, port: int) -> _Server:
    """Make a server on an address of IPv4 or IPv6."""
    family, address = resolve(host, port)

    class Server(_Server):
        address_family = family

    return Server(address, _Handler)


def _without_port(host: str) -> str:
    """Return the host in a Host header without its port, if it has one."""
    name, separator, port = host.rpartition(":")
    return name if separator and port.isdecimal() else host


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10  # seconds that a silent connection is kept

    def do_GET(self) -> None:
        match self.path.split("?", 1)[0]:
            case "/":
                self._answer_home(self.server.readiness())
            case "/metrics":
                self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, self.server.metrics())
            case "/livez":
                self._answer(HTTPStatus.OK, TEXT, b"ok\n")
            case "/readyz":
                readiness = self.server.readiness()
                status = HTTPStatus.OK if readiness["ready"] else HTTPStatus.SERVICE_UNAVAILABLE
                self._answer(status, "application/json", json.dumps(readiness, indent=2).encode() + b"\n")
            case path:
                known = ", ".join(["/", *home.PAGES])
                self._answer(HTTPStatus.NOT_FOUND, TEXT, f"no page {path}; there are {known}\n".encode())

    do_HEAD = do_GET  # noqa: N815 - the base class's name

    def _answer_home(self, state: Readiness) -> None:
        """Answer with the home page: HTML for a browser, else plain text."""
        host = _without_port(self.headers.get("Host", "")) or "localhost"
        if "text/html" in self.headers.get("Accept", ""):
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", home.as_html(state, host).encode())
        else:
            self._answer(HTTPStatus.OK, TEXT, home.as_text(state, host).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing: probes and scrapes come every few seconds."""

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
