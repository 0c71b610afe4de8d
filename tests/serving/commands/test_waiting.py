"""Commands wait for a service that is starting, and tell what is known of one that does not come."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from polserve.serving.commands.waiting import ask, wait_until_ready
from tests.support.commands import polserve_here
from tests.support.running import Running, environment, free_port, program


@contextlib.contextmanager
def bytes_server(answer: bytes) -> Iterator[str]:
    """A server that answers anything with these bytes; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def test_a_command_waits_for_a_service_that_is_started_beside_it(policies: Path, tmp_path: Path) -> None:
    target = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "polserve", "policies", "--target", target, "--wait", "60"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as waiting:
        assert waiting.stderr is not None
        assert f"waiting for polserve at {target}, 1 s (nobody listens there)" in waiting.stderr.readline()
        ports = ("--grpc-port", target.rpartition(":")[2], "--http-port", "0")
        serve = ("-m", "polserve", "serve", "--policies", str(policies), *ports)
        with program(*serve, log=tmp_path / "log"):
            output, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert "cartpole/1" in output


def test_wait_ends_when_the_service_is_ready_and_says_why_it_is_not(running: Running) -> None:
    assert polserve_here("wait", "cartpole", "--target", running.target).returncode == 0
    result = polserve_here("wait", "go", "--timeout", "0", "--target", running.target)
    assert result.returncode == 1
    assert f"polserve at {running.target} is not ready (it answers, and has no policy 'go'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_service_without_a_policy_is_there_and_not_ready(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    port = free_port()
    ports = ("--grpc-port", str(port), "--http-port", "0")
    serve = ("-m", "polserve", "serve", "--policies", str(tmp_path / "policies"), *ports)
    with program(*serve, log=tmp_path / "log"):
        reason = first_answer(f"127.0.0.1:{port}")
    assert reason == "it answers, and has nothing live yet; /readyz on its HTTP port says why"


def first_answer(target: str) -> str:
    """What is known of a service from the moment that it answers."""
    while not (state := ask(target)).is_there:
        time.sleep(0.05)
    return state.reason


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers there speaks no gRPC"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "what answers there speaks no gRPC"),
        (b"", "Socket closed"),
    ],
)
def test_what_is_no_grpc_server_is_told(answer: bytes, reason: str) -> None:
    with bytes_server(answer) as target:
        state = ask(target)
    assert reason in state.reason
    assert not state.is_there


def test_another_grpc_service_is_told() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    state = wait_until_ready(f"127.0.0.1:{port}", 1e9)
    server.stop(0).wait()
    assert "another service answers there" in state.reason


def test_a_host_without_an_address_is_not_waited_for() -> None:
    assert wait_until_ready("polserve.invalid:50051", 1e9).reason == "the host has no address"
