"""Small ONNX graphs of foreign form, and what a spec says of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from polserve.training.imports.graphs.importer import read_onnx
from polserve.training.imports.graphs.spec_file import form_of
from polserve.training.imports.imported import ImportedPolicy
from polserve.training.imports.observations import drawn
from polserve.training.imports.places import Place
from polserve.training.versions.onnx_policy import OnnxPolicy

Shape = Sequence[int | str]
FLOAT = TensorProto.FLOAT
FOUR_TO_TWO: Mapping[str, Any] = {"observation": {"shape": [4]}, "action": {"discrete": 2}}
"""Spec of a policy that chooses one of two actions by four numbers."""


def weights(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Weights (shape) that follow from the seed."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Shape]],
    outputs: Mapping[str, tuple[int, Shape]],
    constants: Mapping[str, NDArray[Any]],
    *,
    opset: int = 18,
) -> onnx.ModelProto:
    """Model of nodes, with inputs and outputs by (type, shape)."""
    graph = make_graph(
        list(nodes),
        "foreign",
        [make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return make_model(graph, opset_imports=[make_opsetid("", opset)], ir_version=10)


def linear(batch: Shape = ("n",), inputs: int = 4, outputs: int = 2, **more: Any) -> onnx.ModelProto:
    """Scores `q` (*batch, outputs) of an input `obs` (*batch, inputs), by one matrix."""
    return model(
        [make_node("MatMul", ["obs", "w"], ["q"])],
        {"obs": (FLOAT, [*batch, inputs])},
        {"q": (FLOAT, [*batch, outputs])},
        {"w": weights(inputs, outputs)},
        **more,
    )


def save(path: Path, graph: onnx.ModelProto) -> Path:
    """`path` holds the graph."""
    path.write_bytes(graph.SerializeToString())
    return path


def read(folder: Path, graph: onnx.ModelProto, given: Mapping[str, Any]) -> ImportedPolicy:
    """Imported policy of a graph and a spec, without an environment."""
    return read_onnx(save(folder / "graph.onnx", graph), form_of(dict(given), "spec.yaml"), Place())


def graph_of(policy: ImportedPolicy) -> onnx.ModelProto:
    """ONNX graph of the policy."""
    assert isinstance(policy.graph, onnx.ModelProto)
    return policy.graph


def operators(policy: ImportedPolicy) -> set[str]:
    """Operators in the policy's graph."""
    return {node.op_type for node in graph_of(policy).graph.node}


def check_answers_as_it_came(policy: ImportedPolicy, sizes: Sequence[int] = (1, 2, 33)) -> NDArray[Any]:
    """Check that the policy's graph answers batches as the original; return the actions of the last."""
    graph = OnnxPolicy(graph_of(policy).SerializeToString())
    assert graph.outputs == (["action", "values"] if policy.preferences else ["action"])
    actions = np.empty(0)
    for size in sizes:
        observations = drawn(policy.observation_space, size)
        answers, actions = graph.run(observations), policy.original(observations)
        assert answers["action"].dtype == actions.dtype
        np.testing.assert_allclose(answers["action"], actions, rtol=1e-5, atol=1e-5)
        if policy.preferences is not None:
            np.testing.assert_allclose(answers["values"], policy.preferences(observations), rtol=1e-5, atol=1e-5)
    return actions
