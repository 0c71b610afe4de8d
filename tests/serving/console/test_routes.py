"""The console's page and files, as a browser and a program get them."""

import gzip
import http.client
import json
import re
from collections.abc import Iterator

import pytest

from polserve.serving.console.assets import STATIC, asset_names
from polserve.serving.console.rollouts import KEPT, RolloutLog
from polserve.serving.console.routes import Known, console_routes, history_routes
from polserve.serving.http.server import HttpServer
from polserve.serving.sources.source import HistoryState, PolicyHistory
from polserve.serving.versions import RolloutResult

STATE = {"ready": True, "reason": "", "policies": {"cartpole": {"champion": "1"}}, "grpc_port": 50051}
MOST_BYTES = 250_000
"""All that the page may load, uncompressed."""


@pytest.fixture
def rollouts() -> RolloutLog:
    return RolloutLog()


@pytest.fixture
def connection(rollouts: RolloutLog) -> Iterator[http.client.HTTPConnection]:
    """To a server of the console."""
    known = Known(
        lambda: STATE,
        lambda: {"cartpole": {"champion": "1"}},
        lambda _policy: PolicyHistory(HistoryState.NONE),
        rollouts,
    )
    server = HttpServer("127.0.0.1", 0)
    server.start([*console_routes(known), *history_routes(known)])
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    yield connection
    connection.close()
    server.stop()


def get(connection: http.client.HTTPConnection, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection.request("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})
    response = connection.getresponse()
    return response, response.read()


def test_a_browser_gets_the_console_and_a_terminal_gets_text(connection: http.client.HTTPConnection) -> None:
    response, body = get(connection, "/", Accept="text/html,*/*")
    assert response.getheader("Content-Type") == "text/html; charset=utf-8"
    assert body == (STATIC / "index.html").read_bytes()
    response, body = get(connection, "/")
    assert response.getheader("Content-Type") == "text/plain; charset=utf-8"
    assert body.startswith(b"polserve: ready\n")


def test_the_policy_of_the_page_allows_nothing_inline_and_no_other_host(
    connection: http.client.HTTPConnection,
) -> None:
    response, _ = get(connection, "/", Accept="text/html")
    policy = response.getheader("Content-Security-Policy", "")
    assert policy.startswith("default-src 'none'; ")
    allowed = {source for directive in policy.split("; ") for source in directive.split()[1:]}
    assert allowed == {"'self'", "'none'"}


@pytest.mark.parametrize("name", sorted(asset_names()))
def test_every_file_comes_with_its_type_compressed_or_not(connection: http.client.HTTPConnection, name: str) -> None:
    expected = (STATIC / name).read_bytes()
    response, body = get(connection, f"/console/{name}")
    assert (response.status, body) == (200, expected)
    assert response.getheader("X-Content-Type-Options") == "nosniff"
    response, body = get(connection, f"/console/{name}", Accept_Encoding="gzip, br")
    assert expected == (gzip.decompress(body) if response.getheader("Content-Encoding") == "gzip" else body)


def test_a_file_that_the_browser_has_is_not_sent_again(connection: http.client.HTTPConnection) -> None:
    response, _ = get(connection, "/console/main.js")
    again, body = get(connection, "/console/main.js", If_None_Match=response.getheader("ETag", ""))
    assert (again.status, body) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2froutes.py", "%2e%2e", "index.html%00", "static"])
def test_nothing_but_the_files_of_the_page_is_given_out(connection: http.client.HTTPConnection, name: str) -> None:
    response, body = get(connection, f"/console/{name}")
    assert response.status == 404
    assert b"expected a file of the page" in body


def test_all_of_the_page_is_light() -> None:
    assert sum((STATIC / name).stat().st_size for name in asset_names()) <= MOST_BYTES


def test_the_files_name_no_other_host_and_put_no_markup_together() -> None:
    for name in sorted(asset_names() - {"mspacman.rec"}):
        text = (STATIC / name).read_text()
        hosts = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not hosts, name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|new Function", text), name


def test_the_history_of_a_folder_says_that_there_is_none(connection: http.client.HTTPConnection) -> None:
    _, body = get(connection, "/v1/policies/cartpole/history")
    assert body == b'{"policy": "cartpole", "state": "none", "problem": ""}\n'


def test_the_history_of_an_unknown_policy_names_those_that_are_live(connection: http.client.HTTPConnection) -> None:
    response, body = get(connection, "/v1/policies/go/history")
    assert response.status == 404
    assert b"no policy 'go' is live; live are cartpole" in body


def test_the_latest_rollouts_are_kept_with_the_reason_of_each_refusal(
    connection: http.client.HTTPConnection, rollouts: RolloutLog
) -> None:
    rollouts.note([RolloutResult("cartpole", str(i)) for i in range(KEPT)])
    rollouts.note([RolloutResult("cartpole", "51", 'it says "</script>"')])
    _, body = get(connection, "/console/rollouts.json")
    tried = json.loads(body)["rollouts"]
    assert len(tried) == KEPT
    assert [tried[0]["version"], tried[0]["outcome"]] == ["1", "live"]
    assert [tried[-1]["outcome"], tried[-1]["reason"]] == ["refused", 'it says "</script>"']
