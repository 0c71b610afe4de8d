"""A client that goes on sending after it was answered is not asked for more, and its other calls go on."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from polserve.serving.grpc.nghttp2 import Nghttp2Carrier, Uncounted
from polserve.serving.grpc.shared import ConnectionLimits
from polserve.serving.grpc.unwanted import Unwanted
from polserve.serving.handlers.base import Quiet
from polserve.serving.http2.engine import STREAM_WINDOW_BYTES
from polserve.serving.methods import Call, Method
from polserve.serving.rounds import Rounds
from tests.support.http2 import RawClient, framed

MEASURE, NOWHERE = "/test/Measure", "/test/Nowhere"
LARGE = b"x" * (8 * STREAM_WINDOW_BYTES)
LIMITS = ConnectionLimits(1 << 24, max_streams=1024, max_reserved_bytes=1 << 26, keepalive_s=60, max_age_s=1e9)
UNIMPLEMENTED = 12


class Measuring(Quiet):
    """Answers with the number of a request's bytes."""

    def handle(self, calls: Sequence[Call]) -> None:
        for call in calls:
            call.reply(str(len(call.message)).encode())


class Counting(RawClient):
    """Counts the bytes that it sends."""

    n_sent = 0

    def flush(self) -> None:
        if out := self.h2.data_to_send():
            self.n_sent += len(out)
            self.socket.sendall(out)


def asked(ask: Callable[[Counting], Any]) -> Any:
    """What a client is told that asks a service with one method, over one connection."""

    async def serve() -> Any:
        rounds = Rounds(asyncio.get_running_loop(), lambda: None)
        carrier = Nghttp2Carrier([Method("test", "Measure", "unary", Measuring(), Uncounted())], rounds, LIMITS)
        port = carrier.bind("127.0.0.1", 0)
        await carrier.start()

        def connect() -> Any:
            with Counting(f"127.0.0.1:{port}") as client:
                return ask(client)

        try:
            return await asyncio.to_thread(connect)
        finally:
            await carrier.drain()
            await carrier.close()

    return asyncio.run(serve())


def test_no_more_is_asked_for_than_one_window_of_a_message_that_was_refused() -> None:
    def ask(client: Counting) -> tuple[int, int]:
        answer = client.call(NOWHERE, [framed(LARGE)])
        client.pump(0.2)
        return answer.status, client.n_sent

    status, n_sent = asked(ask)
    assert status == UNIMPLEMENTED
    assert n_sent < 1.1 * STREAM_WINDOW_BYTES


def test_empty_frames_of_a_refused_call_leave_nothing_behind() -> None:
    acknowledged: list[tuple[int, int]] = []
    unwanted = Unwanted(lambda stream_id, n_bytes: acknowledged.append((stream_id, n_bytes)))
    unwanted.take(1, 0)
    assert unwanted.withheld == {}
    unwanted.take(3, 10)
    assert acknowledged == []
    unwanted.forget(3)
    assert acknowledged == [(3, 10)]
    assert unwanted.withheld == {}


def test_a_message_that_is_wanted_comes_whole_after_many_that_were_not() -> None:
    def ask(client: Counting) -> list[Any]:
        refused = [client.begin(NOWHERE) for _ in range(20)]
        for stream_id in refused:  # more than the connection's window, all at once
            client.send(stream_id, framed(LARGE), end=True)
        answers = client.call(MEASURE, [framed(LARGE)]).messages
        return [*answers, *(client.wait(stream_id).status for stream_id in refused)]

    assert asked(ask) == [str(len(LARGE)).encode(), *[UNIMPLEMENTED] * 20]


def test_what_a_refused_message_took_of_the_connections_window_is_given_back() -> None:
    def ask(client: Counting) -> tuple[list[int], int]:
        return [client.call(NOWHERE, [framed(LARGE)]).status for _ in range(40)], client.n_sent

    statuses, n_sent = asked(ask)
    assert statuses == [UNIMPLEMENTED] * 40
    assert n_sent < 40 * 1.1 * STREAM_WINDOW_BYTES
