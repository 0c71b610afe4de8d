"""Small policy versions to serve: read from tests/fixtures, or written by hand; nothing here imports torch."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf import json_format
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import ACTION, OBSERVATION, SPEC_KEY, VALUES
from polserve.training.versions.onnx_policy import OnnxPolicy
from polserve.training.versions.version import PolicyVersion

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
"""Versions as the exporter wrote them: NAME.onnx and NAME.npz; tests.support.exports makes them anew."""
FRAMES_SHAPE = (4, 36, 36)


def frames_observations() -> NDArray[np.uint8]:
    """The golden observations of the version that takes frames: noise, so that they need not be committed."""
    return np.random.default_rng(0).integers(0, 256, (70, *FRAMES_SHAPE), np.uint8)


@lru_cache
def make_version(seed: int = 0, *, name: str = "cartpole", mean: float = 100.0) -> PolicyVersion:
    """A version of an untrained CartPole network; another seed has other weights and acts otherwise."""
    fixture = read_fixture("cartpole")
    spec, golden = pb.PolicySpec(), fixture.golden
    spec.CopyFrom(fixture.spec)
    spec.name = name
    spec.provenance.run_id, spec.provenance.seed = f"run-{seed}", seed
    spec.evaluation.mean = spec.evaluation.iqm = spec.evaluation.median = mean
    spec.evaluation.interval_low, spec.evaluation.interval_high = mean - 1, mean + 1
    model = _redrawn(fixture.model, golden[OBSERVATION], seed) if seed else fixture.model
    if seed:
        golden = {OBSERVATION: golden[OBSERVATION], **_answers(model, golden[OBSERVATION])}
    return with_spec(PolicyVersion(model, spec, golden), spec)


def make_frames_version() -> PolicyVersion:
    """A version that takes four stacked frames of 36 x 36 bytes and has five actions."""
    return read_fixture("frames")


def make_allocator_version(n_channels: int = 2) -> PolicyVersion:
    """A version of an untrained allocator, of 2 or 5 channels: its spends are those of the reference plan, nearly."""
    return read_fixture(f"adbudget-{n_channels}")


@lru_cache
def make_slow_version(width: int) -> PolicyVersion:
    """A version named slow that takes CartPole's observations through two hidden layers of `width`."""
    rng = np.random.default_rng(0)
    shapes = ((4, width), (width, width), (width, 2))
    weights = [rng.normal(0, shape[0] ** -0.5, shape).astype(np.float32) for shape in shapes]
    names = [f"weight-{i}" for i in range(len(weights))]
    nodes = [
        helper.make_node("MatMul", [OBSERVATION, names[0]], ["first"]),
        helper.make_node("Relu", ["first"], ["first-out"]),
        helper.make_node("MatMul", ["first-out", names[1]], ["second"]),
        helper.make_node("Relu", ["second"], ["second-out"]),
        helper.make_node("MatMul", ["second-out", names[2]], [VALUES]),
        helper.make_node("ArgMax", [VALUES], [ACTION], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info(OBSERVATION, TensorProto.FLOAT, ["n", 4])],
        [
            helper.make_tensor_value_info(ACTION, TensorProto.INT64, ["n"]),
            helper.make_tensor_value_info(VALUES, TensorProto.FLOAT, ["n", 2]),
        ],
        [numpy_helper.from_array(array, name) for array, name in zip(weights, names, strict=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    observations = make_version().golden[OBSERVATION]
    spec = pb.PolicySpec()
    spec.CopyFrom(make_version().spec)
    spec.name = "slow"
    golden = {OBSERVATION: observations, **_answers(model, observations)}
    return with_spec(PolicyVersion(model, spec, golden), spec)


def with_spec(version: PolicyVersion, spec: pb.PolicySpec) -> PolicyVersion:
    """The version with another spec in its metadata."""
    model = onnx.ModelProto()
    model.CopyFrom(version.model)
    helper.set_model_props(model, {SPEC_KEY: json_format.MessageToJson(spec, indent=None)})
    return PolicyVersion(model, spec, version.golden)


@lru_cache
def read_fixture(name: str) -> PolicyVersion:
    """A version as it is committed."""
    model = onnx.load(FIXTURES / f"{name}.onnx")
    (text,) = (entry.value for entry in model.metadata_props if entry.key == SPEC_KEY)
    with np.load(FIXTURES / f"{name}.npz", allow_pickle=False) as arrays:
        golden = dict(arrays)
    if name == "frames":
        golden = {OBSERVATION: frames_observations(), **golden}
    return PolicyVersion(model, json_format.ParseDict(json.loads(text), pb.PolicySpec()), golden)


def write_fixture(name: str, version: PolicyVersion) -> None:
    """Put a version where `read_fixture` finds it."""
    FIXTURES.mkdir(exist_ok=True)
    (FIXTURES / f"{name}.onnx").write_bytes(version.model.SerializeToString(deterministic=True))
    golden = {key: array for key, array in version.golden.items() if (name, key) != ("frames", OBSERVATION)}
    np.savez_compressed(FIXTURES / f"{name}.npz", allow_pickle=False, **golden)


def _answers(model: onnx.ModelProto, observations: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return OnnxPolicy(model.SerializeToString()).run(observations)


def _redrawn(model: onnx.ModelProto, observations: NDArray[Any], seed: int) -> onnx.ModelProto:
    """The model with other weights, and either action the best one for half of the observations."""
    redrawn, rng = onnx.ModelProto(), np.random.default_rng(seed)
    redrawn.CopyFrom(model)
    weights = {tensor.name: tensor for tensor in redrawn.graph.initializer if tensor.name.startswith("network.")}
    for name, tensor in weights.items():
        drawn = rng.normal(0, 0.5, tuple(tensor.dims)).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(drawn, name))
    bias = weights["network.advantage.bias"]
    level = np.median(_answers(redrawn, observations)[VALUES], axis=0)
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) - level, bias.name))
    return redrawn
