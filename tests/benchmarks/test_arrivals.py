"""The client of the benchmarks: it obeys the service's limits, and tells what became of each call."""

import argparse
import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.arrivals import Arrivals, Generator
from benchmarks.lean_link import Link
from polserve.serving.errors import Overloaded
from polserve.serving.grpc.listener import Ways
from polserve.serving.grpc.nghttp2 import Nghttp2Carrier, Uncounted
from polserve.serving.grpc.shared import ConnectionLimits
from polserve.serving.handlers.base import Quiet
from polserve.serving.http2.engine import STREAM_WINDOW_BYTES
from polserve.serving.methods import Call, Handler, Method
from polserve.serving.rounds import Rounds
from polserve.serving.tls import TlsFiles, watched_certificates
from tests.support.certificates import Authority, Pair

RATE, SECONDS = 200, 0.5


class Answering(Quiet):
    """Answers each call, and keeps how large it was."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.timeouts_s: list[float] = []

    def handle(self, calls: Sequence[Call]) -> None:
        for call in calls:
            self.sizes.append(len(call.message))
            self.timeouts_s.append((call.deadline or 0.0) - time.monotonic())
            call.reply(b"done")


class Refusing(Quiet):
    """Refuses each call."""

    def handle(self, calls: Sequence[Call]) -> None:
        for call in calls:
            call.fail(Overloaded("enough", 0.1, "queue"))


class Silent(Quiet):
    """Answers nothing."""

    def handle(self, calls: Sequence[Call]) -> None:
        pass


def arrive(  # noqa: PLR0913 - each is what a test sets
    handler: Handler,
    *,
    message: bytes = b"x",
    max_streams: int = 100,
    timeout_s: float = 10.0,
    max_age_s: float = 1e9,
    seconds: float = SECONDS,
    pair: Pair | None = None,
) -> Arrivals:
    """What becomes of calls to a service with this handler."""

    async def serve() -> Arrivals:
        rounds = Rounds(asyncio.get_running_loop(), lambda: None)
        limits = ConnectionLimits(8 << 20, max_streams, max_reserved_bytes=1 << 28, keepalive_s=60, max_age_s=max_age_s)
        methods = [Method("test", "Work", "unary", handler, Uncounted())]
        ways = Ways() if pair is None else Ways(certificates=watched_certificates(TlsFiles(pair.certificate, pair.key)))
        carrier = Nghttp2Carrier(methods, rounds, limits, ways)
        port = carrier.bind("127.0.0.1", 0)
        await carrier.start()
        options = argparse.Namespace(
            port=port, method="test/Work", bearer="", tls=pair is not None, connections=2, rate=RATE, seconds=seconds
        )
        options.warm_up, options.timeout = 0.0, timeout_s
        try:
            return await asyncio.to_thread(lambda: Generator(options, message).run())
        finally:
            await carrier.drain()
            await carrier.close()

    return asyncio.run(serve())


def test_every_call_is_answered_whole_also_where_it_is_larger_than_a_streams_window() -> None:
    small, large = Answering(), Answering()
    message = bytes(STREAM_WINDOW_BYTES + 100_000)
    for handler, sent, seconds in ((small, b"x", SECONDS), (large, message, 0.1)):
        found = arrive(handler, message=sent, seconds=seconds)
        n = found.n_due
        assert n >= RATE * seconds
        assert found.statuses == {"0": n, "late": 0, "unsent": 0}
        assert len(found.latencies_s) == n
        assert handler.sizes == [len(sent)] * n


def test_every_call_is_answered_whole_over_tls(tmp_path: Path) -> None:
    answering = Answering()
    message = bytes(STREAM_WINDOW_BYTES + 100_000)
    found = arrive(answering, message=message, seconds=0.1, pair=Authority(tmp_path).sign("service"))
    assert found.statuses == {"0": found.n_due, "late": 0, "unsent": 0}
    assert answering.sizes == [len(message)] * found.n_due


def test_refusals_are_told_apart() -> None:
    found = arrive(Refusing())
    assert found.statuses == {"8": found.n_due, "late": 0, "unsent": 0}
    assert len(found.refusal_latencies_s) == found.n_due
    assert not found.latencies_s


def test_calls_without_an_answer_end_at_their_deadline() -> None:
    found = arrive(Silent(), max_streams=3, timeout_s=0.1)
    assert sum(found.statuses.values()) == found.n_due
    assert "0" not in found.statuses
    assert found.statuses["late"] + found.statuses.get("4", 0) >= 2 * 3  # by the client, or by the service


def test_calls_without_a_stream_are_not_made() -> None:
    answering = Answering()
    found = arrive(answering, max_streams=0, timeout_s=0.1)
    # Until they hear of the limit, clients may begin calls; the service sends those back unseen.
    assert found.statuses == {"unsent": found.n_due, "late": 0}
    assert not answering.sizes


def test_calls_go_on_where_the_service_asks_to_connect_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answering, made = Answering(), []

    def connect(*arguments: Any, **options: Any) -> Link:
        made.append(Link(*arguments, **options))
        return made[-1]

    monkeypatch.setattr("benchmarks.arrivals.Link", connect)
    found = arrive(answering, max_age_s=0.5, seconds=3.0)
    assert found.statuses == {"0": found.n_due, "late": 0, "unsent": 0}
    assert len(answering.sizes) == found.n_due
    assert len(made) > 2, "the two that it began with, and those after them"


def test_the_service_is_told_the_time_that_is_left() -> None:
    answering = Answering()
    found = arrive(answering, timeout_s=5.0)
    assert len(answering.timeouts_s) == found.n_due
    assert all(4.0 < left_s <= 5.0 for left_s in answering.timeouts_s)
