"""A loop with too much to do refuses calls before it has read them, and its clients see why."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from polserve.serving.errors import Overloaded
from polserve.serving.grpc.nghttp2 import Nghttp2Carrier
from polserve.serving.grpc.shared import ConnectionLimits
from polserve.serving.grpc.turned_away import Refused
from polserve.serving.handlers.base import Quiet
from polserve.serving.http2.engine import ErrorCode
from polserve.serving.methods import Call, Method
from polserve.serving.rounds import Rounds
from tests.support.http2 import RawClient, Stream, framed

WORK = "/test/Work"
WORK_S = 1e-3
CROWD = 1000
GRPC = "application/grpc"
"""More calls than a round answers."""
LIMITS = ConnectionLimits(1 << 20, max_streams=1024, max_reserved_bytes=1 << 24, keepalive_s=60, max_age_s=1e9)


class Working(Quiet):
    """Works a millisecond for each call."""

    def handle(self, calls: Sequence[Call]) -> None:
        for call in calls:
            time.sleep(WORK_S)
            call.reply(b"done")


class Counts:
    """What was counted of the calls."""

    def __init__(self) -> None:
        self.codes: list[str] = []
        self.reasons: list[str] = []

    def begin(self) -> None:
        """Nobody asks how many have begun."""

    def end(self, _seconds: float, code: str) -> None:
        self.codes.append(code)

    def refuse(self, reason: str) -> None:
        self.reasons.append(reason)

    def turn_away(self, n: int, reason: str, code: str) -> None:
        self.codes.extend([code] * n)
        self.reasons.extend([reason] * n)


class Crowded:
    """A carrier whose loop has hundreds of milliseconds of work to do, and a client that calls it then."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.n_answered = 0
        self.n_given_up = 0
        """Calls that the client makes first and gives up in the same breath."""

    def ask(self, *timeouts: str | None) -> list[tuple[int, str, dict[str, str]]]:
        """Return status, details and trailers of calls with these timeouts, once all that was asked is over."""
        return asyncio.run(self._serve(timeouts))

    async def _serve(self, timeouts: Sequence[str | None]) -> list[tuple[int, str, dict[str, str]]]:
        loop = asyncio.get_running_loop()
        method = Method("test", "Work", "unary", Working(), self.counts)
        carrier = Nghttp2Carrier([method], Rounds(loop, lambda: None), LIMITS)
        port = carrier.bind("127.0.0.1", 0)
        await carrier.start()
        try:
            return await asyncio.to_thread(self._call, f"127.0.0.1:{port}", timeouts)
        finally:
            await carrier.drain()
            await carrier.close()

    @staticmethod
    def _request(client: RawClient, **more: str) -> int:
        """Begin a call that leaves with the next flush."""
        names = {":method": "POST", ":scheme": "http", ":path": WORK, ":authority": "x", "te": "trailers"}
        fields = {**names, "content-type": GRPC, **more}
        return int(client.h2.send_request([(name.encode(), value.encode()) for name, value in fields.items()]))

    def _give_up(self, client: RawClient) -> None:
        """Send a call and its reset together, so that the service reads both at once."""
        stream_id = self._request(client, **{"grpc-timeout": "10m"})
        call = client.h2.data_to_send()
        client.h2.reset_stream(stream_id, ErrorCode.CANCEL)
        client.socket.sendall(call + client.h2.data_to_send())

    def _queue(self, client: RawClient) -> int:
        """Make a call that leaves with the next flush."""
        stream_id = self._request(client)
        client.streams[stream_id] = Stream()
        client.h2.send_data(stream_id, framed(b"x"), end_stream=True)
        return stream_id

    def _call(self, target: str, timeouts: Sequence[str | None]) -> list[tuple[int, str, dict[str, str]]]:
        with RawClient(target) as crowd, RawClient(target) as client:
            streams = [self._queue(crowd) for _ in range(CROWD)]
            crowd.flush()
            while not crowd.streams[streams[0]].is_closed:  # from then on the loop is behind, and knows it
                crowd.pump(0.01)
            for _ in range(self.n_given_up):
                self._give_up(client)
            asked = [client.begin(WORK, grpc_timeout=timeout) for timeout in timeouts]
            for stream in asked:
                client.send(stream, framed(b"x"), end=True)
            ended = [client.wait(stream) for stream in asked]
            self.n_answered = sum(crowd.wait(stream).status == 0 for stream in streams)
            assert client.call(WORK, [framed(b"x")], grpc_timeout="5S").status == 0, "the connection goes on"
            return [(stream.status, stream.details, stream.ended) for stream in ended]


@pytest.fixture
def crowded() -> Crowded:
    return Crowded()


