"""Bytes that no honest client sends: the service goes on, and answers the next honest call."""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import to_tensor
from polserve.serving.client import PolicyClient
from polserve.serving.http2 import engine
from tests.support.faults import faults
from tests.support.http2 import ACT, EPISODE, RawClient, framed
from tests.support.running import Running, service, wait_until

OBSERVATION = np.zeros(4, np.float32)
BODY = framed(pb.ActRequest(policy="cartpole", observation=to_tensor(OBSERVATION)).SerializeToString())
START = framed(pb.EpisodeRequest(start=pb.EpisodeStart(policy="cartpole")).SerializeToString())
STEP = framed(pb.EpisodeRequest(step=pb.EpisodeStep(observation=to_tensor(OBSERVATION))).SerializeToString())
N_OPEN = 5_000
"""Streams of a client that is killed."""

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2, whatever sense it makes."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


HELLO = engine.PREFACE + frame(SETTINGS)
# :method POST, :scheme http, and :path, content-type and te as literals without indexing
BLOCK = b"\x83\x86" + b"".join(
    b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
    for name, value in ((b":path", ACT.encode()), (b"content-type", b"application/grpc"), (b"te", b"trailers"))
)
BEGIN = frame(HEADERS, END_HEADERS, 1, BLOCK)

SESSIONS = {
    "a body before its headers": HELLO + frame(DATA, 0, 1, BODY),
    "headers in the middle of a body": HELLO + BEGIN + frame(DATA, 0, 1, BODY[:9]) + frame(HEADERS, 4, 1, BLOCK),
    "trailers and then a body": HELLO + BEGIN + frame(HEADERS, 5, 1, b"") + frame(DATA, 1, 1, BODY),
    "a stream of the server's": HELLO + frame(HEADERS, END_HEADERS, 2, BLOCK),
    "a window that overflows": HELLO + BEGIN + frame(WINDOW, 0, 1, b"\x7f\xff\xff\xff") * 3,
    "a window of nothing": HELLO + BEGIN + frame(WINDOW, 0, 1, bytes(4)),
    "a window of zero for ever": engine.PREFACE
    + frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0")
    + BEGIN
    + frame(DATA, 1, 1, BODY),
    "settings without end": HELLO + frame(SETTINGS) * 5_000,
    "settings that lie": engine.PREFACE + frame(SETTINGS, 0, 0, b"\0\5\0\0\0\1"),
    "pings without end": HELLO + frame(PING, 0, 0, bytes(8)) * 5_000,
    "headers without end": HELLO + frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, 0, 1, b"\0\1x\1y") * 2_000,
    "a header list of a MiB": HELLO
    + frame(HEADERS, 0, 1, BLOCK)
    + frame(CONTINUATION, 0, 1, b"\0\1x\x7f\x80\x7f" * 99) * 99,
    "resets without end": HELLO
    + b"".join(frame(HEADERS, 4, 2 * i + 1, BLOCK) + frame(RESET, 0, 2 * i + 1, bytes(4)) for i in range(5_000)),
    "empty bodies without end": HELLO + BEGIN + frame(DATA, 0, 1) * 20_000,
    "a push of the client's": HELLO + BEGIN + frame(PUSH, END_HEADERS, 1, struct.pack(">I", 2) + BLOCK),
    "a reset of a stream that never was": HELLO + frame(RESET, 0, 77, bytes(4)),
    "a compression error": HELLO + frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff"),
    "a frame above the limit": HELLO + frame(DATA, 0, 1, bytes(2 << 20)),
    "a goaway and then a call": HELLO + frame(GOAWAY, 0, 0, bytes(8)) + BEGIN + frame(DATA, 1, 1, BODY),
}


@pytest.fixture(scope="module")
def running(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("hostile")
    options = ("--policies", str(policies), "--front", "nghttp2", "--max-streams", str(N_OPEN))
    with service(*options, folder=folder) as running:
        wait_until(running.is_up, running.log)
        yield running


def throw(running: Running, data: bytes) -> None:
    """Send bytes over a connection of their own, and read a little of what comes back."""
    host, port = running.target.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.settimeout(0.02)
        try:
            connection.sendall(data)
            connection.recv(1 << 16)
        except OSError:  # it was hung up on, or is told nothing
            return


def is_sound(running: Running) -> bool:
    """Whether an honest call is answered, and nothing went wrong inside."""
    found = faults(running.log.read_text())
    with PolicyClient(running.target, timeout_s=30) as client:
        is_answered = client.act("cartpole", OBSERVATION).version == "1"
    return is_answered and found == []


@pytest.mark.parametrize("name", SESSIONS)
def test_frames_that_break_the_rules_hold_up_no_honest_call(running: Running, name: str) -> None:
    throw(running, SESSIONS[name])
    assert is_sound(running)


def active(running: Running) -> float:
    lines = running.metrics().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("polserve_episodes_active"))


def test_a_client_that_is_killed_leaves_none_of_its_streams(running: Running) -> None:
    with RawClient(running.target) as client:
        for _ in range(N_OPEN):
            client.send(client.begin(EPISODE), START)
            client.pump(0)
        while active(running) < N_OPEN:
            client.pump(0.05)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # as the kernel ends it
    wait_until(lambda: active(running) == 0, running.log)
    assert is_sound(running)


def test_calls_whose_answers_are_never_read_are_cut_off(running: Running) -> None:
    host, port = running.target.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        client = engine.client_connection()
        fields = [(name.encode(), value.encode()) for name, value in {":method": "POST", ":scheme": "http"}.items()]
        fields += [
            (b":path", EPISODE.encode()),
            (b":authority", b"x"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
        ]
        stream_id = client.send_request(fields)
        client.send_data(stream_id, START)
        connection.settimeout(2)
        try:
            for _ in range(2_000):
                client.send_data(stream_id, STEP * 50)
                connection.sendall(client.data_to_send())
        except OSError:  # it takes no more: what is not read stops what is sent
            pass
        assert is_sound(running)
    wait_until(lambda: active(running) == 0, running.log)
