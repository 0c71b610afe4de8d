"""A reverse proxy before a real MLflow server, for what goes wrong between a service and its registry."""

import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import urlsplit

HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "host")


@dataclass
class Request:
    """What a client asks."""

    method: str
    path: str
    authorization: str


@dataclass
class Response:
    """What the client gets; the length that is announced may be another than that of the body."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    announced: int | None = None


Forward: TypeAlias = Callable[[], Response]
Fault: TypeAlias = Callable[[Request, Forward], Response]
"""From a request and the way to the real server to what the client gets."""


def none(_request: Request, forward: Forward) -> Response:
    """The real server answers."""
    return forward()


def answering(status: int, body: str, content_type: str = "text/plain") -> Fault:
    """The same answer to every request."""
    return lambda _request, _forward: Response(status, body.encode(), {"Content-Type": content_type})


def slow(seconds: float) -> Fault:
    """The real answer, late."""

    def fault(_request: Request, forward: Forward) -> Response:
        time.sleep(seconds)
        return forward()

    return fault


def read_only(request: Request, forward: Forward) -> Response:
    """Nothing may be written."""
    return forward() if request.method == "GET" else Response(403, b"Permission denied")


def requiring(authorization: str) -> Fault:
    """Only those are answered who send this header."""
    return lambda request, forward: forward() if request.authorization == authorization else Response(401, b"who?")


@dataclass
class Proxy:
    """A proxy that runs."""

    url: str
    fault: Fault = none
    requests: list[Request] = field(default_factory=list)


@contextlib.contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    """A proxy before the server at `upstream`, on a free port."""
    address = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, self.headers.get("Authorization") or "")
            running.requests.append(request)
            with contextlib.suppress(OSError):  # the client has gone
                self.send(running.fault(request, lambda: self.forward(body)))

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer  # noqa: N815 - the base class's names

        def forward(self, body: bytes) -> Response:
            connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
            kept = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            connection.request(self.command, self.path, body, kept)
            answer = connection.getresponse()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
            with contextlib.closing(connection):
                return Response(answer.status, answer.read(), headers)

        def send(self, response: Response) -> None:
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(response.announced or len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        def log_message(self, *_arguments: Any) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        running = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield running
        server.shutdown()
