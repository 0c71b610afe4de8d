"""Under overload clients send little of a message before it is wanted, and all of it as soon as it is."""

import asyncio
import math
from collections.abc import Sequence

from polserve.serving.grpc.nghttp2 import Nghttp2Carrier, Uncounted
from polserve.serving.grpc.shared import ConnectionLimits
from polserve.serving.grpc.width import NARROW_BYTES
from polserve.serving.handlers.base import Quiet
from polserve.serving.http2.engine import STREAM_WINDOW_BYTES
from polserve.serving.methods import Call, Method
from polserve.serving.rounds import Rounds
from tests.support.http2 import RawClient, framed

MEASURE = "/test/Measure"
LIMITS = ConnectionLimits(1 << 20, max_streams=1024, max_reserved_bytes=1 << 24, keepalive_s=60, max_age_s=1e9)
LARGE = b"x" * (10 * NARROW_BYTES)


class Measuring(Quiet):
    """Answers with the number of a request's bytes."""

    def handle(self, calls: Sequence[Call]) -> None:
        for call in calls:
            call.reply(str(len(call.message)).encode())


def window_of(client: RawClient) -> int:
    """What the client may send on a stream that it opens now."""
    stream_id = client.begin(MEASURE)
    window = client.h2.stream_remote_window_size(stream_id)
    client.send(stream_id, framed(b"x"), end=True)
    client.wait(stream_id)
    return window


async def measure(*, is_overloaded: bool) -> tuple[list[int], list[bytes]]:
    """Windows that a client has before, in and after an overload, and the answers to a large message in each."""
    rounds = Rounds(asyncio.get_running_loop(), lambda: None)
    carrier = Nghttp2Carrier([Method("test", "Measure", "unary", Measuring(), Uncounted())], rounds, LIMITS)
    port = carrier.bind("127.0.0.1", 0)
    await carrier.start()

    def ask() -> tuple[list[int], list[bytes]]:
        windows, answers = [], []
        with RawClient(f"127.0.0.1:{port}") as client:
            for is_crowded in (False, is_overloaded, False):
                rounds.pressure.crowded_until = math.inf if is_crowded else -math.inf
                window_of(client)  # the service looks, and says so with its answer
                windows.append(window_of(client))
                answers.extend(client.call(MEASURE, [framed(LARGE)]).messages)
        return windows, answers

    try:
        return await asyncio.to_thread(ask)
    finally:
        await carrier.drain()
        await carrier.close()


def test_streams_are_narrow_under_overload_only_and_what_is_let_in_comes_whole() -> None:
    windows, answers = asyncio.run(measure(is_overloaded=True))
    assert windows == [STREAM_WINDOW_BYTES, NARROW_BYTES, STREAM_WINDOW_BYTES]
    assert answers == [str(len(LARGE)).encode()] * 3


def test_without_overload_nothing_changes() -> None:
    windows, answers = asyncio.run(measure(is_overloaded=False))
    assert windows == [STREAM_WINDOW_BYTES] * 3
    assert len(answers) == 3
