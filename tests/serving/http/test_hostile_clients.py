"""Slow, half-open and hostile HTTP clients harm themselves alone."""

import asyncio
import contextlib
import gc
import json
import re
import socket
import time
from collections.abc import Iterator

import pytest

from polserve.serving.http import connections
from polserve.serving.http.messages import Answer
from polserve.serving.http.pages import page_routes
from polserve.serving.http.requests import Request
from polserve.serving.http.routes import Route
from polserve.serving.http.server import HttpServer
from tests.support.http1 import post, send, status_of
from tests.support.running import page, wait_until

MOST = 1000
"""Bytes of a body that the server takes."""


async def echo(request: Request) -> Answer:
    return Answer(await request.body(MOST))


async def fail(_request: Request) -> Answer:
    raise ValueError("a secret")


async def slow(_request: Request) -> Answer:
    await asyncio.sleep(0.2)
    return Answer(b"slowly")


async def large(_request: Request) -> Answer:
    return Answer(bytes(50_000_000))


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    routes = [Route("POST", "/echo", echo), Route("GET", "/fails", fail), Route("GET", "/large", large)]
    routes.append(Route("GET", "/slow", slow))
    pages = page_routes(lambda: b"metrics\n", lambda: {"ready": True, "policies": {}, "grpc_port": 1, "reason": ""})
    server = HttpServer("127.0.0.1", 0)
    server.start([*pages, *routes])
    yield server
    server.stop()


@pytest.fixture
def narrow() -> Iterator[HttpServer]:
    """A server that has at most eight connections."""
    server = HttpServer("127.0.0.1", 0, most_connections=8)
    server.start(page_routes(lambda: b"", lambda: {"ready": True, "policies": {}, "grpc_port": 1, "reason": ""}))
    yield server
    server.stop()


@contextlib.contextmanager
def held(port: int, n: int, data: bytes) -> Iterator[list[socket.socket]]:
    """Connections that sent this much, and say no more."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)) for _ in range(n)]
        for connection in opened:
            connection.sendall(data)
        yield opened


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has ended the connection; whatever it said before is read."""
    connection.settimeout(0.01)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    return True


def test_probes_and_scrapes_are_answered_while_hundreds_of_connections_are_half_open_or_slow(
    server: HttpServer,
) -> None:
    with held(server.port, 500, b"GET /metr"), held(server.port, 50, post("/echo", b"a", length=900)):
        for path in ("/livez", "/readyz", "/metrics"):
            assert page(f"http://127.0.0.1:{server.port}{path}")[0] == 200


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", b""), (b"GET /livez HT", b"HTTP/1.1 408 "), (post("/echo", b"a", length=9), b"HTTP/1.1 408 ")],
    ids=["nothing", "half-a-head", "half-a-body"],
)
def test_a_client_that_falls_silent_is_given_up(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch, data: bytes, said: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    monkeypatch.setattr(connections, "SILENCE_S", 0.5)
    assert send(server.port, data)[:13] == said


def test_a_body_that_trickles_in_is_given_up(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SLOW_S", 0.5)
    with held(server.port, 1, post("/echo", b"", length=900)) as (connection,):

        def is_given_up() -> bool:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(b"a")
            return is_closed(connection)

        wait_until(is_given_up)


def test_a_client_that_does_not_read_its_answer_is_given_up(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SILENCE_S", 0.5)
    with held(server.port, 1, b"GET /large HTTP/1.1\r\nHost: test\r\n\r\n"):
        wait_until(lambda: len(server.connections) == 1)
        wait_until(lambda: not server.connections)


def test_the_connection_that_has_waited_longest_makes_room_for_a_new_one(narrow: HttpServer) -> None:
    server = narrow
    with held(server.port, 1, b"") as (first,):
        wait_until(lambda: len(server.connections) == 1)  # so that it is the first
        with held(server.port, 7, b"GET") as others:
            assert page(f"http://127.0.0.1:{server.port}/livez")[0] == 200
            assert is_closed(first)
            assert not any(is_closed(other) for other in others)


def test_a_body_above_the_limit_is_refused_before_it_is_read(server: HttpServer) -> None:
    answer = send(server.port, post("/echo", b"a", length=10**12), until=b"}")
    assert status_of(answer) == 413
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {
        "error": "body: expected at most 1000 bytes, got 1000000000000 bytes; send fewer observations at once, "
        "or large ones as bytes: POST /v2/models/NAME/infer, or gRPC",
        "code": "RESOURCE_EXHAUSTED",
    }


def test_a_body_above_the_limit_is_not_asked_for(server: HttpServer) -> None:
    answer = send(server.port, post("/echo", b"", "Expect: 100-continue", length=MOST + 1), until=b"}")
    assert status_of(answer) == 413
    assert b" 100 " not in answer
    assert b" 100 " in send(server.port, post("/echo", b"", "Expect: 100-continue", length=MOST), until=b"\r\n\r\n")


def test_a_body_in_chunks_is_refused_once_it_is_above_the_limit(server: HttpServer) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert status_of(send(server.port, head + b"3E8\r\n" + bytes(1000) + b"\r\n1\r\na\r\n", until=b"}")) == 413
    whole = head + b"3E8\r\n" + bytes(1000) + b"\r\n0\r\n\r\n"
    assert status_of(send(server.port, whole, until=b"\r\n\r\n")) == 200


def test_a_refusal_is_read_by_a_client_that_sends_on(server: HttpServer) -> None:
    assert status_of(send(server.port, post("/echo", bytes(3_000_000)))) == 413


SMUGGLED = b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 4\r\nContent-Length: 40\r\n",
        b"Content-Length: 4, 40\r\n",
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        b"Content-Length: +4\r\n",
        b"Content-Length: -4\r\n",
        b"Content-Length: 0x4\r\n",
        b"Content-Length: 4\nX: y\r\n",
        b"X: a\rContent-Length: 4\r\n",
        b" Content-Length: 4\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"X\x00: a\r\n",
    ],
)
def test_a_request_that_others_might_read_otherwise_is_refused_and_ends_the_connection(
    server: HttpServer, head: bytes
) -> None:
    answer = send(server.port, b"POST /echo HTTP/1.1\r\nHost: test\r\n" + head + b"\r\n0\r\n\r\n" + SMUGGLED)
    assert status_of(answer) == 400
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a greeting of TLS
        b"GET /\xff HTTP/1.1\r\nHost: test\r\n\r\n",
        b"CONNECT other:80 HTTP/1.1\r\nHost: test\r\n\r\n",
        b"\x00" * 100,
    ],
)
def test_what_is_no_request_is_refused(server: HttpServer, data: bytes) -> None:
    assert status_of(send(server.port, data)) == 400


