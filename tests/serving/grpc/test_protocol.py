"""gRPC's rules over HTTP/2, each tried with a client that sends what it is told."""

import gzip
import socket
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import to_tensor
from polserve.serving.client import PolicyClient
from tests.support.http2 import ACT, EPISODE, RawClient, Stream, framed
from tests.support.running import Running, service, wait_until

OBSERVATION = np.zeros(4, np.float32)
REQUEST = pb.ActRequest(policy="cartpole", observation=to_tensor(OBSERVATION)).SerializeToString()
START = framed(pb.EpisodeRequest(start=pb.EpisodeStart(policy="cartpole")).SerializeToString())
STEP = framed(pb.EpisodeRequest(step=pb.EpisodeStep(observation=to_tensor(OBSERVATION))).SerializeToString())
BODY = framed(REQUEST)
OK, DEADLINE, EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 4, 8, 12, 13

Fronts = dict[str, Running]


def compressed(message: bytes) -> bytes:
    """The bytes as a message whose flag says that it is compressed."""
    return b"\1" + len(message).to_bytes(4, "big") + message


@pytest.fixture(scope="module")
def fronts(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronts]:
    """A service with each front."""
    folder = tmp_path_factory.mktemp("fronts")
    options = ("--policies", str(policies), "--max-streams", "64", "--max-message-mib", "4")
    with (
        service(*options, "--front", "nghttp2", folder=folder) as ours,
        service(*options, "--front", "grpcio", folder=folder) as public,
    ):
        for running in (ours, public):
            wait_until(running.is_up, running.log)
        yield {"nghttp2": ours, "grpcio": public}


@pytest.fixture(scope="module")
def ours(fronts: Fronts) -> Running:
    return fronts["nghttp2"]


@pytest.fixture
def raw(ours: Running) -> Iterator[RawClient]:
    with RawClient(ours.target) as client:
        yield client


def action_of(stream: Stream) -> pb.ActResponse:
    (message,) = stream.messages
    return pb.ActResponse.FromString(message)


CALLS: dict[str, tuple[Sequence[bytes], dict[str, str | None], int]] = {
    "one frame": ([BODY], {}, OK),
    "a frame for each byte": ([BODY[i : i + 1] for i in range(len(BODY))], {}, OK),
    "an empty frame at the end": ([BODY, b""], {}, OK),
    "two messages": ([BODY * 2], {}, OK),
    "no message": ([], {}, UNIMPLEMENTED),
    "an empty frame": ([b""], {}, UNIMPLEMENTED),
    "gzip": ([compressed(gzip.compress(REQUEST))], {"grpc_encoding": "gzip"}, OK),
    "deflate": ([compressed(zlib.compress(REQUEST))], {"grpc_encoding": "deflate"}, OK),
    "compressed and no encoding": ([compressed(gzip.compress(REQUEST))], {}, INTERNAL),
    "compressed as nothing": ([compressed(REQUEST)], {"grpc_encoding": "identity"}, INTERNAL),
    "no gzip": ([compressed(b"x")], {"grpc_encoding": "gzip"}, INTERNAL),
    "a deadline": ([BODY], {"grpc_timeout": "5S"}, OK),
    "a deadline that has passed": ([BODY], {"grpc_timeout": "0m"}, DEADLINE),
    "a deadline that is none": ([BODY], {"grpc_timeout": "soon"}, INTERNAL),
    "content type with proto": ([BODY], {"content_type": "application/grpc+proto"}, OK),
    "a length of 4 GiB": ([b"\0\xff\xff\xff\xff"], {}, EXHAUSTED),
    "an unknown method": ([BODY], {"__path": "/polserve.v1.PolicyService/Train"}, UNIMPLEMENTED),
    "metadata": ([BODY], {"x_any": "thing", "x_any_bin": "AAE"}, OK),
}


@pytest.mark.parametrize("front", ["nghttp2", "grpcio"])
@pytest.mark.parametrize("name", CALLS)
def test_both_fronts_end_a_call_with_the_same_status(fronts: Fronts, front: str, name: str) -> None:
    pieces, changes, status = CALLS[name]
    with RawClient(fronts[front].target) as client:
        stream = client.call(ACT, pieces, **changes)
    assert stream.status == status
    assert stream.is_closed
    if status == OK:
        assert action_of(stream).policy == "cartpole"


