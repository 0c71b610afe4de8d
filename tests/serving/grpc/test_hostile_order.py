"""Frames that break HTTP/2's order or limits, made by hyper-h2's parts: only who sends them is told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import numpy as np
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import to_tensor
from polserve.serving.client import PolicyClient
from polserve.serving.client.sync import Episode
from tests.support.faults import faults
from tests.support.http2 import ACT, EPISODE, framed
from tests.support.hyper import HyperPeer
from tests.support.running import Running, service, wait_until

OBSERVATION = np.zeros(4, np.float32)
BODY = framed(pb.ActRequest(policy="cartpole", observation=to_tensor(OBSERVATION)).SerializeToString())
START = framed(
    pb.EpisodeRequest(start=pb.EpisodeStart(policy="cartpole", observation=to_tensor(OBSERVATION))).SerializeToString()
)
MAX_STREAMS = 100
MAX_WINDOW = 2**31 - 1
INITIAL_WINDOW = 4
"""Number of the setting SETTINGS_INITIAL_WINDOW_SIZE."""
END = ["END_STREAM"]
WHOLE = ["END_STREAM", "END_HEADERS"]

Frames = Callable[[HyperPeer], list[Frame | bytes]]


@dataclass(frozen=True)
class Ended:
    """The connection has ended; with this error, where it must be said."""

    code: ErrorCodes | None = None


@dataclass(frozen=True)
class Reset:
    """Stream 1 was reset, and the connection lives."""

    code: ErrorCodes


@dataclass(frozen=True)
class Answered:
    """Stream 1 has got this status, and the connection lives."""

    status: int = 0


def raw_settings(number: int, value: int) -> bytes:
    """A SETTINGS frame with a value that hyperframe would refuse."""
    return b"\0\0\6\4\0\0\0\0\0" + number.to_bytes(2, "big") + value.to_bytes(4, "big")


def flood(frame: Frame, n: int = 20_000) -> bytes:
    return frame.serialize() * n


def resets(peer: HyperPeer) -> list[Frame | bytes]:
    """More than a connection may begin and reset in a second."""
    numbers = range(1, 40_001, 2)
    return [frame for i in numbers for frame in (peer.headers(i), RstStreamFrame(i, ErrorCodes.CANCEL))]


def endless_headers(peer: HyperPeer) -> list[Frame | bytes]:
    return [HeadersFrame(1, peer.block()), flood(ContinuationFrame(1, peer.field("x", "y" * 200)), 5_000)]


CASES: dict[str, tuple[Frames, Ended | Reset | Answered]] = {
    "data before headers": (lambda _: [DataFrame(1, BODY, flags=END)], Ended(ErrorCodes.PROTOCOL_ERROR)),
    "headers in the middle of a message": (
        lambda peer: [peer.headers(1), DataFrame(1, BODY[:9]), peer.headers(1)],
        Reset(ErrorCodes.PROTOCOL_ERROR),
    ),
    "trailers in the middle of a message": (
        lambda peer: [peer.headers(1), DataFrame(1, BODY[:9]), HeadersFrame(1, peer.field("x", "y"), flags=WHOLE)],
        Answered(13),
    ),
    "trailers that end nothing": (
        lambda peer: [peer.headers(1), DataFrame(1, BODY[:9]), HeadersFrame(1, peer.field("x"), flags=["END_HEADERS"])],
        Reset(ErrorCodes.PROTOCOL_ERROR),
    ),
    "trailers after a message": (
        lambda peer: [peer.headers(1), DataFrame(1, BODY), HeadersFrame(1, peer.field("x", "y"), flags=WHOLE)],
        Answered(),
    ),
    "data after trailers": (
        lambda peer: [peer.headers(1), HeadersFrame(1, peer.field("x", "y"), flags=WHOLE), DataFrame(1, BODY)],
        Ended(ErrorCodes.STREAM_CLOSED),
    ),
    "data after the end": (
        lambda peer: [peer.headers(1), DataFrame(1, BODY, flags=END), DataFrame(1, BODY)],
        Ended(ErrorCodes.STREAM_CLOSED),
    ),
    "data between a header block's parts": (
        lambda peer: [HeadersFrame(1, peer.block()), DataFrame(1, BODY)],
        Ended(ErrorCodes.PROTOCOL_ERROR),
    ),
    "a stream with a server's number": (lambda peer: [peer.headers(2)], Ended(ErrorCodes.PROTOCOL_ERROR)),
    "a reset of what never was": (lambda _: [RstStreamFrame(77, 0)], Ended(ErrorCodes.PROTOCOL_ERROR)),
    "a window of 2^31 for a stream": (
        lambda peer: [peer.headers(1), *[WindowUpdateFrame(1, MAX_WINDOW)] * 2],
        Ended(ErrorCodes.FLOW_CONTROL_ERROR),
    ),
    "a window of 2^31 for the connection": (
        lambda _: [WindowUpdateFrame(0, MAX_WINDOW)] * 2,
        Ended(ErrorCodes.FLOW_CONTROL_ERROR),
    ),
    "a window of 2^31 for every stream": (
        lambda _: [raw_settings(INITIAL_WINDOW, 2**31)],
        Ended(ErrorCodes.FLOW_CONTROL_ERROR),
    ),
    "a message longer than it said": (
        lambda peer: [peer.headers(1, ACT, ("content-length", "3")), DataFrame(1, BODY, flags=END)],
        Reset(ErrorCodes.PROTOCOL_ERROR),
    ),
    "a frame above the limit": (
        lambda peer: [peer.headers(1), b"\xff\xff\xff\0\0\0\0\0\1" + bytes(1 << 20)],
        Ended(ErrorCodes.FRAME_SIZE_ERROR),
    ),
    "padding that lies": (
        lambda peer: [peer.headers(1), b"\0\0\2\0\x08\0\0\0\1\xff\0"],
        Ended(ErrorCodes.PROTOCOL_ERROR),
    ),
    "padding that is honest": (
        lambda peer: [peer.headers(1), DataFrame(1, BODY, pad_length=200, flags=["PADDED", "END_STREAM"])],
        Answered(),
    ),
    "frames of kinds that do not exist": (
        lambda peer: [b"\0\0\3\x99\0\0\0\0\1abc" * 10_000, peer.headers(1), DataFrame(1, BODY, flags=END)],
        Answered(),
    ),
    "headers that cannot be decompressed": (
        lambda _: [HeadersFrame(1, b"\xff\xff\xff\xff", flags=WHOLE)],
        Ended(ErrorCodes.COMPRESSION_ERROR),
    ),
    "a header list near the limit": (
        lambda peer: [peer.headers(1, ACT, ("x", "y" * 14_000)), DataFrame(1, BODY, flags=END)],
        Answered(),
    ),
    "a header list above the limit": (
        lambda peer: [
            HeadersFrame(1, peer.block()),
            *[ContinuationFrame(1, peer.field("x", "y" * 8_000))] * 3,
            ContinuationFrame(1, b"", flags=["END_HEADERS"]),
        ],
        Answered(8),
    ),
    "a header list at four times the limit": (
        lambda peer: [
            HeadersFrame(1, peer.block()),
            *[ContinuationFrame(1, peer.field("x", "y" * 16_000))] * 4,
            ContinuationFrame(1, peer.field("x", "y" * 2_000), flags=["END_HEADERS"]),
        ],
        Ended(),
    ),
    "300 headers": (
        lambda peer: [
            peer.headers(1, ACT, *((f"x{i}", "y") for i in range(300))),
            DataFrame(1, BODY, flags=END),
        ],
        Answered(),
    ),
    "3,000 headers": (
        lambda peer: [peer.headers(1, ACT, *((f"x{i}", "y") for i in range(3_000)))],
        Ended(),
    ),
    "headers that never end": (endless_headers, Ended()),
    "empty parts of headers that never end": (
        lambda peer: [HeadersFrame(1, peer.block()), flood(ContinuationFrame(1, b""))],
        Ended(),
    ),
    "settings without end": (lambda _: [flood(SettingsFrame(0, {INITIAL_WINDOW: 65_535}))], Ended()),
    "settings longer than any": (
        lambda _: [SettingsFrame(0, dict.fromkeys(range(1000, 1100), 1))],
        Ended(ErrorCodes.ENHANCE_YOUR_CALM),
    ),
    "pings without end": (lambda _: [flood(PingFrame(0, b"12345678"))], Ended()),
    "empty data without end": (lambda peer: [peer.headers(1), flood(DataFrame(1, b""))], Ended()),
    "priorities without end": (
        lambda _: [flood(PriorityFrame(1, depends_on=3, stream_weight=5), 11_000)],
        Ended(ErrorCodes.ENHANCE_YOUR_CALM),
    ),
    "calls that are reset as they begin": (resets, Ended(ErrorCodes.INTERNAL_ERROR)),
}


@pytest.fixture(scope="module")
def running(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("order")
    options = ("--policies", str(policies), "--front", "nghttp2", "--max-streams", str(MAX_STREAMS))
    with service(*options, folder=folder) as running:
        wait_until(running.is_up, running.log)
        yield running


@pytest.fixture(scope="module")
def honest(running: Running) -> Iterator[Episode]:
    """An episode of somebody else, which goes on meanwhile."""
    with PolicyClient(running.target, timeout_s=30) as client, client.episode("cartpole") as episode:
        yield episode


@pytest.mark.parametrize("name", CASES)
def test_frames_out_of_order_or_without_end_are_answered_as_http2_says(
    running: Running, honest: Episode, name: str
) -> None:
    make, expected = CASES[name]
    with HyperPeer(running.target) as peer:
        peer.send(*make(peer))
        match expected:
            case Ended(code):
                met = peer.wait_for_end()
                assert met.is_closed
                assert code is None or met.goaway == code
            case Reset(code):
                assert peer.wait(1).reset == code
            case Answered(status):
                assert peer.wait(1).status == status
        if not isinstance(expected, Ended):
            assert peer.call(3, ACT, BODY).status == 0
    assert honest.act(OBSERVATION).version == "1"
    assert faults(running.log.read_text()) == []


def test_calls_that_are_begun_and_never_fed_take_no_room_of_other_clients(running: Running, honest: Episode) -> None:
    numbers = range(1, 2 * MAX_STREAMS + 100, 2)
    with HyperPeer(running.target) as peer:
        peer.send(*(peer.headers(number) for number in numbers))
        refused = [peer.wait(number).reset for number in numbers[MAX_STREAMS:]]
        assert refused == [ErrorCodes.REFUSED_STREAM] * len(refused)
        assert not peer.met.is_closed
        assert honest.act(OBSERVATION).version == "1"
        peer.send(DataFrame(1, BODY, flags=END))
        assert peer.wait(1).status == 0


def test_a_client_with_a_window_of_zero_is_told_by_headers_alone(running: Running, honest: Episode) -> None:
    with HyperPeer(running.target, {INITIAL_WINDOW: 0}) as peer:
        answered = peer.headers(1, ACT)
        refused = peer.headers(3, ACT)
        late = peer.headers(5, EPISODE, ("grpc-timeout", "100m"))
        peer.send(answered, DataFrame(1, BODY, flags=END), refused, DataFrame(3, framed(b""), flags=END))
        peer.send(late, DataFrame(5, START))
        assert peer.wait(3).status == 5, "an error is trailers only, which no window holds up"
        assert honest.act(OBSERVATION).version == "1"
        assert peer.stream(1).headers[":status"] == "200"
        assert peer.stream(1).data == b""
        peer.send(WindowUpdateFrame(1, 1_000))
        assert peer.wait(1).status == 0


def test_a_client_that_pings_beside_all_data_of_a_large_answer_is_not_sent_away(running: Running) -> None:
    rows = to_tensor(np.zeros((50_000, 4), np.float32))
    body = framed(pb.ActRequest(policy="cartpole", observation=rows).SerializeToString())
    pieces = [DataFrame(1, body[start : start + 16_384]) for start in range(0, len(body), 16_384)]
    with HyperPeer(running.target, pings_back=True) as peer:
        peer.pump(0.5)  # the service's windows
        peer.send(peer.headers(1), *pieces, DataFrame(1, b"", flags=END))
        assert peer.wait(1).status == 0
        assert len(peer.stream(1).data) > 400_000, "in many frames, since the windows are of 64 KiB"
        assert peer.met.goaway is None


def test_hyper_h2_itself_plays_an_episode(running: Running) -> None:
    """A third implementation of HTTP/2, after grpcio's and nghttp2's own, and one that keeps to its rules strictly."""
    with HyperPeer(running.target, greets=False) as peer:
        client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        client.initiate_connection()
        names = (":method", ":scheme", ":path", ":authority", "content-type", "te")
        values = ("POST", "http", EPISODE, "polserve", "application/grpc", "trailers")
        client.send_headers(1, list(zip(names, values, strict=True)))
        client.send_data(1, START)
        step = framed(pb.EpisodeRequest(step=pb.EpisodeStep(observation=to_tensor(OBSERVATION))).SerializeToString())
        for _ in range(3):
            client.send_data(1, step)
        client.end_stream(1)
        body, trailers = b"", dict[str, str]()
        while not trailers:
            peer.send_bytes(client.data_to_send())
            for event in client.receive_data(peer.socket.recv(1 << 16)):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.TrailersReceived):
                    trailers = {name.decode(): value.decode() for name, value in event.headers}
        assert trailers["grpc-status"] == "0"
    assert body.count(b"cartpole") == 4
