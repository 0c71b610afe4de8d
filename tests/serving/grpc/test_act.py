import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.polserve.v1 import policy_pb2_grpc
from polserve.serving.client import ClientError, PolicyClient
from tests.support.running import Running
from tests.support.versions import make_version

GOLDEN = make_version().golden


def call(running: Running, **fields: object) -> pb.ActResponse:
    """One Act with the fields as they are, over a channel of its own."""
    with grpc.insecure_channel(running.target) as channel:
        stub = policy_pb2_grpc.PolicyServiceStub(channel)
        response: pb.ActResponse = stub.Act(pb.ActRequest(**fields), timeout=10)  # type: ignore[arg-type]
        return response


def test_a_batch_gets_the_trainers_own_actions_and_values(client: PolicyClient) -> None:
    answer = client.act("cartpole", GOLDEN["observation"], with_values=True)
    assert answer.action.dtype == np.int64
    assert (answer.action == GOLDEN["action"]).all()
    assert answer.values == pytest.approx(GOLDEN["values"], abs=1e-5)
    assert (answer.policy, answer.version, answer.explored) == ("cartpole", "1", None)


def test_one_observation_gets_one_action(client: PolicyClient) -> None:
    answer = client.act("cartpole", GOLDEN["observation"][3], with_values=True)
    assert answer.action.shape == ()
    assert answer.action == GOLDEN["action"][3]
    assert answer.values is not None
    assert answer.values.shape == (2,)


@pytest.mark.parametrize("version", ["", "1", "@champion"])
def test_a_version_is_asked_for_by_number_alias_or_not_at_all(client: PolicyClient, version: str) -> None:
    assert client.act("cartpole", GOLDEN["observation"][0], version=version).version == "1"


def test_a_list_takes_the_policys_dtype(client: PolicyClient) -> None:
    assert client.act("cartpole", [0, 0, 0, 0]).action.shape == ()
    assert client.act("cartpole", [[0, 0, 0, 0]]).action.shape == (1,)


def test_values_by_hand_need_neither_dtype_nor_shape_and_are_answered_alike(running: Running) -> None:
    values = GOLDEN["observation"][:2].ravel().tolist()
    one = call(running, policy="cartpole", observation=pb.Tensor(values=values[:4]))
    two = call(running, policy="cartpole", observation=pb.Tensor(values=values))
    assert list(one.action.values) == [GOLDEN["action"][0]]
    assert list(one.action.shape) == []
    assert list(two.action.values) == GOLDEN["action"][:2].tolist()
    assert not two.action.data


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0])
def test_the_explored_share_is_epsilon_and_each_is_marked(client: PolicyClient, epsilon: float) -> None:
    observations = np.repeat(GOLDEN["observation"][:1], 2000, axis=0)
    answer = client.act("cartpole", observations, epsilon=epsilon)
    explored = np.zeros(2000, np.bool_) if answer.explored is None else answer.explored
    assert abs(explored.mean() - epsilon) < 0.05
    assert (answer.action[~explored] == GOLDEN["action"][0]).all()
    if epsilon:
        assert 0.4 < answer.action[explored].mean() < 0.6, "explored actions are uniform"


FLOATS = np.zeros(4, np.float32)


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (np.array([0, 0, 1e300, 0]), "observation: expected numbers that float32 holds, got 1e+300 at [2]"),
        (np.array([0, 2**24 + 1, 0, 0]), "observation: expected numbers that float32 holds, got 16777217 at [1]"),
        (np.zeros(3, np.float32), "observation.shape: expected (4,) or (N, 4), got (3,)"),
        (np.zeros((2, 3), np.float32), "observation.shape: expected (4,) or (N, 4), got (2, 3)"),
        (np.zeros((1, 1, 4), np.float32), "observation.shape: expected (4,) or (N, 4), got (1, 1, 4)"),
        (np.zeros((), np.float32), "observation.shape: expected (4,) or (N, 4), got ()"),
        (np.zeros((0, 4), np.float32), "observation.shape: expected at least one observation, got (0, 4)"),
        (np.array([0, np.nan, 0, 0], np.float32), "observation: expected finite numbers, got nan at [1]"),
        (np.array([[0, 0, 0, 0], [0, 0, 0, -np.inf]], np.float32), "expected finite numbers, got -inf at [1, 3]"),
    ],
)
def test_an_observation_that_the_policy_cannot_take_is_refused(
    client: PolicyClient, observation: np.ndarray, message: str
) -> None:
    with pytest.raises(ClientError) as refusal:
        client.act("cartpole", observation)
    assert refusal.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert message in str(refusal.value)
    assert isinstance(refusal.value.__cause__, grpc.RpcError)


