"""Over gRPC, on each front: who may call what, and what those learn who may not."""

import contextlib
import json
import queue
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from polserve.protos.polserve.oip.v2 import inference_pb2
from polserve.protos.polserve.v1 import policy_pb2, policy_pb2_grpc
from polserve.serving.access.access_file import add_token
from polserve.serving.client import ClientError, Credentials, PolicyClient, request_id
from polserve.serving.client.transport import TransportName
from tests.support.certificates import Authority
from tests.support.http2 import ACT, EPISODE, RawClient, framed
from tests.support.running import Running, service, wait_until
from tests.support.web_tokens import AUDIENCE, ISSUER, Issuer, key_server, key_set

OBSERVATION = [0.0, 0.0, 0.1, 0.5]
FRONTS = ("nghttp2", "grpcio")
OIP = "/inference.GRPCInferenceService/"
UNAUTHENTICATED, PERMISSION_DENIED = 16, 7


@pytest.fixture(scope="module")
def access_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("access") / "access.toml"


@pytest.fixture(scope="module")
def tokens(access_file: Path) -> Mapping[str, str]:
    """Tokens by what they are for; "narrow" sees one of the two policies, and would see one that is not there."""
    policies = {"act": [], "narrow": ["cartpole", "nobod*"], "observe": ["frames"]}
    roles = {"act": "act", "narrow": "act", "observe": "observe"}
    return {name: add_token(access_file, name, roles[name], policies[name], None) for name in roles}


@pytest.fixture(scope="module")
def guarded(
    options: tuple[str, ...], policies: Path, access_file: Path, tokens: Mapping[str, str]
) -> Iterator[Running]:
    """A service of each kind that knows the tokens."""
    assert tokens
    arguments = ("--policies", str(policies), "--access", str(access_file), "--metrics-access", "open", *options)
    with service(
        *arguments, "--audit-log", str(access_file.parent / "audit.jsonl"), folder=access_file.parent
    ) as running:
        wait_until(running.is_up, running.log)
        yield running


def test_the_audit_log_tells_who_was_denied_and_what_went_live_but_no_token(
    guarded: Running, tokens: Mapping[str, str], access_file: Path
) -> None:
    path = access_file.parent / "audit.jsonl"
    with client_of(guarded, tokens["observe"]) as client, request_id("order-4711"), pytest.raises(ClientError):
        client.act("cartpole", OBSERVATION)

    def told() -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text().splitlines()]

    wait_until(lambda: any(line.get("request_id") == "order-4711" for line in told()), guarded.log)
    denied = next(line for line in told() if line.get("request_id") == "order-4711")
    assert (denied["event"], denied["caller"], denied["reason"]) == ("call_denied", "observe", "role")
    assert denied["method"] == "/polserve.v1.PolicyService/Act"
    live = [line for line in told() if line["event"] == "aliases_switched" and line["policy"] == "cartpole"]
    assert live[-1]["aliases"] == {"champion": "1"}
    assert not any(token in path.read_text() for token in tokens.values())


def client_of(running: Running, token: str | None, transport: TransportName = "grpcio") -> PolicyClient:
    return PolicyClient(running.target, credentials=Credentials(token=token), transport=transport)


@pytest.mark.parametrize("transport", ["grpcio", "nghttp2"])
def test_a_caller_with_a_token_is_answered(
    guarded: Running, tokens: Mapping[str, str], transport: TransportName
) -> None:
    with client_of(guarded, tokens["act"], transport) as client:
        assert client.act("cartpole", OBSERVATION).version == "1"
        assert [policy.name for policy in client.policies()] == ["cartpole", "frames"]
        with client.episode("cartpole") as episode:
            assert episode.act(OBSERVATION).version == "1"


def test_who_is_not_known_and_who_may_not_are_told_apart(guarded: Running, tokens: Mapping[str, str]) -> None:
    for token, code in (
        (None, "UNAUTHENTICATED"),
        ("wrong", "UNAUTHENTICATED"),
        (tokens["observe"], "PERMISSION_DENIED"),
    ):
        with client_of(guarded, token) as client:
            with pytest.raises(ClientError, match=f"{code}: authorization: expected") as refusal:
                client.act("cartpole", OBSERVATION)
            assert str(token) not in str(refusal.value)
            with pytest.raises(ClientError, match=code), client.episode("cartpole") as episode:
                episode.act(OBSERVATION)
    with client_of(guarded, tokens["observe"]) as client:
        assert [policy.name for policy in client.policies()] == ["frames"]
    metrics = guarded.metrics()
    assert 'polserve_calls_denied_total{reason="none"}' in metrics
    assert 'polserve_calls_denied_total{reason="role"}' in metrics
    assert 'grpc_code="UNAUTHENTICATED",grpc_method="Act"' in metrics
    assert "event=call_denied" in guarded.log.read_text()


