"""A graph that takes a fixed number of observations, made to take any: its shapes relaxed, or run row by row."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx.helper import make_graph, make_node, make_tensor_value_info, np_dtype_to_tensor_dtype

from polserve.training.imports.graphs.nodes import PREFIX, Nodes
from polserve.training.imports.graphs.original import NO_AXIS, Batching
from polserve.training.imports.graphs.steps import Array

ROW = f"{PREFIX}row/"
"""Before the name of an input, for one row of it."""


@dataclass(frozen=True, slots=True)
class Block:
    """Nodes between the prepared inputs and the outputs of a graph, for any number of rows."""

    nodes: list[onnx.NodeProto]
    constants: list[onnx.TensorProto]
    outputs: Mapping[str, str]
    """Tensor that holds each output, by the graph's name of it."""


def together(graph: onnx.GraphProto, batching: Batching, outputs: Iterable[str]) -> Block:
    """Block of the graph's own nodes, in which a shape that states the batch is left open."""
    names = {name: name for name in outputs}
    if batching.is_dynamic:
        return Block(list(graph.node), list(graph.initializer), names)
    size = batching.together
    own = Nodes()
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {
        node.output[0]: _value(node) for node in graph.node if node.op_type == "Constant" and _has_value(node)
    }
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants:
            shape = onnx.numpy_helper.to_array(constants[node.input[1]]).copy()
            if shape.size and shape[0] == size:
                shape[0] = 0 if (shape == -1).any() else -1  # 0 keeps the extent that comes
                node.input[1] = own.constant(shape.astype(np.int64))
    return Block(list(graph.node), [*graph.initializer, *own.constants], names)


def _has_value(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "value" for attribute in node.attribute)


def _value(node: onnx.NodeProto) -> onnx.TensorProto:
    return next(attribute.t for attribute in node.attribute if attribute.name == "value")


def by_rows(
    graph: onnx.GraphProto, batching: Batching, given: Mapping[str, Array], outputs: Mapping[str, Array]
) -> Block:
    """Block in which ONNX's Scan runs the graph once for each row.

    Args:
        graph: the graph.
        batching: how it takes observations.
        given: what its inputs are given for some observations, by name.
        outputs: what it answers, likewise, a row for each.
    """
    own = Nodes()
    for name, rows in given.items():
        _fill(own, name, rows.shape[1:], batching.sizes[name])
    before, own.nodes = own.nodes, []
    results = {name: _first_row(own, name, rows.shape[1:], batching.together) for name, rows in outputs.items()}
    body = make_graph(
        [*before, *graph.node, *own.nodes],
        "row",
        [make_tensor_value_info(ROW + name, _type(rows), rows.shape[1:]) for name, rows in given.items()],
        [make_tensor_value_info(results[name], _type(rows), rows.shape[1:]) for name, rows in outputs.items()],
    )
    stacked = {name: f"{PREFIX}rows/{name}" for name in outputs}
    fed = [prepared_name(name) for name in given]
    scan = make_node("Scan", fed, list(stacked.values()), name=f"{PREFIX}rows", body=body, num_scan_inputs=len(fed))
    return Block([scan], [*graph.initializer, *own.constants], stacked)


def prepared_name(name: str) -> str:
    """Name of the tensor from which a graph's input is taken row by row."""
    return f"{PREFIX}prepared/{name}"


def _fill(own: Nodes, name: str, shape: tuple[int, ...], size: int | None) -> None:
    """Add nodes that make the graph's input of one row, as often as its batch has it."""
    row = ROW + name
    if size == NO_AXIS:
        own.add_named("Identity", name, row)
        return
    lengthened = own.add("Unsqueeze", row, own.whole(0))
    own.add_named("Expand", name, lengthened, own.constant(np.array((size or 1, *shape), np.int64)))


def _first_row(own: Nodes, name: str, shape: tuple[int, ...], size: int) -> str:
    """Add nodes that take the first answer of an output, or its only one; return the result's name."""
    if size > 1:
        return own.add("Gather", name, own.constant(np.array(0, np.int64)), axis=0)
    return own.add("Reshape", name, own.constant(np.array(shape, np.int64)))


def _type(rows: Array) -> int:
    return int(np_dtype_to_tensor_dtype(rows.dtype))
