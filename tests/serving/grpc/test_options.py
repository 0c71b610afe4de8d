"""gRPC ignores an option that it does not know, so that a slip of the pen is never heard of."""

import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # its file is looked into

from polserve.serving.client.channel import channel_options
from polserve.serving.grpc.threads import ServerLimits
from tests.support.http2 import read

LIMITS = ServerLimits(2**26, 1024, 1024, 60.0, 300.0, is_port_shared=False)
LIBRARY = Path(cygrpc.__file__).read_bytes()
PING_INTERVAL_MS = 400
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7


@pytest.mark.parametrize("name", sorted({name for name, _ in [*LIMITS.options(), *channel_options("", {})]}))
def test_every_option_of_a_channel_or_server_is_one_that_the_library_has(name: str) -> None:
    assert name.encode() + b"\0" in LIBRARY


@contextmanager
def server_with_pings() -> Iterator[int]:
    """A server with our options, but for pings that may come sooner."""
    server = grpc.server(ThreadPoolExecutor(1), options=LIMITS.options(PING_INTERVAL_MS))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(0).wait()


def frame(kind: int, payload: bytes = b"") -> bytes:
    """An HTTP/2 frame of the connection."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, 0]) + bytes(4) + payload


def received_after(pings: int, interval_s: float) -> bytes:
    """What a server says to a client that sends pings and nothing else, until it falls silent or hangs up."""
    with server_with_pings() as port, socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(PREFACE + frame(SETTINGS))
        for _ in range(pings):
            time.sleep(interval_s)
            connection.sendall(frame(PING, bytes(8)))
        received = b""
        while piece := read(connection, 1.0):
            received += piece
        return received


def test_a_silent_client_may_ping_as_often_as_the_server_says() -> None:
    assert b"too_many_pings" not in received_after(5, 1.2 * PING_INTERVAL_MS / 1000)


def test_a_client_that_pings_more_often_is_sent_away() -> None:
    assert b"too_many_pings" in received_after(5, 0.05)


def test_a_ping_every_ten_seconds_is_allowed() -> None:
    allowed_ms = dict(LIMITS.options())["grpc.http2.min_ping_interval_without_data_ms"]
    assert 8_000 <= allowed_ms < 10_000
