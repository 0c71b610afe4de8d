"""A service whose processes may open no further file."""

import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from polserve.serving.client import ClientError, PolicyClient
from tests.support.children import children_of
from tests.support.running import Running, wait_until

OBSERVATION = np.zeros(4, np.float32)


@contextmanager
def without_descriptors(running: Running) -> Iterator[None]:
    """Let no process of the service open anything."""
    pids = [running.process.pid, *children_of(running.process.pid)]
    before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in pids}
    try:
        for pid, (_, hard) in before.items():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
        yield
    finally:
        for pid, limits in before.items():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def is_answered(running: Running, *, timeout_s: float) -> bool:
    """Whether a new client gets an answer."""
    with PolicyClient(running.target, timeout_s=timeout_s) as client:
        try:
            client.act("cartpole", OBSERVATION)
        except ClientError:
            return False
    return True


def is_page_given(running: Running, *, timeout_s: float) -> bool:
    """Whether a new connection over HTTP gets an answer."""
    host, port = running.http_url.removeprefix("http://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout_s) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        try:
            return connection.recv(100).startswith(b"HTTP/1.1 200")
        except OSError:
            return False


def test_a_service_without_descriptors_keeps_its_connections_and_takes_new_ones_when_it_has_some(
    running: Running, client: PolicyClient
) -> None:
    client.act("cartpole", OBSERVATION)
    before = running.log.read_text().count("event=accept_failed")
    with without_descriptors(running):
        assert not is_answered(running, timeout_s=0.5), "there is no descriptor for the connection"
        assert not is_page_given(running, timeout_s=0.5)
        assert client.act("cartpole", OBSERVATION).version == "1", "what is open goes on"
    wait_until(lambda: is_answered(running, timeout_s=5.0), running.log)
    wait_until(lambda: is_page_given(running, timeout_s=5.0), running.log)
    wait_until(running.is_up, running.log)
    refused = running.log.read_text().count("event=accept_failed") - before
    assert refused < 50, "the loop waits before it tries again"