@pytest.mark.parametrize(
    ("changes", "http_status"),
    [({"__method": "GET"}, "405"), ({"content_type": "text/plain"}, "415"), ({"content_type": None}, "415")],
)
def test_what_is_no_grpc_gets_an_answer_of_http(
    raw: RawClient, changes: dict[str, str | None], http_status: str
) -> None:
    stream = raw.call(ACT, [BODY], **changes)
    assert stream.headers[":status"] == http_status
    assert b"this port speaks gRPC" in stream.data


@pytest.mark.parametrize("content_type", ["application/grpc+json", "application/grpcx"])
def test_another_encoding_of_messages_is_unimplemented(raw: RawClient, content_type: str) -> None:
    stream = raw.call(ACT, [BODY], content_type=content_type)
    assert stream.status == UNIMPLEMENTED
    assert "content-type: expected application/grpc or application/grpc+proto" in stream.details


def test_an_unknown_compression_is_unimplemented_and_the_known_ones_are_named(raw: RawClient) -> None:
    stream = raw.call(ACT, [compressed(b"x")], grpc_encoding="br")
    assert stream.status == UNIMPLEMENTED
    assert stream.ended["grpc-accept-encoding"] == "identity,deflate,gzip"


def test_a_bomb_is_refused_before_it_has_become_large(raw: RawClient) -> None:
    stream = raw.call(ACT, [compressed(gzip.compress(bytes(100 << 20)))], grpc_encoding="gzip")
    assert stream.status == EXHAUSTED
    assert "at most 4194304 bytes when decompressed" in stream.details


@pytest.mark.parametrize("cut", [2, len(BODY) - 1])
def test_a_message_that_ends_too_soon_is_named_so(raw: RawClient, cut: int) -> None:
    stream = raw.call(ACT, [BODY[:cut]])
    assert (stream.status, stream.details) == (INTERNAL, "the client ended the stream in the middle of a message")


def test_an_error_before_any_message_is_an_answer_of_trailers_only(raw: RawClient) -> None:
    stream = raw.call(ACT, [framed(b"")])
    assert stream.headers[":status"] == "200"
    assert stream.headers["content-type"] == "application/grpc"
    assert stream.headers["grpc-status"] == "5"
    assert stream.trailers == {}


def test_a_stream_that_its_client_does_not_end_is_reset_after_the_answer(raw: RawClient) -> None:
    stream_id = raw.begin()
    raw.send(stream_id, BODY)
    stream = raw.wait(stream_id)
    assert stream.status == OK
    assert stream.reset == 0, "NO_ERROR"


def test_streams_that_are_never_ended_leave_room_for_others(raw: RawClient) -> None:
    for _ in range(3):
        streams = [raw.begin() for _ in range(60)]
        for stream_id in streams:
            raw.send(stream_id, BODY)
        assert all(raw.wait(stream_id).status == OK for stream_id in streams)


def test_a_deadline_ends_a_call_whose_message_does_not_come(raw: RawClient) -> None:
    stream_id = raw.begin(grpc_timeout="200m")
    raw.send(stream_id, BODY[:3])
    assert raw.wait(stream_id).status == DEADLINE
    silent = raw.begin(grpc_timeout="100m")
    assert raw.wait(silent).status == DEADLINE


def test_a_deadline_ends_an_idle_stream(raw: RawClient) -> None:
    stream_id = raw.begin(EPISODE, grpc_timeout="300m")
    raw.send(stream_id, START)
    stream = raw.wait(stream_id)
    assert stream.status == DEADLINE
    assert len(stream.messages) == 1


def test_steps_that_are_sent_at_once_are_answered_in_order_and_before_the_end(raw: RawClient) -> None:
    stream_id = raw.begin(EPISODE)
    raw.send(stream_id, START + STEP * 50, end=True)
    stream = raw.wait(stream_id)
    assert stream.status == OK
    steps = [pb.EpisodeResponse.FromString(message).step for message in stream.messages]
    assert steps == list(range(51))


@pytest.mark.parametrize("pieces", [[framed(b"")[:2], framed(b"")[2:]], [framed(b""), b""]])
def test_an_empty_message_is_one_wherever_it_was_cut(raw: RawClient, pieces: list[bytes]) -> None:
    stream = raw.call("/polserve.v1.PolicyService/ListPolicies", pieces)
    assert (stream.status, len(stream.messages)) == (OK, 1)


