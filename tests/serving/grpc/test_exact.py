"""A number means the same however it is written: in an array, a list, JSON, or another dtype than the policy's."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.polserve.v1 import policy_pb2_grpc
from polserve.protos.shared.names import SCHEMA_VERSION, SPEC_KEY
from polserve.serving.client import AsyncPolicyClient, ClientError, PolicyClient
from tests.support.commands import polserve_here
from tests.support.running import Running, service, wait_until

TICK = 2**53 - 1
"""Odd; no float32, and the last whole number of float64 whose neighbours it has too."""


def write_odd(folder: Path, dtype: str) -> None:
    """A version whose action is whether its one number is odd, of INT64 or DOUBLE."""
    kind = getattr(TensorProto, dtype)
    numpy_dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [
        helper.make_node("Mod", ["observation", "two"], ["rest"], fmod=1),
        helper.make_node("Squeeze", ["rest", "axis"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["action"], to=TensorProto.INT64),
    ]
    constants = [
        numpy_helper.from_array(np.array([2], numpy_dtype), "two"),
        numpy_helper.from_array(np.array([1]), "axis"),
    ]
    graph = helper.make_graph(
        nodes,
        "odd",
        [helper.make_tensor_value_info("observation", kind, ["N", 1])],
        [helper.make_tensor_value_info("action", TensorProto.INT64, ["N"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    observation = {"dtype": "INT64" if dtype == "INT64" else "FLOAT64", "shape": [1]}
    spec = {"schema_version": SCHEMA_VERSION, "name": folder.parent.name, "observation": observation}
    helper.set_model_props(model, {SPEC_KEY: json.dumps(spec | {"action": {"discrete": {"n": 2}}})})
    (folder / "extra_files").mkdir(parents=True)
    onnx.save(model, str(folder / "model.onnx"))
    numbers = np.arange(100)[:, np.newaxis]
    np.savez(folder / "extra_files/golden.npz", observation=numbers.astype(numpy_dtype), action=numbers[:, 0] % 2)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of two policies that tell odd numbers: `whole` takes int64, `real` float64."""
    folder = tmp_path_factory.mktemp("odd")
    write_odd(folder / "policies" / "whole" / "1", "INT64")
    write_odd(folder / "policies" / "real" / "1", "DOUBLE")
    with service("--policies", str(folder / "policies"), folder=folder) as running:
        wait_until(running.is_up, running.log)
        yield running


@pytest.mark.parametrize("policy", ["whole", "real"])
@pytest.mark.parametrize(
    "number",
    [[TICK], [float(TICK)], np.array([TICK]), np.array([TICK], np.float64), np.array([TICK], np.uint64), (TICK,)],
)
def test_a_number_above_what_float32_holds_arrives_exactly(odd: Running, policy: str, number: Any) -> None:
    with PolicyClient(odd.target) as client, client.episode(policy) as episode:
        assert client.act(policy, number).action == 1
        assert client.act_batch(policy, [number, number]).action.tolist() == [1, 1]
        assert episode.act(number).action == 1


def test_asyncio_sends_lists_exactly_too(odd: Running) -> None:
    async def ask() -> int:
        async with AsyncPolicyClient(odd.target) as client:
            return int((await client.act("whole", [TICK])).action)

    assert asyncio.run(ask()) == 1


@pytest.mark.parametrize("policy", ["whole", "real"])
def test_the_command_line_sends_what_was_typed(odd: Running, policy: str) -> None:
    result = polserve_here("act", policy, "--observation", f"[{TICK}]", "--target", odd.target)
    assert result.stdout == f"action 1 by {policy}/1\n"


@pytest.mark.parametrize("policy", ["whole", "real"])
def test_a_value_that_float32_may_have_rounded_is_refused(odd: Running, policy: str) -> None:
    request = pb.ActRequest(policy=policy, observation=pb.Tensor(values=[2**24 + 1]))
    with grpc.insecure_channel(odd.target) as channel, pytest.raises(grpc.RpcError) as refusal:
        policy_pb2_grpc.PolicyServiceStub(channel).Act(request, timeout=10)
    assert "observation.values: expected numbers below 2^24, since this form rounds to float32" in str(refusal.value)


@pytest.mark.parametrize(
    "observation",
    [
        np.array([0.1, 0, 0, 0]),
        np.array([0, 0, 1, 0]),
        np.array([0, 0, 1, 0], np.int8),
        np.array([0.1, 0, 0, 0], np.float16),
        np.array([0, 0, 1, 0], np.bool_),
        np.array([0.1, 0, 0, 0], ">f8"),
        [np.float32(0.1), 0, 1, True],
    ],
)
def test_another_dtype_means_the_same(client: PolicyClient, observation: Any) -> None:
    same = np.asarray(observation).astype(np.float32)
    given = client.act("cartpole", observation, with_values=True)
    expected = client.act("cartpole", same, with_values=True)
    assert given.values is not None
    assert expected.values is not None
    assert (given.values == expected.values).all()


def test_a_fraction_for_a_policy_of_whole_numbers_is_refused_with_its_place(odd: Running) -> None:
    with PolicyClient(odd.target) as client, pytest.raises(ClientError) as refusal:
        client.act("whole", [[1.0], [2.5]])
    assert (
        "observation: expected whole numbers from -9223372036854775808 to 9223372036854775807, got 2.5 at [1, 0]"
        in str(refusal.value)
    )
