"""A policy version in memory: one ONNX graph with its spec inside, and the golden arrays."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.protos.shared.names import GOLDEN_FILE, MODEL_FILE


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """What is registered: the graph with its spec inside, and the golden arrays."""

    model: onnx.ModelProto
    spec: pb.PolicySpec
    golden: dict[str, NDArray[Any]]

    @property
    def sha256(self) -> str:
        """Checksum of the model's bytes, hexadecimal."""
        return hashlib.sha256(self.model.SerializeToString()).hexdigest()

    def write(self, folder: Path) -> Path:
        """`folder` holds what a service needs of the version: the graph and the golden arrays."""
        (folder / GOLDEN_FILE).parent.mkdir(parents=True, exist_ok=True)
        (folder / MODEL_FILE).write_bytes(self.model.SerializeToString())
        np.savez(folder / GOLDEN_FILE, allow_pickle=False, **self.golden)
        return folder


BIAS, WEIGHT = ".bias", ".weight"


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays in an exported graph: the network's weights, by the names that it gives them, and others."""
    prefix = "network."  # where there is something around the network
    graph = onnx.load(path).graph
    arrays = {
        tensor.name.removeprefix(prefix): onnx.numpy_helper.to_array(tensor).copy() for tensor in graph.initializer
    }
    return arrays | _weights_of_products(graph, arrays, prefix)


def _weights_of_products(
    graph: onnx.GraphProto, arrays: Mapping[str, NDArray[Any]], prefix: str
) -> dict[str, NDArray[Any]]:
    """Find the weights of dense layers that the export transposed: these lose their names, their biases do not."""
    factor_of = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    found = {}
    for node in graph.node:
        if node.op_type != "Add":
            continue
        factor = next((factor_of[name] for name in node.input if name in factor_of), None)
        bias = next((name for name in node.input if name.endswith(BIAS)), None)
        if factor is not None and factor in arrays and bias is not None:
            found[bias.removeprefix(prefix).removesuffix(BIAS) + WEIGHT] = arrays[factor].T.copy()
    return found
