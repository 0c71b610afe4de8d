"""Whatever comes over the wire is answered with a status, and the service goes on."""

import os
import socket
from pathlib import Path

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.tensors import to_tensor
from polserve.serving.client import PolicyClient
from tests.support.running import Running, service, wait_until
from tests.support.versions import make_version

SERVICE = "/polserve.v1.PolicyService/"
OBSERVATION = make_version().golden["observation"][0]
ACT = pb.ActRequest(
    policy="cartpole", version="@champion", observation=to_tensor(OBSERVATION), with_values=True, epsilon=0.5
).SerializeToString()
EXPECTED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNIMPLEMENTED"}


class Raw:
    """Sends bytes to any method."""

    def __init__(self, target: str) -> None:
        self.channel = grpc.insecure_channel(target, [("grpc.max_send_message_length", -1)])

    def unary(self, method: str) -> "grpc.UnaryUnaryMultiCallable[bytes, bytes]":
        """A method, from bytes to bytes."""
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(SERVICE + method)
        return call

    def code(self, method: str, message: bytes, timeout_s: float = 20.0) -> str:
        """The name of the status that the message gets."""
        try:
            if method == "Episode":
                stream: grpc.StreamStreamMultiCallable[bytes, bytes] = self.channel.stream_stream(SERVICE + method)
                list(stream(iter([message]), timeout=timeout_s))
            else:
                self.unary(method)(message, timeout=timeout_s)
        except grpc.RpcError as error:
            return error.code().name
        return "OK"


@pytest.fixture(scope="module")
def raw(running: Running) -> Raw:
    return Raw(running.target)


METHODS = ("Act", "Episode", "ListPolicies", "GetPolicy")


@pytest.mark.parametrize("method", ["Act", "Episode"])
def test_a_message_cut_at_any_byte_is_answered_or_refused(raw: Raw, method: str) -> None:
    start = pb.EpisodeStart(policy="cartpole", observation=to_tensor(OBSERVATION), epsilon=0.5)
    message = ACT if method == "Act" else pb.EpisodeRequest(start=start).SerializeToString()
    codes = {raw.code(method, message[:length]) for length in range(len(message))}
    assert codes <= EXPECTED
    assert "INVALID_ARGUMENT" in codes
    assert raw.code(method, message) == "OK"


@given(method=st.sampled_from(METHODS), message=st.binary(max_size=300))
def test_random_bytes_are_refused(raw: Raw, method: str, message: bytes) -> None:
    assert raw.code(method, message) in EXPECTED


@given(position=st.integers(0, len(ACT) - 1), value=st.integers(0, 255))
def test_a_message_with_a_changed_byte_is_answered_or_refused(raw: Raw, position: int, value: int) -> None:
    assert raw.code("Act", ACT[:position] + bytes([value]) + ACT[position + 1 :]) in EXPECTED


@given(
    tensor=st.builds(
        pb.Tensor,
        dtype=st.sampled_from(list(range(8))),
        shape=st.lists(st.one_of(st.integers(-3, 5), st.integers(-(2**63), 2**63 - 1)), max_size=5),
        data=st.binary(max_size=40),
        values=st.lists(st.floats(width=32), max_size=9),
    )
)
def test_any_tensor_is_answered_or_refused(raw: Raw, tensor: pb.Tensor) -> None:
    request = pb.ActRequest(policy="cartpole", observation=tensor)
    assert raw.code("Act", request.SerializeToString()) in {"OK", "INVALID_ARGUMENT"}


@pytest.mark.parametrize(
    ("shape", "data", "message"),
    [
        ([4], bytes(12), "observation.data: expected 16 bytes for FLOAT32 (4,), got 12 bytes"),
        ([-1, 4], bytes(16), "observation.shape: expected extents of at least 0, got (-1, 4)"),
        ([2**62, 4], bytes(16), "observation.data: expected 73786976294838206464 bytes"),
        ([0, 4], b"", "observation.shape: expected at least one observation, got (0, 4)"),
        ([0], b"", "observation.shape: expected (4,) or (N, 4), got (0,)"),
        ([1] * 100, bytes(4), "observation.shape: expected at most 32 axes, got 100"),
    ],
)
def test_a_shape_that_lies_is_named(raw: Raw, shape: list[int], data: bytes, message: str) -> None:
    request = pb.ActRequest(policy="cartpole", observation=pb.Tensor(dtype=pb.FLOAT32, shape=shape, data=data))
    with pytest.raises(grpc.RpcError) as refusal:
        raw.unary("Act")(request.SerializeToString(), timeout=10)
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert message in (refusal.value.details() or "")


@pytest.mark.parametrize("name", ["x" * 20_000, "\N{SNOWMAN}" * 10_000])
def test_a_long_name_is_refused_as_a_short_one_is(raw: Raw, name: str) -> None:
    message = pb.ActRequest(policy=name, observation=to_tensor(OBSERVATION)).SerializeToString()
    assert raw.code("Act", message) == "NOT_FOUND"


def test_a_message_of_a_gigabyte_is_refused(raw: Raw, running: Running) -> None:
    assert raw.code("Act", bytes(1 << 30), timeout_s=60) == "RESOURCE_EXHAUSTED"
    assert raw.code("Act", ACT) == "OK"
    assert running.process.poll() is None


def test_an_unknown_method_is_unimplemented(raw: Raw) -> None:
    assert raw.code("Train", b"") == "UNIMPLEMENTED"


def test_thousands_of_connections_opened_and_dropped_leave_nothing(policies: Path, tmp_path: Path) -> None:
    openings = (b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", os.urandom(50))
    with service("--policies", str(policies), folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        host, port = running.target.rsplit(":", 1)
        files = Path(f"/proc/{running.process.pid}/fd")

        def n_files() -> int:
            return len(list(files.iterdir()))

        with PolicyClient(running.target) as client:
            client.act("cartpole", OBSERVATION)
            before = n_files()
            for i in range(10_000):
                with socket.create_connection((host, int(port)), timeout=10) as connection:
                    connection.sendall(openings[i % len(openings)])
            assert client.act("cartpole", OBSERVATION).version == "1"
            wait_until(lambda: n_files() <= before + 5, running.log)
            assert client.act("cartpole", np.zeros(4, np.float32)).version == "1"
