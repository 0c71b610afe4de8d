"""A connection over nghttp2 asks for what its call says, waits for as long as it may, and ends when it is closed."""

import socket
import threading
import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from polserve.serving.client import ClientError, PolicyClient
from polserve.serving.client.http2_socket import End, Socket
from polserve.serving.client.http2_wire import CallFailed, Wire
from polserve.serving.http2 import engine

PATH = "/polserve.v1.PolicyService/Act"
LONG_S = 60.0


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LONG_S)
        yield server


def end_of(server: socket.socket) -> End:
    return End(f"127.0.0.1:{server.getsockname()[1]}", 1 << 20)


def asked(accepted: socket.socket, h2: engine.Connection) -> dict[bytes, bytes]:
    """Headers of the next request."""
    while True:
        h2.receive_data(accepted.recv(1 << 16))
        for event in h2.events():
            if type(event) is engine.RequestReceived:
                return dict(event.headers)


def send_all(sending: Socket, data: bytes, wait_s: float) -> None:
    while data:
        data = data[sending.send(data, wait_s) :]


def test_each_call_asks_with_its_own_path_deadline_and_metadata(silent: socket.socket) -> None:
    wire = Wire(end_of(silent))
    accepted, _ = silent.accept()
    h2 = engine.server_connection(10)
    calls = [("/a/A", 1.0, ()), ("/a/A", 1.0, ()), ("/a/B", 1.0, ()), ("/a/B", 2.5, ()), ("/a/B", None, (("k", "1"),))]
    for path, timeout_s, metadata in [*calls, ("/a/B", None, (("k", "2"),))]:
        stream = wire.begin(path, timeout_s, metadata)
        wire.send(stream, b"", is_last=True)
        with pytest.raises(CallFailed, match="Deadline Exceeded"):
            wire.receive(stream, time.monotonic())
        fields = asked(accepted, h2)
        assert fields[b":path"] == path.encode()
        assert fields.get(b"grpc-timeout") == (None if timeout_s is None else b"%du" % int(1e6 * timeout_s))
        assert fields.get(b"k") == (metadata[0][1].encode() if metadata else None)
    wire.close()
    accepted.close()


def test_an_answer_is_waited_for_until_its_time_and_not_for_that_of_the_call_before(silent: socket.socket) -> None:
    wire = Wire(end_of(silent))
    for timeout_s in (0.01, 0.0, 0.02):
        stream = wire.begin(PATH, timeout_s)
        wire.send(stream, b"", is_last=True)
        until = time.monotonic() + timeout_s
        with pytest.raises(CallFailed) as late:
            wire.receive(stream, until)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() >= until
        assert not wire.is_usable
    wire.close()


def test_what_the_other_side_does_not_read_is_waited_for_as_long_as_it_was_told() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        sending = Socket(ours)
        for wait_s in (0.0, 0.02):
            with pytest.raises(BlockingIOError):
                send_all(sending, bytes(64 << 20), wait_s)
            with pytest.raises(BlockingIOError):
                sending.recv(1, wait_s)
        sending.close()


def test_a_client_that_is_closed_ends_the_step_that_waits(silent: socket.socket) -> None:
    client = PolicyClient(f"127.0.0.1:{silent.getsockname()[1]}", transport="nghttp2", timeout_s=LONG_S)
    said: list[ClientError] = []

    def play() -> None:
        with client.episode("cartpole") as episode:
            try:
                episode.act(np.zeros(4))
            except ClientError as error:
                said.append(error)

    player = threading.Thread(target=play, daemon=True)
    player.start()
    accepted, _ = silent.accept()
    accepted.recv(1 << 16)  # the step has been sent
    client.close()
    player.join(LONG_S)
    assert [error.code for error in said] == [grpc.StatusCode.UNAVAILABLE]
    accepted.close()
