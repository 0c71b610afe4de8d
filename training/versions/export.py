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

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.golden import GoldenMismatch, compare
from polserve.protos.shared.names import ACTION, GOLDEN_FILE, MODEL_FILE, OBSERVATION, SPEC_KEY, VALUES
from polserve.training.errors import ExportRefused, RegistryError


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

    def write(self, folder: Path) -> Path:
        """`folder` holds what a service needs of the version: the graph and the golden arrays."""
        (folder / GOLDEN_FILE).parent.mkdir(parents=True, exist_ok=True)
        (folder / MODEL_FILE).write_bytes(self.model.SerializeToString())
        np.savez(folder / GOLDEN_FILE, allow_pickle=False, **self.golden)
        return folder


class OnnxPolicy:
    """A graph as ONNX Runtime runs it."""

    def __init__(self, model: bytes | Path) -> None:
        """Load the graph from bytes or a file.

        Raises:
            RegistryError: there is no such graph.
        """
        source = str(model) if isinstance(model, Path) else model
        try:
            self._session = ort.InferenceSession(source, _session_options(), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen unrelated classes
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise RegistryError(f"the version holds no graph that ONNX Runtime loads: {reason}") from error
        self.outputs = [output.name for output in self._session.get_outputs()]

    @property
    def spec(self) -> pb.PolicySpec:
        """The spec in the graph's metadata.

        Raises:
            RegistryError: it has none.
        """
        text = self._session.get_modelmeta().custom_metadata_map.get(SPEC_KEY)
        if text is None:
            raise RegistryError(f"the graph has no metadata {SPEC_KEY!r}; register versions with `polserve train`")
        return json_format.Parse(text, pb.PolicySpec(), ignore_unknown_fields=True)

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

    Raises:
        ExportRefused: it exceeds the tolerance, a discrete action differs, or there are too few observations.
    """
    try:
        return compare(OnnxPolicy(model).run, golden)
    except GoldenMismatch as mismatch:
        raise ExportRefused(f"the graph answers otherwise than the network: {mismatch}") from mismatch


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


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in an exported graph: the network's weights, by the names that it gives them, and others."""
    prefix = "network."  # where there is something around the network
    initializers = onnx.load(path).graph.initializer
    return {tensor.name.removeprefix(prefix): onnx.numpy_helper.to_array(tensor).copy() for tensor in initializers}


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