def test_a_policy_that_one_may_not_see_is_like_one_that_is_not_there(
    guarded: Running, tokens: Mapping[str, str]
) -> None:
    with client_of(guarded, tokens["narrow"]) as client:
        assert client.act("cartpole", OBSERVATION).version == "1"
        assert [policy.name for policy in client.policies()] == ["cartpole"]

        def refusals(name: str) -> list[str]:
            """What each call says of a policy, with its name taken out."""
            found = []
            with client.episode(name) as episode:
                calls = (
                    lambda: client.act(name, OBSERVATION),
                    lambda: client.act(name, OBSERVATION, version="1"),
                    lambda: client.policy(name),
                    lambda: episode.act(OBSERVATION),
                )
                for call in calls:
                    with pytest.raises(ClientError) as refusal:
                        call()
                    found.append(str(refusal.value).replace(name, "NAME"))
            return found

        assert refusals("frames") == refusals("nobody")
        assert all("NOT_FOUND" in text and "live are cartpole" in text for text in refusals("frames"))


def test_the_open_inference_protocol_keeps_the_same_rules(guarded: Running, tokens: Mapping[str, str]) -> None:
    with RawClient(guarded.target) as raw:

        def call(method: str, message: bytes, token: str = "") -> tuple[int, list[bytes], str]:
            headers = {"authorization": f"Bearer {token}"} if token else {}
            stream = raw.call(OIP + method, [framed(message)], **headers)
            return stream.status, stream.messages, stream.details

        names = ("frames", "none")
        hidden, missing = (inference_pb2.ModelReadyRequest(name=name).SerializeToString() for name in names)
        assert call("ServerLive", b"")[0] == call("ModelReady", hidden)[0] == 0
        assert call("ModelReady", hidden, tokens["narrow"]) == call("ModelReady", missing, tokens["narrow"])
        assert call("ModelReady", hidden, tokens["act"])[1] != call("ModelReady", missing, tokens["act"])[1]
        ask = {name: inference_pb2.ModelMetadataRequest(name=name).SerializeToString() for name in names}
        told = [call("ModelMetadata", ask[name], tokens["narrow"]) for name in ask]
        assert told[0][2].replace("frames", "none") == told[1][2]
        assert call("ModelMetadata", ask["frames"])[0] == UNAUTHENTICATED
        infer = inference_pb2.ModelInferRequest(model_name="cartpole").SerializeToString()
        assert call("ModelInfer", infer)[0] == UNAUTHENTICATED
        assert call("ModelInfer", infer, tokens["observe"])[0] == PERMISSION_DENIED
        assert call("ModelStatistics", b"", tokens["narrow"])[1][0].count(b"cartpole") == 1
        assert b"frames" not in call("ModelStatistics", b"", tokens["narrow"])[1][0]
        assert b"frames" not in call("RepositoryIndex", b"", tokens["narrow"])[1][0]


def test_health_is_open_and_tells_of_policies_only_those_who_see_them(
    guarded: Running, tokens: Mapping[str, str]
) -> None:
    with grpc.insecure_channel(guarded.target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        bearer = (("authorization", f"Bearer {tokens['narrow']}"), ("authorization", f"Bearer {tokens['act']}"))
        visible, hidden = (health_pb2.HealthCheckRequest(service=name) for name in ("cartpole", "frames"))
        assert health.Check(visible, metadata=bearer).status == health_pb2.HealthCheckResponse.SERVING
        for request, metadata in ((visible, ()), (hidden, ()), (hidden, bearer)):
            with pytest.raises(grpc.RpcError) as refusal:
                health.Check(request, metadata=metadata)
            assert refusal.value.code() is grpc.StatusCode.NOT_FOUND
            watched = next(health.Watch(request, metadata=metadata))
            assert watched.status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def test_reflection_is_for_those_who_may_observe(guarded: Running, tokens: Mapping[str, str]) -> None:
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    with grpc.insecure_channel(guarded.target) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        bearer = (("authorization", f"Bearer {tokens['observe']}"),)
        assert next(stub.ServerReflectionInfo(iter([ask]), metadata=bearer)).list_services_response.service
        with pytest.raises(grpc.RpcError) as refusal:
            next(stub.ServerReflectionInfo(iter([ask])))
        assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_token_stands_in_no_log_page_or_list_of_processes(guarded: Running, tokens: Mapping[str, str]) -> None:
    with client_of(guarded, tokens["act"]) as client:
        client.act("cartpole", OBSERVATION)
    process = psutil.Process(guarded.process.pid)
    told = [" ".join(one.cmdline()) for one in (process, *process.children(recursive=True))]
    told += [guarded.log.read_text(), guarded.metrics(), guarded.ready_page()[1]]
    assert not [text for text in told for token in tokens.values() if token in text]


def test_metadata_of_a_megabyte_is_refused_and_the_next_call_answered(
    guarded: Running, tokens: Mapping[str, str]
) -> None:
    metadata = (("authorization", "x" * 2**20),)
    with grpc.insecure_channel(guarded.target) as channel, pytest.raises(grpc.RpcError):
        policy_pb2_grpc.PolicyServiceStub(channel).Act(policy_pb2.ActRequest(), metadata=metadata, timeout=10)
    with client_of(guarded, tokens["act"]) as client:
        assert client.act("cartpole", OBSERVATION).version == "1"


def test_a_stranger_is_told_so_who_ends_a_stream_at_once_or_sends_nonsense(guarded: Running) -> None:
    with RawClient(guarded.target) as raw:
        assert raw.call(ACT, [framed(b"nonsense")]).status == UNAUTHENTICATED
        assert raw.call(EPISODE, []).status == UNAUTHENTICATED


@pytest.mark.parametrize("front", FRONTS)
def test_open_streams_end_when_their_token_is_taken_back(policies: Path, tmp_path: Path, front: str) -> None:
    listed = tmp_path / "access.toml"
    token = add_token(listed, "robot", "act", [], None)
    with contextlib.ExitStack() as stack:
        options = ("--policies", str(policies), "--front", front, "--access", str(listed))
        running = stack.enter_context(service(*options, folder=tmp_path))
        wait_until(running.is_up, running.log)
        channel = stack.enter_context(grpc.insecure_channel(running.target))
        shown = {"metadata": (("authorization", f"Bearer {token}"),), "timeout": 60}
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), **shown)
        asked = queue.SimpleQueue[reflection_pb2.ServerReflectionRequest | None]()
        asked.put(reflection_pb2.ServerReflectionRequest(list_services=""))
        reflecting = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter(asked.get, None), **shown
        )
        episode = stack.enter_context(stack.enter_context(client_of(running, token)).episode("cartpole"))
        assert any(told.status == health_pb2.HealthCheckResponse.SERVING for told in watching), (
            "it may come up just now"
        )
        assert len(next(reflecting).list_services_response.service) == 5
        assert episode.act(OBSERVATION).version == "1"
        listed.unlink()
        add_token(listed, "another", "act", [], None)
        for stream in (watching, reflecting):
            with pytest.raises(grpc.RpcError) as ended:
                list(stream)
            assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(ClientError, match="UNAUTHENTICATED"):
            episode.act(OBSERVATION)
        asked.put(None)


