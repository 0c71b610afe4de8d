"""Answers that nobody reads hold a bounded amount of memory, and no longer than their connection lives."""

import asyncio
import gc
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hyperframe.frame import DataFrame, WindowUpdateFrame

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import to_tensor
from polserve.serving.client import PolicyClient
from polserve.serving.grpc.nghttp2 import Nghttp2Carrier
from polserve.serving.grpc.shared import STALL_S, ConnectionLimits
from polserve.serving.grpc.unread import FEW_BYTES, Unread
from polserve.serving.rounds import Rounds
from tests.support.http2 import framed
from tests.support.hyper import HyperPeer
from tests.support.running import service, wait_until

if TYPE_CHECKING:
    from polserve.serving.grpc.connection import Connection

INITIAL_WINDOW, MAX_FRAME = 4, 1 << 14
N = 60_000
"""Observations whose message is nearly a MiB, and whose answer is nearly half of it."""
LARGE = framed(
    pb.ActRequest(policy="cartpole", observation=to_tensor(np.zeros((N, 4), np.float32))).SerializeToString()
)
LIMITS = ConnectionLimits(1 << 20, 100, 4 << 20, 60.0, 300.0)


def large_call(peer: HyperPeer, number: int) -> None:
    """Make a call with a large answer, as far as the window of 64 KiB goes that every connection begins with."""
    pieces = [LARGE[start : start + MAX_FRAME] for start in range(0, len(LARGE), MAX_FRAME)]
    peer.send(peer.headers(number), *(DataFrame(number, piece) for piece in pieces))
    peer.send(DataFrame(number, b"", flags=["END_STREAM"]))


def test_large_answers_that_are_not_read_are_refused_beyond_one_message(policies: Path, tmp_path: Path) -> None:
    options = ("--policies", str(policies), "--front", "nghttp2", "--max-message-mib", "1")
    with service(*options, folder=tmp_path) as running, PolicyClient(running.target, timeout_s=30) as honest:
        wait_until(running.is_up, running.log)
        with HyperPeer(running.target, {INITIAL_WINDOW: 0}) as peer:
            peer.pump(1)  # the service's windows
            for number in (1, 3):
                large_call(peer, number)
                while not peer.stream(number).headers:
                    peer.pump(0.1)
            large_call(peer, 5)
            refused = peer.wait(5)
            assert refused.status == 8
            assert "bytes of answers are unread on this connection" in refused.details
            assert honest.act("cartpole", np.zeros((N, 4), np.float32)).action.shape == (N,)
            peer.send(WindowUpdateFrame(1, 1 << 20), WindowUpdateFrame(0, 1 << 20))
            assert peer.wait(1).status == 0
            large_call(peer, 7)
            while not peer.stream(7).headers:
                peer.pump(0.1)
            assert "grpc-status" not in peer.stream(7).headers, "there is room again"


@dataclass
class Held:
    """A connection, as far as its unread answers go."""

    limits: ConnectionLimits
    n_bytes: int = 0

    def unread_bytes(self) -> int:
        return self.n_bytes


@pytest.fixture
def held() -> Held:
    return Held(LIMITS)


@pytest.fixture
def unread(held: Held) -> Unread:
    return Unread(held, 0.0)  # type: ignore[arg-type]  # what it asks of a connection


def test_a_client_that_stops_reading_much_is_stuck_after_a_while(unread: Unread) -> None:
    assert not unread.is_stuck(1.0, FEW_BYTES + 1)
    assert not unread.is_stuck(STALL_S, FEW_BYTES + 1)
    assert unread.is_stuck(STALL_S + 1.1, FEW_BYTES + 1)


def test_a_client_that_reads_slowly_is_not_stuck(held: Held, unread: Unread) -> None:
    for second in range(100):  # it is answered faster than it reads
        assert unread.refusal(10_000) is None
        held.n_bytes += 9_000
        assert not unread.is_stuck(float(second), FEW_BYTES + held.n_bytes)


def test_a_client_that_reads_little_of_little_is_not_stuck(unread: Unread) -> None:
    assert not unread.is_stuck(0.0, FEW_BYTES)
    assert not unread.is_stuck(1000.0, FEW_BYTES)


def test_a_connection_that_has_ended_is_freed_at_once_with_what_was_unread() -> None:
    ends: list[weakref.ref[Connection]] = []

    async def connect_and_go() -> None:
        carrier = Nghttp2Carrier([], Rounds(asyncio.get_running_loop(), lambda: None), LIMITS)
        port = carrier.bind("127.0.0.1", 0)
        await carrier.start()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\4\0" + bytes(4))
        while not carrier.connections:  # noqa: ASYNC110 - it comes by itself
            await asyncio.sleep(0.01)
        ends.extend(weakref.ref(connection) for connection in carrier.connections)
        writer.close()
        while carrier.connections:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        await carrier.drain()
        await carrier.close()

    gc.collect()
    gc.disable()
    try:
        asyncio.run(connect_and_go())
        assert [end() for end in ends] == [None]
    finally:
        gc.enable()
