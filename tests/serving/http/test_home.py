"""The page at / says what is live and how to call it."""

import http.client
from collections.abc import Iterator

import pytest

from polserve.serving.http.pages import page_routes
from polserve.serving.http.server import HttpServer

STATE = {
    "ready": False,
    "reason": "no version is live of <go>",
    "policies": {"cartpole": {"champion": "10", "canary": "9", "next": "10"}},
    "grpc_port": 50051,
    "ignored": ["/policies/<b>: expected the folder of a policy"],
}


@pytest.fixture
def connection() -> Iterator[http.client.HTTPConnection]:
    """To a server whose service stands so."""
    server = HttpServer("127.0.0.1", 0)
    server.start(page_routes(bytes, lambda: STATE))
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    yield connection
    connection.close()
    server.stop()


def get(connection: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str) -> tuple[int, str, str]:
    """Status, content type and text."""
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    return response.status, response.getheader("Content-Type", ""), response.read().decode()


def test_a_terminal_gets_text(connection: http.client.HTTPConnection) -> None:
    status, kind, text = get(connection, "/", Host="models.example:8080")
    assert (status, kind) == (200, "text/plain; charset=utf-8")
    lines = text.splitlines()
    assert lines[0] == "polserve: not ready: no version is live of <go>"
    assert "  cartpole/9  @canary" in lines
    assert "  cartpole/10  @champion @next" in lines
    assert "  curl http://models.example:8080/v1/policies/cartpole" in lines
    assert "  polserve policies --target models.example:50051" in lines


def test_a_browser_gets_html_in_which_everything_is_escaped(connection: http.client.HTTPConnection) -> None:
    status, kind, text = get(connection, "/", Accept="text/html,*/*", Host="<script>")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert "<td>cartpole</td><td>10</td><td>@champion @next</td>" in text
    assert "no version is live of &lt;go&gt;" in text
    assert "/policies/&lt;b&gt;" in text
    assert "<script" not in text
    assert "src=" not in text
    assert all(f'<a href="{page}">' in text for page in ("/metrics", "/livez", "/readyz"))


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics", "/nowhere"])
def test_head_is_answered_as_get_without_the_body(connection: http.client.HTTPConnection, path: str) -> None:
    status, kind, _ = get(connection, path)
    assert get(connection, path, "HEAD") == (status, kind, "")


def test_a_page_that_is_not_there_names_those_that_are(connection: http.client.HTTPConnection) -> None:
    text = "no page /nowhere; there are /, /readyz, /livez, /metrics\n"
    assert get(connection, "/nowhere") == (404, "text/plain; charset=utf-8", text)


@pytest.mark.parametrize(
    ("host", "shown"), [("", "localhost"), ("[", "["), ("[::1]:8080", "[::1]"), ("[::1]", "[::1]"), ("a", "a")]
)
def test_the_service_is_named_as_it_was_called(connection: http.client.HTTPConnection, host: str, shown: str) -> None:
    assert f"--target {shown}:50051\n" in get(connection, "/", Host=host)[2]
