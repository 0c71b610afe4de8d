"""From a trained network to a policy version: one ONNX graph, its spec, and proof that it answers alike.

The only module that imports onnx.
"""

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from google.protobuf import json_format
from numpy.typing import NDArray
from torch import nn

from protos.names import ACTION, MIN_GOLDEN, OBSERVATION, SPEC_KEY, TOLERANCE, VALUES
from protos.polserve.v1 import policy_pb2 as pb
from training.errors import ExportRefused

BATCHES = (1, 2, 17)
"""Batch sizes at which the graph must answer as the network does."""


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """What is registered: the graph with its spec inside, and the golden arrays."""

    model: onnx.ModelProto
    spec: pb.PolicySpec
    golden: dict[str, NDArray[Any]]

    @property
    def sha256(self) -> str:
        """Of the model's bytes, hexadecimal."""
        return hashlib.sha256(self.model.SerializeToString()).hexdigest()


class OnnxPolicy:
    """A graph as ONNX Runtime runs it."""

    def __init__(self, model: bytes | Path) -> None:
        """Load the graph from bytes or a file."""
        source = str(model) if isinstance(model, Path) else model
        self._session = ort.InferenceSession(source, _session_options(), providers=["CPUExecutionProvider"])
        self.outputs = [output.name for output in self._session.get_outputs()]

    @property
    def spec(self) -> pb.PolicySpec:
        """The spec in the graph's metadata.

        Raises:
            KeyError: it has none.
        """
        return json_format.Parse(self._session.get_modelmeta().custom_metadata_map[SPEC_KEY], pb.PolicySpec())

    def run(self, observations: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Every output of the graph by name, for observations (n, *shape)."""
        return dict(zip(self.outputs, self._session.run(None, {OBSERVATION: observations}), strict=True))

    def act(self, observations: NDArray[Any]) -> NDArray[Any]:
        """The actions for observations (n, *shape)."""
        return self.run(observations)[ACTION]


def export_policy(policy: nn.Module, spec: pb.PolicySpec, observations: NDArray[Any]) -> PolicyVersion:
    """The version of a trained policy.

    Args:
        policy: from observations (n, *shape) to actions, or to actions and values.
        spec: of the policy; the version's has the parity too.
        observations: (n, *shape) met in evaluation, at least 64: the golden set.

    Raises:
        ExportRefused: the graph answers otherwise than the network, or there are too few observations.
    """
    if len(observations) < MIN_GOLDEN:
        raise ExportRefused(
            f"expected at least {MIN_GOLDEN} observations for the golden set, got {len(observations)}; "
            "evaluate over more episodes"
        )
    golden = {OBSERVATION: observations, **_answers(policy, observations)}
    model = _to_onnx(policy, observations[:2], [name for name in (ACTION, VALUES) if name in golden])
    difference = measure_parity(model.SerializeToString(), golden)
    stated = pb.PolicySpec()
    stated.CopyFrom(spec)
    stated.parity.observations = len(observations)
    stated.parity.largest_value_difference = difference
    onnx.helper.set_model_props(model, {SPEC_KEY: json_format.MessageToJson(stated, indent=None)})
    return PolicyVersion(model, stated, golden)


def measure_parity(model: bytes, golden: dict[str, NDArray[Any]]) -> float:
    """The largest difference between the graph's values (or continuous actions) and the golden ones.

    Compared at batches of 1, 2 and 17 over the whole golden set.

    Raises:
        ExportRefused: it exceeds the tolerance, or a discrete action differs.
    """
    graph = OnnxPolicy(model)
    largest = 0.0
    for size in BATCHES:
        parts = [
            graph.run(golden[OBSERVATION][start : start + size]) for start in range(0, len(golden[OBSERVATION]), size)
        ]
        for name in graph.outputs:
            got = np.concatenate([part[name] for part in parts])
            largest = max(largest, _difference(name, got, golden, size))
    return largest


def _difference(name: str, got: NDArray[Any], golden: dict[str, NDArray[Any]], batch: int) -> float:
    """The difference of one output, 0 for discrete actions; raises ExportRefused where it is too large."""
    expected = golden[name]
    where = f"{name} at batches of {batch}"
    if got.shape != expected.shape or got.dtype != expected.dtype:
        raise ExportRefused(f"{where}: expected {expected.dtype} {expected.shape}, got {got.dtype} {got.shape}")
    if expected.dtype.kind == "i":
        is_other = got != expected
        if is_other.any() and VALUES in golden:
            best = np.sort(golden[VALUES], axis=1)[:, -2:]
            is_other &= best[:, 1] - best[:, 0] > _tolerance(golden[VALUES])
        if is_other.any():
            raise ExportRefused(f"{where}: {int(is_other.sum())} of {len(expected)} differ from the network's")
        return 0.0
    difference = float(np.abs(got.astype(np.float64) - expected).max())
    if not difference <= _tolerance(expected):  # NaN fails every comparison
        raise ExportRefused(
            f"{where}: differ from the network's by {difference:.3g}, allowed is {_tolerance(expected):.3g}"
        )
    return difference


def _tolerance(expected: NDArray[Any]) -> float:
    return TOLERANCE * max(1.0, float(np.abs(expected).max()))


@torch.no_grad()
def _answers(policy: nn.Module, observations: NDArray[Any]) -> dict[str, NDArray[Any]]:
    answer = policy(torch.from_numpy(observations))
    outputs = answer if isinstance(answer, tuple) else (answer,)
    return {name: output.numpy() for name, output in zip((ACTION, VALUES), outputs, strict=False)}


def _to_onnx(policy: nn.Module, example: NDArray[Any], outputs: list[str]) -> onnx.ModelProto:
    # NOTE: torch.export takes an extent of 0 or 1 in the example for a constant, so the example is a batch of two.
    with _quiet():
        program = torch.onnx.export(
            policy,
            (torch.from_numpy(example),),
            input_names=[OBSERVATION],
            output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ExportRefused("torch.onnx.export gave no program")
    model: onnx.ModelProto = program.model_proto
    _strip(model.graph)
    for node in (*model.graph.input, *model.graph.output):
        if not node.type.tensor_type.shape.dim[0].dim_param:
            raise ExportRefused(f"axis 0 of {node.name} was frozen in the export")
    return model


def _strip(graph: onnx.GraphProto) -> None:
    """Take out the exporter's notes: stack traces, with the paths of this machine."""
    parts: list[Any] = [*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]
    for part in parts:
        del part.metadata_props[:]
        part.ClearField("doc_string")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which reports each of its passes."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _session_options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return options
