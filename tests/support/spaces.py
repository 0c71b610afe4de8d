"""Small policy versions of spaces that are no Box, written by hand; nothing here imports torch."""

from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import ACTION, NEXT, OBSERVATION, SCHEMA_VERSION, VALUES
from polserve.training.versions.onnx_policy import OnnxPolicy
from polserve.training.versions.version import PolicyVersion
from tests.support.versions import with_spec

GOLDEN_SIZE = 70


@lru_cache
def make_arm_version(seed: int = 0) -> PolicyVersion:
    """A version that sees Dict(grip: Discrete(3, start=-1), joints: Box(2,), seen: Tuple(MultiBinary(2), Discrete(4))).

    Its actions are MultiDiscrete([3, 2], start=[1, 0]), the best by values (n, 5).
    """
    rng = np.random.default_rng(seed)
    nodes = [
        helper.make_node("MatMul", [OBSERVATION, "weight"], [VALUES]),
        helper.make_node("Split", [VALUES, "sizes"], ["of-speed", "of-lamp"], axis=1),
        helper.make_node("ArgMax", ["of-speed"], ["speed"], axis=1, keepdims=1),
        helper.make_node("ArgMax", ["of-lamp"], ["lamp"], axis=1, keepdims=1),
        helper.make_node("Concat", ["speed", "lamp"], ["indices"], axis=1),
        helper.make_node("Add", ["indices", "start"], [ACTION]),
    ]
    arrays = {
        "weight": rng.normal(size=(6, 5)).astype(np.float32),
        "sizes": np.array([3, 2]),
        "start": np.array([1, 0]),
    }
    spec = _spec("arm")
    spec.observation.MergeFrom(pb.ObservationSpec(dtype=pb.FLOAT32, shape=[6]))
    spec.observation.parts.extend(
        [
            pb.ObservationPart(path=["grip"], kind=pb.PART_KIND_DISCRETE, offset=0, dtype=pb.INT64, n=[3], start=[-1]),
            pb.ObservationPart(path=["joints"], kind=pb.PART_KIND_BOX, offset=1, shape=[2], dtype=pb.FLOAT32),
            pb.ObservationPart(
                path=["seen", "0"], kind=pb.PART_KIND_MULTI_BINARY, offset=3, shape=[2], dtype=pb.UINT8, n=[2]
            ),
            pb.ObservationPart(path=["seen", "1"], kind=pb.PART_KIND_DISCRETE, offset=5, dtype=pb.INT64, n=[4]),
        ]
    )
    spec.action.multi_discrete.MergeFrom(
        pb.MultiDiscreteActions(
            n=[3, 2], start=[1, 0], components=[pb.Component(name="speed"), pb.Component(name="lamp")]
        )
    )
    inputs = [helper.make_tensor_value_info(OBSERVATION, TensorProto.FLOAT, ["n", 6])]
    outputs = [
        helper.make_tensor_value_info(ACTION, TensorProto.INT64, ["n", 2]),
        helper.make_tensor_value_info(VALUES, TensorProto.FLOAT, ["n", 5]),
    ]
    return _version(_model(nodes, inputs, outputs, arrays), spec, np.stack([flat_arm(row) for row in arms()]))


def arms(n: int = GOLDEN_SIZE) -> list[dict[str, Any]]:
    """Observations of the arm as its environment gives them."""
    rng = np.random.default_rng(1)
    return [
        {
            "grip": np.int64(rng.integers(-1, 2)),
            "joints": rng.normal(size=2).astype(np.float32),
            "seen": (rng.integers(0, 2, 2, np.int8), np.int64(rng.integers(4))),
        }
        for _ in range(n)
    ]


def flat_arm(row: dict[str, Any]) -> NDArray[np.float32]:
    """What an observation of the arm is laid out as."""
    return np.array([row["grip"], *row["joints"], *row["seen"][0], row["seen"][1]], np.float32)


