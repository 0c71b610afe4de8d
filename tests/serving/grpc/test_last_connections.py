"""Connections that come at the moment when a service stops: their clients are told to call elsewhere."""

import asyncio
import contextlib
import gc
import socket
from pathlib import Path

import pytest

from benchmarks.lean_link import GOAWAY, HEAD, SETTINGS, frame_of
from polserve.serving.grpc.listener import Ways
from polserve.serving.grpc.nghttp2 import Nghttp2Carrier
from polserve.serving.grpc.shared import ConnectionLimits
from polserve.serving.http2.engine import PREFACE
from polserve.serving.rounds import Rounds
from polserve.serving.tls import TlsFiles, watched_certificates
from tests.support.certificates import Authority

LIMITS = ConnectionLimits(8 << 20, max_streams=10, max_reserved_bytes=1 << 28, keepalive_s=60, max_age_s=1e9)
TURNS = range(5)
"""Turns of the loop between a client's connection and the service's end."""


def frames(data: bytes) -> list[int]:
    """The kinds of the frames that came."""
    kinds, at = list[int](), 0
    while at + HEAD.size <= len(data):
        high, low, kind, _, _ = HEAD.unpack_from(data, at)
        kinds.append(kind)
        at += HEAD.size + (high << 16 | low)
    return kinds


def received(client: socket.socket) -> bytes:
    """What a client receives until its connection ends."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(1 << 16):
            found += data
    return found


async def stop_beside(n_turns: int, ways: Ways) -> bytes:
    """Connect, stop the service after so many turns of its loop, and return what the client received."""
    carrier = Nghttp2Carrier([], Rounds(asyncio.get_running_loop(), lambda: None), LIMITS, ways)
    port = carrier.bind("127.0.0.1", 0)
    await carrier.start()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(PREFACE + frame_of(SETTINGS, 0, 0))
        for _ in range(n_turns):
            await asyncio.sleep(0)
        reading = asyncio.create_task(asyncio.to_thread(received, client))
        await carrier.drain()
        await carrier.close()
        return await reading


@pytest.mark.parametrize("n_turns", TURNS)
def test_a_client_that_has_just_connected_is_told_to_call_elsewhere(
    n_turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polserve.serving.grpc.ending.NOTICE_S", 0.01)
    found = asyncio.run(asyncio.wait_for(stop_beside(n_turns, Ways()), 20))
    gc.collect()  # a socket that was forgotten would warn now
    if n_turns > 2:  # else it may still wait to be accepted, and is refused by the system
        assert GOAWAY in frames(found)


@pytest.mark.parametrize("n_turns", TURNS)
def test_a_handshake_in_hand_is_ended(n_turns: int, tmp_path: Path) -> None:
    pair = Authority(tmp_path).sign("service")
    ways = Ways(certificates=watched_certificates(TlsFiles(pair.certificate, pair.key)))
    asyncio.run(asyncio.wait_for(stop_beside(n_turns, ways), 20))
    gc.collect()
