"""A policy version in memory: one ONNX graph with its spec inside, and the golden arrays."""

import hashlib
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


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays in an exported graph: the network's weights, by the names that it gives them, and others."""
    prefix = "network."  # where there is something around the network
    initializers = onnx.load(path).graph.initializer
    return {tensor.name.removeprefix(prefix): onnx.numpy_helper.to_array(tensor).copy() for tensor in initializers}
