"""No stream outlives its status: a connection that had bad calls answers the good ones that follow."""

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from polserve.protos.polserve.v1 import policy_pb2 as pb
from tests.conftest import KINDS
from tests.support.running import Running, service, wait_until

MAX_STREAMS = 32
"""On a connection: one call more than these fails if each leaves a stream behind."""
MALFORMED = b"\xff\xff\xff"

UNARY = [
    "/grpc.health.v1.Health/Check",
    "/polserve.v1.PolicyService/Act",
    "/polserve.v1.PolicyService/ListPolicies",
    "/polserve.v1.PolicyService/GetPolicy",
    "/polserve.v1.BudgetService/Allocate",
]
STREAMS = [
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/polserve.v1.PolicyService/Episode",
]


@pytest.fixture(scope="module", params=["nghttp2", "grpcio"])
def narrow(
    request: pytest.FixtureRequest, policies: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A service that allows few streams on a connection."""
    folder = tmp_path_factory.mktemp("narrow")
    options = ("--policies", str(policies), "--max-streams", str(MAX_STREAMS), *KINDS[request.param])
    with service(*options, folder=folder) as running:
        wait_until(running.is_up, running.log)
        yield running


def code_of(call: grpc.Call) -> tuple[str, str]:
    """How a call ended."""
    return call.code().name, call.details() or ""


def is_refused(ended: tuple[str, str]) -> bool:
    """Whether the connection had no room: grpcio's server still counts a stream that its client has seen end."""
    return ended[0] == "UNAVAILABLE" and "RST_STREAM with error code 7" in ended[1]


@pytest.mark.parametrize("method", UNARY)
def test_a_malformed_message_ends_its_stream(narrow: Running, method: str) -> None:
    with grpc.insecure_channel(narrow.target) as channel:
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        ended = {code_of(ask.future(MALFORMED, timeout=10)) for _ in range(MAX_STREAMS + 2)}
    assert len(ended) == 1
    code, details = ended.pop()
    assert code == "INVALID_ARGUMENT"
    assert "got 3 bytes that cannot be parsed as one" in details


@pytest.mark.parametrize("method", STREAMS)
def test_a_malformed_message_ends_a_stream_that_its_client_holds_open(
    narrow: Running, method: str, request: pytest.FixtureRequest
) -> None:
    is_over = threading.Event()

    def messages() -> Iterator[bytes]:
        yield MALFORMED
        is_over.wait(30)

    with grpc.insecure_channel(narrow.target) as channel:
        ask: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(method)
        ended = {code_of(call) for call in [ask(messages(), timeout=10) for _ in range(MAX_STREAMS + 2)]}
        wait_until(lambda: not is_refused(code_of(ask(messages(), timeout=10))))
    is_over.set()
    is_grpcio = request.node.callspec.params["narrow"] == "grpcio"
    assert {code for code, details in ended if not (is_grpcio and is_refused((code, details)))} == {"INVALID_ARGUMENT"}


@pytest.mark.parametrize("method", [*UNARY, *STREAMS, "/polserve.v1.PolicyService/Nothing"])
def test_a_call_without_a_message_ends_its_stream(narrow: Running, method: str) -> None:
    with grpc.insecure_channel(narrow.target) as channel:
        ask: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(method)
        ended = {code_of(ask(iter(()), timeout=10))[0] for _ in range(MAX_STREAMS + 2)}
    assert len(ended) == 1
    assert ended < {"OK", "UNIMPLEMENTED"}


def test_idle_streams_of_reflection_take_no_thread_from_other_calls(narrow: Running) -> None:
    is_over = threading.Event()

    def requests() -> Iterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        is_over.wait(60)

    channels = [grpc.insecure_channel(narrow.target, [("grpc.use_local_subchannel_pool", 1)]) for _ in range(5)]
    try:
        for channel in channels[:4]:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            streams = [stub.ServerReflectionInfo(requests()) for _ in range(MAX_STREAMS)]
            assert len(streams) == MAX_STREAMS
        health = health_pb2_grpc.HealthStub(channels[4])
        assert (
            health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == health_pb2.HealthCheckResponse.SERVING
        )
    finally:
        is_over.set()
        for channel in channels:
            channel.close()


def test_a_health_check_of_a_policy_that_is_not_live_says_what_may_be_asked(narrow: Running) -> None:
    with grpc.insecure_channel(narrow.target) as channel, pytest.raises(grpc.RpcError) as refusal:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="go"), timeout=10)
    assert isinstance(refusal.value, grpc.Call)
    assert code_of(refusal.value) == ("NOT_FOUND", "service: expected '' or the name of a live policy, got 'go'")


def test_health_lists_the_service_and_each_policy(narrow: Running) -> None:
    with grpc.insecure_channel(narrow.target) as channel:
        listed = health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest(), timeout=10).statuses
    assert {name: one.status for name, one in listed.items()} == dict.fromkeys(
        ("", *narrow.ready()["policies"]), health_pb2.HealthCheckResponse.SERVING
    )


@pytest.mark.parametrize("method", ["ListPolicies", "GetPolicy"])
def test_a_message_without_observations_may_not_be_large(narrow: Running, method: str) -> None:
    with grpc.insecure_channel(narrow.target) as channel:
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/polserve.v1.PolicyService/{method}")
        code, details = code_of(ask.future(pb.GetPolicyRequest(policy="x" * (2 << 20)).SerializeToString(), timeout=10))
    assert code == "INVALID_ARGUMENT"
    assert "expected at most 1048576 bytes of" in details