@pytest.mark.parametrize("front", FRONTS)
def test_calls_whose_keys_are_being_fetched_wait_for_them(policies: Path, tmp_path: Path, front: str) -> None:
    issuer = Issuer()
    with contextlib.ExitStack() as stack:
        keys = stack.enter_context(key_server(b"not yet"))
        jwt = ("--jwt-keys", keys.url, "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE)
        options = ("--policies", str(policies), "--front", front, *jwt)
        running = stack.enter_context(service(*options, folder=tmp_path))
        wait_until(running.is_up, running.log)
        keys.contents = key_set(issuer)
        keys.may_answer.clear()
        n_asked = keys.n_asked
        wait_until(lambda: keys.n_asked > n_asked, running.log)  # a fetch is under way now
        good, bad = client_of(running, issuer.token()), client_of(running, Issuer("other").token())
        pool = stack.enter_context(ThreadPoolExecutor(4))
        answers: list[Future[Any]] = [pool.submit(good.act, "cartpole", OBSERVATION), pool.submit(good.policies)]
        episode = stack.enter_context(good.episode("cartpole"))
        answers.append(pool.submit(episode.act, OBSERVATION))
        refused = pool.submit(bad.act, "cartpole", OBSERVATION)
        threading.Event().wait(0.5)  # so that they have arrived
        assert not any(answer.done() for answer in (*answers, refused))
        keys.may_answer.set()
        assert [bool(answer.result(20)) for answer in answers] == [True, True, True]
        with pytest.raises(ClientError, match=r"UNAUTHENTICATED.*key is not among those of the issuer"):
            refused.result(20)
        assert keys.n_asked == n_asked + 1


@pytest.mark.parametrize("front", FRONTS)
def test_a_certificate_may_say_who_calls(policies: Path, tmp_path: Path, front: str) -> None:
    authority = Authority(tmp_path)
    pair = authority.sign("service")
    own = {name: authority.sign(name, hosts=(), uri=f"spiffe://example/{name}") for name in ("robot", "viewer", "else")}
    listed = tmp_path / "access.toml"
    listed.write_text(
        '[[certificate]]\nname = "spiffe://example/robot"\nrole = "act"\npolicies = ["cartpole"]\n\n'
        '[[certificate]]\nname = "viewer"\nrole = "observe"\n'
    )
    files = ("--tls-cert", pair.certificate, "--tls-key", pair.key, "--tls-client-ca", authority.certificate)
    options = ("--policies", policies, "--front", front, "--access", listed, *files)
    with service(*map(str, options), folder=tmp_path) as running:
        wait_until(running.is_up, running.log)
        clients = {
            name: PolicyClient(
                running.target,
                credentials=Credentials(ca=authority.certificate, certificate=shown.certificate, key=shown.key),
            )
            for name, shown in own.items()
        }
        assert clients["robot"].act("cartpole", OBSERVATION).version == "1"
        assert [policy.name for policy in clients["robot"].policies()] == ["cartpole"]
        assert [policy.name for policy in clients["viewer"].policies()] == ["cartpole", "frames"]
        for name in ("viewer", "else"):
            with pytest.raises(ClientError, match="PERMISSION_DENIED"):
                clients[name].act("cartpole", OBSERVATION)
