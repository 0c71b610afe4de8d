"""Connections, metadata and calls a second are limited, and whoever keeps within the limits is answered."""

import contextlib
import re
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from polserve.protos.polserve.v1 import policy_pb2, policy_pb2_grpc
from polserve.serving.client import ClientError, Credentials, PolicyClient
from tests.support.certificates import Authority
from tests.support.http2 import ACT, EPISODE, RawClient, framed
from tests.support.running import Running, service, wait_until

OBSERVATION = [0.0, 0.0, 0.1, 0.5]
MOST = 100
KNOCKERS = 1500
FRONTS = ("nghttp2", "grpcio")


@contextlib.contextmanager
def limited(policies: Path, folder: Path, *options: object) -> Iterator[Running]:
    with service("--policies", str(policies), *map(str, options), folder=folder) as running:
        wait_until(running.is_up, running.log)
        yield running


@contextlib.contextmanager
def knocking(target: str, n: int) -> Iterator[None]:
    """Connections that say nothing, as many as there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, n + 1000)), hard))
    host, _, port = target.rpartition(":")
    with contextlib.ExitStack() as stack:
        for _ in range(n):
            knocker = stack.enter_context(socket.socket())
            knocker.setblocking(False)
            knocker.connect_ex((host, int(port)))
        yield


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_connections_that_say_nothing_do_not_keep_others_out(
    policies: Path, tmp_path: Path, *, is_encrypted: bool
) -> None:
    authority = Authority(tmp_path)
    pair = authority.sign("service")
    tls = ("--tls-cert", pair.certificate, "--tls-key", pair.key) if is_encrypted else ()
    credentials = Credentials(ca=authority.certificate) if is_encrypted else Credentials()
    with limited(policies, tmp_path, "--max-connections", MOST, *tls) as running, knocking(running.target, KNOCKERS):
        with PolicyClient(running.target, credentials=credentials, timeout_s=60) as client:
            assert client.act("cartpole", OBSERVATION).version == "1"
        assert "event=connections_full" in running.log.read_text()


def test_connections_above_the_limit_wait_until_there_is_room(policies: Path, tmp_path: Path) -> None:
    with limited(policies, tmp_path, "--max-connections", 4) as running, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RawClient(running.target)) for _ in range(4)]
        assert [client.call(ACT, [framed(b"")]).status for client in clients] == [5] * 4
        wait_until(lambda: "polserve_connections 4.0" in running.metrics(), running.log)
        late = stack.enter_context(RawClient(running.target))
        stream = late.begin(ACT)
        late.send(stream, framed(b""), end=True)
        assert not late.wait(stream, 0.5).is_closed
        clients[0].socket.close()
        assert late.wait(stream, 30).status == 5
        assert [client.call(ACT, [framed(b"")]).status for client in clients[1:]] == [5] * 3, "those are left alone"


@pytest.mark.parametrize("front", FRONTS)
def test_metadata_may_be_as_large_as_the_setting_says(policies: Path, tmp_path: Path, front: str) -> None:
    with (
        limited(policies, tmp_path, "--front", front, "--max-metadata-kib", "64") as running,
        grpc.insecure_channel(running.target) as channel,
    ):
        stub = policy_pb2_grpc.PolicyServiceStub(channel)

        def call(n_bytes: int) -> grpc.StatusCode:
            with pytest.raises(grpc.RpcError) as refusal:
                stub.GetPolicy(policy_pb2.GetPolicyRequest(), metadata=(("x-large", "x" * n_bytes),), timeout=20)
            code: grpc.StatusCode = refusal.value.code()
            return code

        assert call(60 * 1024) is grpc.StatusCode.NOT_FOUND, "which is the answer to what it asks"
        assert call(70 * 1024) is not grpc.StatusCode.NOT_FOUND
        assert call(0) is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize(
    "fields",
    [
        [("x-large", "x" * 20_000)],
        [(f"x-{i}", "x" * 900) for i in range(20)],
        [("x-same", "x" * 900)] * 20,
        [(f"x-{i}", "1") for i in range(500)],
    ],
)
def test_too_much_metadata_ends_its_own_call_and_no_other(
    policies: Path, tmp_path: Path, front: str, fields: list[tuple[str, str]]
) -> None:
    with limited(policies, tmp_path, "--front", front) as running, RawClient(running.target) as client:
        open_call = client.begin(ACT)
        refused = client.wait(client.begin(ACT, end=True, more=fields), 20)
        assert refused.status == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        client.send(open_call, framed(b""), end=True)
        assert client.wait(open_call, 20).status == grpc.StatusCode.NOT_FOUND.value[0]
        if front == "nghttp2":
            assert "metadata: 16 KiB are allowed" in refused.details
            assert 'polserve_calls_refused_total{grpc_method="Act",reason="size"} 1.0' in running.metrics()


@pytest.mark.parametrize("front", FRONTS)
def test_a_client_that_calls_too_often_is_refused_with_a_hint(policies: Path, tmp_path: Path, front: str) -> None:
    options = {"grpc.enable_retries": 0}
    with (
        limited(policies, tmp_path, "--front", front, "--max-call-rate", "0.01") as running,
        PolicyClient(running.target, options=options) as client,
    ):
        assert client.act("cartpole", OBSERVATION).version == "1"
        with pytest.raises(
            ClientError, match=r"RESOURCE_EXHAUSTED: this address makes more than 0\.01 calls"
        ) as refusal:
            client.act("cartpole", OBSERVATION)
        error = refusal.value.__cause__
        assert isinstance(error, grpc.Call)
        assert int(dict(error.trailing_metadata())["grpc-retry-pushback-ms"]) > 60_000
        assert 'polserve_calls_denied_total{reason="rate"} 1.0' in running.metrics()


def test_with_the_other_front_connections_above_the_limit_are_closed(policies: Path, tmp_path: Path) -> None:
    options = ("--front", "grpcio", "--max-connections", 4)
    with limited(policies, tmp_path, *options) as running, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(RawClient(running.target)) for _ in range(4)]
        assert [client.call(ACT, [framed(b"")]).status for client in clients] == [5] * 4
        late = stack.enter_context(RawClient(running.target))
        late.pump(60)
        assert late.is_closed
        clients[0].socket.close()
        wait_until(lambda: is_answered(running.target), running.log)


def is_answered(target: str) -> bool:
    """Whether a new connection has its call answered."""
    try:
        with RawClient(target) as client:
            return client.call(ACT, [framed(b"")]).status == 5
    except OSError:
        return False


def test_a_request_that_trickles_in_or_never_comes_ends_its_call_and_no_other(policies: Path, tmp_path: Path) -> None:
    with limited(policies, tmp_path, "--stall-timeout", "1") as running, RawClient(running.target) as client:
        silent, trickling, idle = client.begin(ACT), client.begin(EPISODE), client.begin(EPISODE)
        client.send(trickling, framed(b"x" * 5000)[:100])
        ended = [client.wait(stream, 30) for stream in (silent, trickling)]
        assert [stream.status for stream in ended] == [4, 4]
        assert "expected it whole within 1 s" in ended[0].details
        assert "got 95 bytes" in ended[1].details
        assert not client.streams[idle].is_closed, "an episode may wait between its messages"
        assert client.call(ACT, [framed(b"")]).status == 5
        assert 'polserve_calls_refused_total{grpc_method="Act",reason="slow_writer"} 1.0' in running.metrics()


def test_calls_that_grpcio_refuses_by_itself_are_counted_as_they_arrive(policies: Path, tmp_path: Path) -> None:
    options = ("--front", "grpcio", "--max-message-mib", "1", "--max-waiting", "1", "--max-episodes", "1")
    with (
        limited(policies, tmp_path, *options) as running,
        grpc.insecure_channel(running.target, [("grpc.max_send_message_length", -1)]) as channel,
    ):
        get = policy_pb2_grpc.PolicyServiceStub(channel).GetPolicy
        assert get(policy_pb2.GetPolicyRequest(policy="cartpole"), timeout=20).policy.name == "cartpole"
        with pytest.raises(grpc.RpcError, match="larger than max"):
            get(policy_pb2.GetPolicyRequest(policy="x" * 2**21), timeout=20)
        calls = [get.future(policy_pb2.GetPolicyRequest(policy="cartpole"), timeout=20) for _ in range(200)]
        n_answered = sum(call.exception() is None for call in calls)
        page = running.metrics()
    assert n_answered < 200, "the others were too many at once"
    stages = dict(re.findall(r'polserve_grpcio_calls_total{grpc_method="GetPolicy",stage="(.*)"} (.*)', page))
    assert stages == {"arrived": "202.0", "begun": f"{n_answered + 1}.0"}