@pytest.mark.parametrize("end", [b"", b"\r\nHost: test\r\n\r\n"])
def test_headers_above_the_limit_are_refused_without_end_or_with_one(server: HttpServer, end: bytes) -> None:
    data = b"GET /livez HTTP/1.1\r\nX: " + b"a" * (connections.MAX_HEAD_BYTES + 1) + end
    assert status_of(send(server.port, data)) == 431


def test_nothing_is_kept_of_a_connection_whose_headers_were_refused(server: HttpServer) -> None:
    head = b"GET /livez HTTP/1.1\r\nHost: test\r\nX: " + b"a" * connections.MAX_HEAD_BYTES + b"\r\n\r\n"
    assert status_of(send(server.port, head)) == 431
    kind = connections.Connection
    wait_until(lambda: gc.collect() >= 0 and not any(type(one) is kind for one in gc.get_objects()))


def test_a_request_that_begins_behind_a_large_body_is_no_large_head(server: HttpServer) -> None:
    first = b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 900\r\n\r\n" + bytes(900)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(first * 200 + b"GET /livez HT")
        time.sleep(0.05)
        connection.sendall(b"TP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200"] * 201


@pytest.mark.parametrize(
    "second",
    [
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nX: " + b"a" * 70_000,
        b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["no host", "nonsense", "large head", "bad chunk"],
)
def test_what_is_no_request_takes_no_answer_of_the_one_before_it(
    server: HttpServer, second: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "SILENCE_S", 0.5)  # after which a body that does not come is given up
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\nHost: test\r\n\r\n" + second[:20])
        time.sleep(0.05)
        connection.sendall(second[20:])
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                answer += piece
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"slowly" in answer


def test_an_address_above_the_limit_is_refused_as_headers_are(server: HttpServer) -> None:
    data = b"GET /livez?" + b"a" * (connections.MAX_HEAD_BYTES + 1) + b" HTTP/1.1\r\nHost: test\r\n\r\n"
    assert status_of(send(server.port, data)) == 431


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /livez\r\n\r\n", 505),
        (b"GET /livez HTTP/2.0\r\nHost: test\r\n\r\n", 505),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
    ],
)
def test_versions_and_hosts_are_those_of_http_1(server: HttpServer, head: bytes, status: int) -> None:
    answer = send(server.port, head)
    assert status_of(answer) == status
    assert answer.count(b"HTTP/1.1 ") == 1


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n"
WHOLE = b"Content-Length: 4\r\n\r\nfour"


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"TLS/1.2"])
@pytest.mark.parametrize("rest", [WHOLE, CHUNKED])
def test_a_client_that_would_rather_speak_another_protocol_is_answered_over_http_1(
    server: HttpServer, protocol: bytes, rest: bytes
) -> None:
    wish = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AAMAAABkAAQ\r\n" % protocol
    asked = b"POST /echo HTTP/1.1\r\nHost: test\r\n" + wish + rest
    last = post("/echo", b"last")
    for cut in range(1, len(asked), 7):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(asked[:cut])
            time.sleep(0.002)
            connection.sendall(asked[cut:] + asked + last)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200"] * 3
        assert re.findall(rb"\r\n\r\n(four|last)", answer) == [b"four", b"four", b"last"]


def test_what_comes_as_a_body_is_no_request_though_the_headers_ask_for_another_protocol(server: HttpServer) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED))
        time.sleep(0.05)
        connection.sendall(SMUGGLED + post("/echo", b"last"))
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"200"]
    assert SMUGGLED in answer


def test_requests_sent_one_behind_the_other_are_answered_in_order(server: HttpServer) -> None:
    asked = b"".join(b"GET /%s HTTP/1.1\r\nHost: test\r\n\r\n" % path for path in (b"livez", b"metrics", b"nowhere"))
    answer = send(server.port, asked + b"GET /livez HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"200", b"404", b"200"]


def test_an_error_of_ours_is_told_by_an_id_alone(server: HttpServer) -> None:
    answer = send(server.port, b"GET /fails HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
    assert status_of(answer) == 500
    said = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert re.fullmatch(r"internal error [0-9a-f]{16}; the server's log has the details", said["error"])


def test_a_method_that_a_page_does_not_have_is_refused_with_those_that_it_has(server: HttpServer) -> None:
    answer = send(server.port, post("/livez", b""))
    assert status_of(answer) == 405
    assert b"\r\nallow: GET, HEAD\r\n" in answer


def test_the_server_stops_though_clients_hold_connections() -> None:
    server = HttpServer("127.0.0.1", 0)
    server.start([Route("POST", "/echo", echo)])
    with held(server.port, 3, b"GET /"), held(server.port, 3, post("/echo", b"a", length=9)) as slow:
        server.stop()
        wait_until(lambda: all(is_closed(connection) for connection in slow))
