"""Request ids over gRPC: whoever gave one finds it in the answer, in errors and in the log."""

import asyncio
import contextlib
import pickle
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from polserve.protos.polserve.oip.v2 import inference_pb2 as oip
from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.serving.client import AsyncPolicyClient, ClientError, InvalidArgument, PolicyClient, request_id
from polserve.serving.client.transport import TransportName
from tests.support.running import Running

OBSERVATION = [0.0, 0.0, 0.1, 0.5]
TRACE = "0af7651916cd43dd8448eb211c80319c"
ACT = pb.ActRequest(policy="cartpole", observation=pb.Tensor(values=OBSERVATION)).SerializeToString()
START = pb.EpisodeRequest(start=pb.EpisodeStart(policy="cartpole")).SerializeToString()
INFER = oip.ModelInferRequest(model_name="no-such-model").SerializeToString()
SERVICE, OIP = "/polserve.v1.PolicyService/", "/inference.GRPCInferenceService/"

METHODS = {
    SERVICE + "Act": ACT,
    SERVICE + "Episode": START,
    SERVICE + "ListPolicies": b"",
    SERVICE + "GetPolicy": pb.GetPolicyRequest(policy="cartpole").SerializeToString(),
    "/polserve.v1.BudgetService/Allocate": b"",
    "/grpc.health.v1.Health/Check": health_pb2.HealthCheckRequest().SerializeToString(),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": b"",
    OIP + "ModelInfer": INFER,
    OIP + "ModelStreamInfer": INFER,
    OIP + "ServerLive": b"",
}


@pytest.fixture(scope="module")
def channel(running: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(running.target) as channel:
        yield channel


def told(channel: grpc.Channel, method: str, message: bytes, *sent: tuple[str, str]) -> tuple[str, Sequence[str]]:
    """Status of a call, and the request ids that came with it."""
    ask: Any = channel.stream_stream(method)
    call = ask(iter([message]), timeout=20, metadata=sent)
    with contextlib.suppress(grpc.RpcError):
        deque(call, 0)
    return call.code().name, [str(item[1]) for item in call.trailing_metadata() if item[0] == "x-request-id"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_returns_the_id_that_it_was_called_with(channel: grpc.Channel, method: str) -> None:
    _, ids = told(channel, method, METHODS[method], ("x-request-id", "order-4711"))
    assert ids == ["order-4711"]


def test_the_trace_of_a_traceparent_is_the_id_where_there_is_no_other(channel: grpc.Channel) -> None:
    parent = ("traceparent", f"00-{TRACE}-b7ad6b7169203331-01")
    assert told(channel, SERVICE + "Act", ACT, parent) == ("OK", [TRACE])
    assert told(channel, SERVICE + "Act", ACT, parent, ("x-request-id", "mine")) == ("OK", ["mine"])


def test_of_two_ids_the_first_counts(channel: grpc.Channel) -> None:
    assert told(channel, SERVICE + "Act", ACT, ("x-request-id", "one"), ("x-request-id", "two")) == ("OK", ["one"])


@pytest.mark.parametrize("given", ["", "a b", 'a"b', "a,b", "x" * 129, "a\\b", "a%b"])
def test_an_id_of_another_form_is_replaced_and_the_call_is_answered(channel: grpc.Channel, given: str) -> None:
    code, ids = told(channel, SERVICE + "Act", ACT, ("x-request-id", given))
    assert code == "OK"
    assert len(ids) == 1
    assert ids[0] != given
    assert ids[0].isalnum()


@pytest.mark.parametrize(
    "parent",
    [
        "00",
        f"00-{TRACE}-b7ad6b7169203331",
        f"ff-{TRACE}-b7ad6b7169203331-01",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-b7ad6b7169203331-01",
        f"00-{TRACE}-b7ad6b7169203331-01-more",
    ],
)
def test_a_traceparent_that_is_none_is_as_good_as_none(channel: grpc.Channel, parent: str) -> None:
    assert told(channel, SERVICE + "Act", ACT, ("traceparent", parent)) == ("OK", [])


def test_a_call_that_fails_is_given_an_id_of_its_own(channel: grpc.Channel) -> None:
    outcomes = [told(channel, SERVICE + "Act", b"") for _ in range(2)]
    assert [code for code, _ in outcomes] == ["NOT_FOUND", "NOT_FOUND"]
    one, other = (ids for _, ids in outcomes)
    assert len(one) == len(other) == 1
    assert one != other


@pytest.mark.parametrize("transport", ["grpcio", "nghttp2"])
def test_the_errors_of_a_client_have_the_id(running: Running, transport: TransportName) -> None:
    with PolicyClient(running.target, transport=transport) as client:
        with pytest.raises(ClientError) as unnamed:
            client.act("nobody", OBSERVATION)
        with request_id("order-4711"), pytest.raises(ClientError, match=r"\(request order-4711\)") as named:
            client.act("nobody", OBSERVATION)
        with request_id("order-4712"):
            episode = client.episode("nobody")
        with episode, pytest.raises(ClientError) as of_stream:
            episode.act(OBSERVATION)
    assert unnamed.value.request_id is not None
    assert "(request" not in str(unnamed.value)
    assert named.value.request_id == "order-4711"
    assert of_stream.value.request_id == "order-4712"
    assert pickle.loads(pickle.dumps(named.value)).request_id == "order-4711"  # noqa: S301 - our own


def test_the_errors_of_the_asyncio_client_have_the_id_of_their_task(running: Running) -> None:
    async def fail(client: AsyncPolicyClient, name: str) -> str | None:
        with request_id(name):
            with pytest.raises(ClientError) as error:
                await client.act("nobody", OBSERVATION)
            async with client.episode("nobody") as episode:
                with pytest.raises(ClientError) as of_stream:
                    await episode.act(OBSERVATION)
                with pytest.raises(ClientError) as later:
                    await episode.act(OBSERVATION)
        assert of_stream.value.request_id == later.value.request_id == error.value.request_id
        assert isinstance(of_stream.value.__cause__, grpc.RpcError)
        return error.value.request_id

    async def fail_side_by_side() -> list[str | None]:
        async with AsyncPolicyClient(running.target) as client:
            return await asyncio.gather(*(fail(client, name) for name in ("one", "two")))

    assert asyncio.run(fail_side_by_side()) == ["one", "two"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "ä", None, 7])
def test_a_client_refuses_an_id_of_another_form(given: str) -> None:
    with pytest.raises(InvalidArgument, match="request_id: expected 1 to 128"), request_id(given):
        pass