@pytest.mark.parametrize("shape", [(36, 36), (3, 36, 36)])
def test_single_frames_in_place_of_a_stack_are_refused_with_advice(
    client: PolicyClient, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ClientError) as refusal:
        client.act("frames", np.zeros(shape, np.uint8))
    assert f"observation.shape: expected (4, 36, 36) or (N, 4, 36, 36), got {shape}; " in str(refusal.value)
    assert "an observation is a stack of 4 frames: send the stack, or single frames in an episode" in str(refusal.value)


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({}, "NOT_FOUND", "no policy '' is live; live are cartpole, frames"),
        ({"policy": "go"}, "NOT_FOUND", "policy: no policy 'go' is live; live are cartpole, frames"),
        ({"policy": "cartpole", "version": "9"}, "NOT_FOUND", "live are the versions 1 and the aliases @champion"),
        ({"policy": "cartpole", "version": "@best"}, "NOT_FOUND", "'cartpole' is not live as '@best'"),
        ({"policy": "cartpole"}, "INVALID_ARGUMENT", "observation: expected a tensor, got none"),
        (
            {"policy": "cartpole", "observation": pb.Tensor(values=[1, 2, 3])},
            "INVALID_ARGUMENT",
            "observation.values: expected 4 values for the shape (4,), got 3 values",
        ),
        (
            {"policy": "cartpole", "observation": pb.Tensor(dtype=pb.FLOAT32, shape=[4], data=b"xx")},
            "INVALID_ARGUMENT",
            "observation.data: expected 16 bytes",
        ),
        (
            {"policy": "cartpole", "observation": pb.Tensor(values=FLOATS), "epsilon": 1.5},
            "INVALID_ARGUMENT",
            "epsilon: expected a probability from 0 to 1, got 1.5",
        ),
        (
            {"policy": "cartpole", "observation": pb.Tensor(values=FLOATS), "epsilon": float("nan")},
            "INVALID_ARGUMENT",
            "epsilon: expected a probability from 0 to 1, got nan",
        ),
    ],
)
def test_a_request_that_cannot_be_answered_says_why(
    running: Running, fields: dict[str, object], code: str, message: str
) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        call(running, **fields)
    error = refusal.value
    assert isinstance(error, grpc.Call)
    assert error.code().name == code
    assert message in (error.details() or "")


def test_a_message_above_the_limit_is_refused(running: Running) -> None:
    with grpc.insecure_channel(running.target, [("grpc.max_send_message_length", -1)]) as channel:
        stub = policy_pb2_grpc.PolicyServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refusal:
            stub.Act(pb.ActRequest(observation=pb.Tensor(data=bytes(65 * 1024 * 1024))), timeout=30)
    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_policies_are_listed_with_versions_aliases_and_specs(client: PolicyClient) -> None:
    policy, frames = client.policies()
    assert frames.name == "frames"
    assert policy == client.policy("cartpole")
    assert policy.default == policy.aliases["champion"] == "1"
    assert (policy.name, dict(policy.aliases)) == ("cartpole", {"champion": "1"})
    assert policy.versions[0].message.spec == make_version().spec
    assert policy.versions[0].sha256 == make_version().sha256
    with pytest.raises(ClientError, match="NOT_FOUND: policy: no policy 'go' is live"):
        client.policy("go")


@pytest.mark.parametrize(("service", "expected"), [("", "SERVING"), ("cartpole", "SERVING"), ("go", "NOT_FOUND")])
def test_health_is_told_for_the_service_and_each_policy(running: Running, service: str, expected: str) -> None:
    with grpc.insecure_channel(running.target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            status = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status
            name = health_pb2.HealthCheckResponse.ServingStatus.Name(status)
        except grpc.RpcError as error:
            name = error.code().name
    assert name == expected


def test_reflection_describes_the_services(running: Running) -> None:
    with grpc.insecure_channel(running.target) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {"polserve.v1.PolicyService", "grpc.health.v1.Health"} <= set(database.get_services())
        described = database.FindFileContainingSymbol("polserve.v1.PolicyService")
        public = database.FindFileContainingSymbol("inference.GRPCInferenceService")
    assert described.name == "polserve/v1/policy.proto"
    assert (public.name, public.package) == ("grpc_service.proto", "inference")


def test_metrics_count_what_was_answered_by_whom(running: Running, client: PolicyClient) -> None:
    client.act("cartpole", GOLDEN["observation"])
    page = running.metrics()
    for series in (
        'grpc_server_started_total{grpc_method="Act",grpc_service="polserve.v1.PolicyService",grpc_type="unary"}',
        'grpc_server_handled_total{grpc_code="OK",grpc_method="Act",grpc_service="polserve.v1.PolicyService"',
        'grpc_server_handling_seconds_bucket{grpc_method="Act"',
        'polserve_actions_total{action="0",policy="cartpole",version="1"}',
        'polserve_observations_total{policy="cartpole",version="1"}',
        'polserve_inference_seconds_bucket{le="5e-05",policy="cartpole",version="1"}',
        'polserve_policy_info{alias="champion",policy="cartpole",run_id="run-0",version="1"} 1.0',
        'polserve_rollouts_total{outcome="live",policy="cartpole"} 1.0',
        "polserve_build_info{",
        "process_resident_memory_bytes",
    ):
        assert series in page