def test_an_empty_message_among_others_of_a_stream_is_refused_as_such(raw: RawClient) -> None:
    stream = raw.call(EPISODE, [START + STEP + framed(b"") + STEP])
    assert (stream.status, len(stream.messages)) == (3, 2)
    assert "message: expected" in stream.details


def test_a_fault_in_one_call_touches_no_other_of_its_round(raw: RawClient) -> None:
    bad = to_tensor(np.array([0, np.nan, 0, 0], np.float32))
    wrong = framed(pb.ActRequest(policy="cartpole", observation=bad).SerializeToString())
    streams = [raw.h2.send_request(HEADERS) for _ in range(40)]
    for i, stream_id in enumerate(streams):
        raw.streams[stream_id] = Stream()
        raw.h2.send_data(stream_id, wrong if i == 17 else BODY, end_stream=True)
    raw.flush()
    statuses = [raw.wait(stream_id).status for stream_id in streams]
    assert statuses == [3 if i == 17 else 0 for i in range(40)]


HEADERS = tuple(
    (name.encode(), value.encode())
    for name, value in (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", ACT),
        (":authority", "polserve"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    )
)


def test_http1_on_the_port_is_told_what_it_speaks(ours: Running) -> None:
    host, port = ours.target.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = b""
        while data := connection.recv(4096):
            answer += data
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"this port speaks gRPC, over HTTP/2" in answer


def test_a_client_that_pings_without_end_is_sent_away(ours: Running) -> None:
    with RawClient(ours.target) as client:
        for _ in range(10):
            if client.goaway is None:
                client.h2.ping(b"12345678")
                client.pump(0.05)
        assert client.goaway is not None
        assert client.goaway.debug_data == b"too_many_pings"
        assert client.is_closed


def test_a_client_that_takes_its_leave_is_not_said_to_be_refused(ours: Running) -> None:
    with RawClient(ours.target) as client:
        client_address = "{} {}".format(*client.socket.getsockname())
        stream_id = client.begin(EPISODE)
        client.send(stream_id, START)
        client.take_until(lambda: client.streams[stream_id].messages)
        client.h2.send_goaway()
        client.send(stream_id, STEP, end=True)
        stream = client.wait(stream_id)
        assert (len(stream.messages), stream.status) == (2, OK), "what is in hand is answered"
        client.take_until(lambda: client.is_closed)
        assert client.is_closed
    assert client_address not in ours.log.read_text()


def test_pings_beside_calls_are_no_abuse(ours: Running) -> None:
    with RawClient(ours.target) as client:
        for _ in range(20):
            client.h2.ping(b"12345678")
            assert client.call(ACT, [BODY]).status == OK
        assert client.goaway is None


def test_a_client_that_resets_what_it_begins_is_answered_as_ever(raw: RawClient) -> None:
    for _ in range(300):
        stream_id = raw.begin()
        raw.send(stream_id, BODY[:10])
        raw.h2.reset_stream(stream_id)
        raw.flush()
    assert raw.call(ACT, [BODY]).status == OK


def test_more_calls_than_a_connection_may_have_are_refused_by_http2(raw: RawClient) -> None:
    assert raw.h2.remote_settings[3] == 64, "MAX_CONCURRENT_STREAMS"


def test_large_headers_end_the_stream_or_the_connection_and_nothing_else(ours: Running) -> None:
    with RawClient(ours.target) as client:
        client.call(ACT, [BODY], x_large="x" * 20_000)
    with PolicyClient(ours.target) as client_of_others:
        assert client_of_others.act("cartpole", OBSERVATION).version == "1"


def test_a_drained_service_tells_its_clients_and_answers_what_is_in_hand(policies: Path, tmp_path: Path) -> None:
    with service("--policies", str(policies), "--front", "nghttp2", folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        with RawClient(running.target) as client:
            stream_id = client.begin(EPISODE)
            client.send(stream_id, START)
            client.take_until(lambda: client.streams[stream_id].messages)
            running.process.terminate()
            client.take_until(lambda: client.goaway)
            assert client.goaway is not None
            client.send(stream_id, STEP)
            client.send(stream_id, framed(pb.EpisodeRequest(end=pb.EpisodeEnd()).SerializeToString()))
            stream = client.wait(stream_id)
            assert len(stream.messages) == 3
            assert (stream.status, stream.details[:8]) == (14, "draining")
            assert stream.is_closed, "clients lose the answer of a stream that is open when the connection closes"
        assert running.process.wait(60) == 0
