"""Calls to a registry that never end are given up, and those that bring something go on."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from polserve.serving.sources.bounded_calls import LEAST_BYTES, MOST_HANGING, BoundedCalls, Unanswered
from tests.support.following import serve
from tests.support.running import wait_until

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns at its import

LIMIT_S = 0.1


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """A connection to a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        yield client
        accepted.close()  # so that the calls that were given up end
        client.close()


def test_a_call_returns_what_it_returns_and_raises_what_it_raises() -> None:
    calls = BoundedCalls(60.0)

    def fail() -> None:
        raise LookupError("no such model")

    assert calls.run("model", lambda: 42) == 42
    with pytest.raises(LookupError, match="no such model"):
        calls.run("model", fail)
    assert not calls.are_too_many


def test_a_call_that_is_never_answered_is_given_up_with_what_was_asked(deaf: socket.socket) -> None:
    with pytest.raises(Unanswered, match=r"tags of cartpole/1: no answer within 0.1 s"):
        BoundedCalls(LIMIT_S).run("tags of cartpole/1", lambda: deaf.recv(1))


def test_no_more_calls_are_made_than_may_hang_until_those_end(deaf: socket.socket) -> None:
    calls = BoundedCalls(LIMIT_S)
    for _ in range(MOST_HANGING):
        with pytest.raises(Unanswered, match="no answer"):
            calls.run("model", lambda: deaf.recv(1))
    assert calls.are_too_many
    with pytest.raises(Unanswered, match=f"not asked for, since {MOST_HANGING} calls before"):
        calls.run("model", lambda: 42)
    deaf.shutdown(socket.SHUT_RDWR)
    until = time.monotonic() + 10
    while calls.are_too_many and time.monotonic() < until:
        time.sleep(0.01)
    assert calls.run("model", lambda: 42) == 42


@pytest.mark.parametrize("kind", ["fast", "trickle"])
def test_a_download_goes_on_while_it_brings_enough(kind: str) -> None:
    step = LEAST_BYTES if kind == "fast" else LEAST_BYTES // 100
    calls, n_looks, end = BoundedCalls(LIMIT_S), itertools.count(1), threading.Event()

    def brought() -> int:
        n = next(n_looks)
        if n == 5:  # more looks than there are in the time of a call that brings nothing
            end.set()
        return step * n

    def download() -> str:
        end.wait(10)
        return "all of it"

    if kind == "fast":
        assert calls.run("model.onnx", download, brought) == "all of it"
    else:
        with pytest.raises(Unanswered, match="no answer"):
            calls.run("model.onnx", download, brought)
    end.set()


@pytest.fixture
def trickling_port() -> Iterator[int]:
    """A port whose listener begins an answer and goes on with a byte now and then, for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        is_over = threading.Event()

        def trickle(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n")
                while not is_over.wait(0.2):
                    connection.sendall(b" ")

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=trickle, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield int(listener.getsockname()[1])
        is_over.set()


@pytest.mark.acceptance
def test_a_registry_that_trickles_is_given_up_and_reported(tmp_path: Path, trickling_port: int) -> None:
    url = f"http://127.0.0.1:{trickling_port}"
    with serve(url, "cartpole", tmp_path, MLFLOW_HTTP_REQUEST_TIMEOUT="1") as running:
        wait_until(lambda: running.ready().get("registry") is not None, running.log)
        assert running.ready()["registry"]["error"] == "registered model cartpole: no answer within 3 s"
        assert "polserve_registry_up 0.0" in running.metrics()
        assert "event=registry_down" in running.log.read_text()