def test_a_call_whose_deadline_would_pass_before_its_turn_is_refused_with_a_hint(crowded: Crowded) -> None:
    ((status, details, trailers),) = crowded.ask("10m")
    assert status == 8
    assert details.startswith("overloaded: the call would wait for ")
    assert int(trailers["grpc-retry-pushback-ms"]) >= 50
    assert crowded.counts.reasons == ["deadline"]
    assert crowded.counts.codes.count("RESOURCE_EXHAUSTED") == 1
    assert crowded.n_answered == CROWD, "who waits without a deadline is answered"


def test_a_call_that_can_wait_is_answered_in_its_turn(crowded: Crowded) -> None:
    assert [status for status, _, _ in crowded.ask("30S", None)] == [0, 0]
    assert crowded.counts.reasons == []


def test_calls_that_are_given_up_as_they_come_do_no_harm_to_those_beside_them(crowded: Crowded) -> None:
    crowded.n_given_up = 3  # the first is looked at, the others are like it
    assert [status for status, _, _ in crowded.ask("10m", "30S")] == [8, 0]
    assert crowded.counts.reasons == ["deadline"] * 4


def test_calls_that_say_the_same_are_refused_alike_and_each_is_counted(crowded: Crowded) -> None:
    ended = crowded.ask("10m", "10m", "10m", "11m")
    assert [status for status, _, _ in ended] == [8] * 4
    assert all(details.startswith("overloaded: ") for _, details, _ in ended)
    assert crowded.counts.reasons == ["deadline"] * 4
    assert crowded.counts.codes.count("RESOURCE_EXHAUSTED") == 4


@pytest.mark.parametrize(
    ("headers", "is_like"),
    [
        ([(b":path", b"/a"), (b"grpc-timeout", b"1S"), (b"te", b"trailers")], True),
        ([(b":path", b"/a"), (b"grpc-timeout", b"998m"), (b"te", b"trailers")], True),
        ([(b":path", b"/b"), (b"grpc-timeout", b"1S"), (b"te", b"trailers")], False),
        ([(b":path", b"/a"), (b"te", b"trailers")], False),
        ([(b":path", b"/a"), (b"x-request-id", b"1S"), (b"te", b"trailers")], False),
        ([(b":path", b"/a"), (b"grpc-timeout", b"1S"), (b"te", b"trailers"), (b"x-request-id", b"me")], False),
        ([], False),
    ],
)
def test_a_call_is_refused_like_another_where_they_differ_in_no_more_than_the_timeout(
    headers: list[tuple[bytes, bytes]], *, is_like: bool
) -> None:
    before = [(b":path", b"/a"), (b"grpc-timeout", b"1S"), (b"te", b"trailers")]
    method = Method("test", "Work", "unary", Working(), Counts())
    assert Refused(before, 1, method, "wait", "RESOURCE_EXHAUSTED", (), timeout_at=1).is_like(headers) is is_like
    by_deadline = Refused(before, 1, method, "deadline", "RESOURCE_EXHAUSTED", (), timeout_at=-1)
    assert by_deadline.is_like(headers) is (headers == before)


class Coming:
    """A call whose request is on its way."""

    method = Method("test", "Work", "unary", Working(), Counts())
    is_over, size, deadline = False, 1, None

    def __init__(self, active_at: float) -> None:
        self.active_at = active_at
        self.replies: list[bytes] = []

    def reply(self, response: bytes) -> None:
        self.replies.append(response)

    def flush(self) -> None:
        """It has nothing to send."""


def test_requests_on_their_way_count_as_waiting_until_they_come_or_for_a_while() -> None:
    async def reckon() -> list[float]:
        rounds = Rounds(asyncio.get_running_loop(), lambda: None)
        rounds.pressure.note_round(0, n_answered=1000, seconds=1.0)
        now = time.monotonic()
        late, *others = [Coming(now - 9), *(Coming(now + 9) for _ in range(600))]
        waits = []
        for change, some in (
            (rounds.expect, (late, *others[:100])),
            (rounds.add, others[:40]),
            (rounds.forget, others[40:50]),
            (rounds.expect, others),
        ):
            for one in some:
                change(one)  # type: ignore[arg-type]  # what rounds ask of a call
            rounds.touch(late)
            await asyncio.sleep(0.1)
            rounds.pressure.note_round(0, n_answered=1000, seconds=1.0)
            rounds.touch(late)
            await asyncio.sleep(0.01)
            waits.append(rounds.pressure.wait_s)
        return waits

    assert asyncio.run(reckon()) == pytest.approx([0.1, 0.06, 0.05, 0.256], rel=0.2)


def test_a_call_that_came_another_way_is_refused_like_any_other() -> None:
    class Patient:
        method = Method("test", "Work", "unary", Working(), Counts())
        deadline = None

    async def ask() -> None:
        rounds = Rounds(asyncio.get_running_loop(), lambda: None)
        rounds.pressure.note_round(40_000, n_answered=100, seconds=0.1)
        with pytest.raises(Overloaded, match="would wait for 40000 ms"):
            rounds.check_wait(Patient())  # type: ignore[arg-type]  # what it asks of a call

    asyncio.run(ask())