@lru_cache
def make_lift_version() -> PolicyVersion:
    """A version that sees Discrete(5, start=2), the floor, and goes by Discrete(3, start=-1)."""
    nodes = [
        helper.make_node("Sub", [OBSERVATION, "lowest"], ["index"]),
        helper.make_node("Gather", ["table", "index"], [VALUES], axis=0),
        helper.make_node("ArgMax", [VALUES], ["best"], axis=1, keepdims=0),
        helper.make_node("Sub", ["best", "one"], [ACTION]),
    ]
    arrays = {
        "lowest": np.array(2),
        "table": np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32),
        "one": np.array(1),
    }
    spec = _spec("lift")
    spec.observation.MergeFrom(pb.ObservationSpec(dtype=pb.INT64, low=[2], high=[6]))
    spec.observation.parts.add(kind=pb.PART_KIND_DISCRETE, dtype=pb.INT64, n=[5], start=[2])
    spec.action.discrete.MergeFrom(pb.DiscreteActions(n=3, start=-1, labels=["down", "stay", "up"]))
    inputs = [helper.make_tensor_value_info(OBSERVATION, TensorProto.INT64, ["n"])]
    outputs = [
        helper.make_tensor_value_info(ACTION, TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info(VALUES, TensorProto.FLOAT, ["n", 3]),
    ]
    return _version(_model(nodes, inputs, outputs, arrays), spec, 2 + np.arange(GOLDEN_SIZE) % 5)


MEMORY_SHAPES = {"fast": (3,), "slow": (2, 2)}


@lru_cache
def make_memory_version(seed: int = 0) -> PolicyVersion:
    """A recurrent version that sees Box(2,), has two actions, and remembers `fast` (3,) and `slow` (2, 2)."""
    nodes = [
        helper.make_node("MatMul", [OBSERVATION, "in"], ["seen"]),
        helper.make_node("MatMul", ["fast", "keep"], ["kept"]),
        helper.make_node("Add", ["seen", "kept"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["next_fast"]),
        helper.make_node("Add", ["slow", "one"], ["next_slow"]),
        helper.make_node("MatMul", ["next_fast", "out"], ["first"]),
        helper.make_node("ReduceSum", ["next_slow", "axes"], ["age"], keepdims=0),
        helper.make_node("Unsqueeze", ["age", "last"], ["age-column"]),
        helper.make_node("Sin", ["age-column"], ["wave"]),
        helper.make_node("Mul", ["first", "wave"], [VALUES]),
        helper.make_node("ArgMax", [VALUES], [ACTION], axis=1, keepdims=0),
    ]
    rng = np.random.default_rng(seed)
    arrays = {
        "in": rng.normal(size=(2, 3)).astype(np.float32),
        "keep": rng.normal(size=(3, 3)).astype(np.float32),
        "out": rng.normal(size=(3, 2)).astype(np.float32),
        "one": np.full((2, 2), 0.2, np.float32),
        "axes": np.array([1, 2]),
        "last": np.array([1]),
    }
    spec = _spec("memory")
    spec.observation.MergeFrom(pb.ObservationSpec(dtype=pb.FLOAT32, shape=[2]))
    spec.action.discrete.n = 2
    spec.states.extend(pb.StateSpec(name=name, dtype=pb.FLOAT32, shape=shape) for name, shape in MEMORY_SHAPES.items())
    floats = TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(OBSERVATION, floats, ["n", 2])]
    inputs += [helper.make_tensor_value_info(name, floats, ["n", *shape]) for name, shape in MEMORY_SHAPES.items()]
    outputs = [
        helper.make_tensor_value_info(ACTION, TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info(VALUES, floats, ["n", 2]),
        *(helper.make_tensor_value_info(NEXT + name, floats, ["n", *shape]) for name, shape in MEMORY_SHAPES.items()),
    ]
    model = _model(nodes, inputs, outputs, arrays)
    observations = rng.normal(size=(GOLDEN_SIZE, 2)).astype(np.float32)
    states = {name: rng.normal(size=(GOLDEN_SIZE, *shape)).astype(np.float32) for name, shape in MEMORY_SHAPES.items()}
    answers = OnnxPolicy(model.SerializeToString()).run(observations, states)
    return with_spec(PolicyVersion(model, spec, {OBSERVATION: observations, **states, **answers}), spec)


def played(version: PolicyVersion, observations: NDArray[Any]) -> list[int]:
    """Actions of a recurrent version in an episode of these observations (n, *shape), one after another."""
    policy, states, actions = OnnxPolicy(version.model.SerializeToString()), None, []
    for row in observations:
        action, states = policy.act_remembering(row[np.newaxis], states)
        actions.append(int(action[0]))
    return actions


def _spec(name: str) -> pb.PolicySpec:
    return pb.PolicySpec(schema_version=SCHEMA_VERSION, name=name, algorithm="dqn")


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    arrays: dict[str, NDArray[Any]],
) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "policy", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _version(model: onnx.ModelProto, spec: pb.PolicySpec, observations: NDArray[Any]) -> PolicyVersion:
    golden = {OBSERVATION: observations, **OnnxPolicy(model.SerializeToString()).run(observations)}
    return with_spec(PolicyVersion(model, spec, golden), spec)
