"""The policy's graph: the steps before, the graph that came, and the steps after, as one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.compose
from gymnasium.spaces import Box

from polserve.protos.shared.golden import TOLERANCE
from polserve.protos.shared.names import ACTION, OBSERVATION, VALUES
from polserve.training.errors import ImportRefused, RegistryError
from polserve.training.imports.graphs.actions import Finish
from polserve.training.imports.graphs.batches import Block, by_rows, prepared_name, together
from polserve.training.imports.graphs.nodes import Nodes
from polserve.training.imports.graphs.original import Batching, Original
from polserve.training.imports.graphs.reading import check_is_repeatable
from polserve.training.imports.graphs.steps import Array
from polserve.training.imports.graphs.wiring import GraphInput, Wiring, prepared
from polserve.training.versions.onnx_policy import OnnxPolicy

INNER = "graph/"
"""Before the names of all that came in the graph."""
SIZES = (1, 2, 17)
"""Batches on which a graph whose batch was fixed is tried."""
BATCH = "batch"


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the policy's graph is made of."""

    path: Path
    model: onnx.ModelProto
    wiring: Wiring
    original: Original
    action: Finish
    values: Finish | None
    space: Box
    """Of the observations."""


def compose(parts: Parts, observations: Array) -> tuple[onnx.ModelProto, bool]:
    """Make the policy's graph; say whether it runs the graph that came row by row.

    Raises:
        ImportRefused: the graph cannot be made to answer any number of observations.
    """
    inner = _pruned(parts)
    raw = parts.original.run(observations[: max(SIZES)])
    whole = _assembled(parts, inner, raw, observations, is_by_rows=False)
    if parts.original.batching.is_dynamic or _answers_alike(parts, whole, observations):
        return whole.model, False
    rows = _assembled(parts, inner, raw, observations, is_by_rows=True)
    if _answers_alike(parts, rows, observations):
        return rows.model, True
    raise ImportRefused(
        f"{parts.path.name}: expected a graph that answers any number of observations, got one whose batch is fixed in "
        "a way that cannot be undone; export it with a dynamic first axis"
    )


def _pruned(parts: Parts) -> onnx.ModelProto:
    """Graph that came, less what its other outputs need, and with names that nothing else has."""
    graph = parts.model.graph
    needed = set(parts.wiring.outputs)
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed |= _read_by(node)
    pruned = onnx.ModelProto()
    pruned.CopyFrom(parts.model)
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    outputs = [output for output in graph.output if output.name in parts.wiring.outputs]
    inputs = [node for node in graph.input if node.name not in {tensor.name for tensor in graph.initializer}]
    for field, content in (("node", kept[::-1]), ("initializer", constants), ("output", outputs), ("input", inputs)):
        pruned.graph.ClearField(field)
        getattr(pruned.graph, field).extend(content)
    pruned.graph.ClearField("value_info")
    check_is_repeatable(parts.path, pruned.graph)
    return onnx.compose.add_prefix(pruned, INNER)


def _read_by(node: onnx.NodeProto) -> set[str]:
    """Names that a node reads, those that branches and loops in it take from around it included."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            names |= {output.name for output in graph.output}.union(*(_read_by(inner) for inner in graph.node))
    return names


@dataclass(frozen=True, slots=True)
class _Assembled:
    """The policy's graph, and where in it the outputs of the graph that came are."""

    model: onnx.ModelProto
    outputs: Mapping[str, str]
    """Name of a tensor by the name of the output."""


def _assembled(
    parts: Parts, inner: onnx.ModelProto, raw: dict[str, Array], observations: Array, *, is_by_rows: bool
) -> _Assembled:
    before, after = Nodes(), Nodes(_count=10_000)
    observed = [wired for wired in parts.wiring.inputs if not wired.is_constant]
    for wired in parts.wiring.inputs:
        name = prepared_name(INNER + wired.name) if is_by_rows and not wired.is_constant else INNER + wired.name
        _emit_input(before, wired, observations, name)
    block = _block(
        parts, inner.graph, raw, {wired.name: prepared(wired, observations) for wired in observed}, is_by_rows
    )
    for output, finish, result in (
        (parts.wiring.action, parts.action, ACTION),
        (parts.wiring.values, parts.values, VALUES),
    ):
        if output is not None and finish is not None:
            finish.emit(after, block.outputs[INNER + output.name], raw[output.name], result)
    graph = onnx.helper.make_graph(
        [*before.nodes, *block.nodes, *after.nodes],
        "policy",
        [_information(OBSERVATION, parts.space.dtype, parts.space.shape)],
        [_information(name, finish.dtype, finish.shape) for name, finish in _results(parts)],
        [*before.constants, *block.constants, *after.constants],
    )
    _strip(graph.node)
    model = onnx.helper.make_model(graph, opset_imports=inner.opset_import, ir_version=max(8, inner.ir_version))
    return _Assembled(model, {name: block.outputs[INNER + name] for name in raw})


def _results(parts: Parts) -> list[tuple[str, Finish]]:
    return [(ACTION, parts.action), *([(VALUES, parts.values)] if parts.values else [])]


def _information(name: str, dtype: "np.dtype[np.generic]", shape: Iterable[int]) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return onnx.helper.make_tensor_value_info(name, kind, [BATCH, *shape])


def _block(
    parts: Parts,
    graph: onnx.GraphProto,
    raw: dict[str, Array],
    given: dict[str, Array],
    is_by_rows: bool,  # noqa: FBT001
) -> Block:
    batching = parts.original.batching
    inner = onnx.GraphProto()
    inner.CopyFrom(graph)
    if not is_by_rows:
        return together(inner, batching, [INNER + name for name in raw])
    sizes = {INNER + name: size for name, size in batching.sizes.items()}
    return by_rows(inner, Batching(sizes), _within(given), _within(raw))


def _within(arrays: dict[str, Array]) -> dict[str, Array]:
    """Arrays by the names that the inner graph has for them."""
    return {INNER + name: array for name, array in arrays.items()}


def _emit_input(nodes: Nodes, wired: GraphInput, observations: Array, result: str) -> None:
    """Add nodes that make what an input is given, from the observation or of a constant."""
    if wired.value is not None:
        constant = nodes.constant(wired.value)
        if not wired.is_constant_by_row:
            return nodes.add_named("Identity", result, constant)
        n = nodes.add("Slice", nodes.add("Shape", OBSERVATION), nodes.whole(0), nodes.whole(1))
        shape = nodes.add("Concat", n, nodes.constant(np.array(wired.value.shape[1:], np.int64)), axis=0)
        return nodes.add_named("Expand", result, constant, shape)
    name, array = OBSERVATION, observations[:2]
    if wired.columns is not None:
        flat = nodes.reshape(name, (int(np.prod(array.shape[1:])),))
        name = nodes.add("Gather", flat, nodes.constant(np.array(wired.columns, np.int64)), axis=1)
        array = array.reshape(len(array), -1)[:, list(wired.columns)]
    for step in wired.steps:
        name = step.emit(nodes, name, array)
        array = step.compute(array)
    kind = onnx.helper.np_dtype_to_tensor_dtype(wired.dtype)
    return nodes.add_named("Cast", result, name, to=kind)


def _strip(nodes: Iterable[onnx.NodeProto]) -> None:
    """Take out exporters' notes: stack traces, with the paths of the machine that exported."""
    for node in nodes:
        del node.metadata_props[:]
        node.ClearField("doc_string")


def _answers_alike(parts: Parts, assembled: _Assembled, observations: Array) -> bool:
    """Whether the graph inside the policy's answers batches as the original answers their observations, one by one."""
    trial = onnx.ModelProto()
    trial.CopyFrom(assembled.model)
    trial.graph.output.extend(onnx.ValueInfoProto(name=tensor) for tensor in assembled.outputs.values())
    try:
        policy = OnnxPolicy(trial.SerializeToString())
    except RegistryError:
        return False
    for size in SIZES:
        batch = observations[:size]
        try:
            got = policy.run(batch)
        except Exception:  # noqa: BLE001 - onnxruntime raises a dozen unrelated classes
            return False
        for name, expected in parts.original.run(batch).items():
            answer = got[assembled.outputs[name]]
            if answer.shape != expected.shape or not _are_close(answer, expected):
                return False
    return True


def _are_close(answer: Array, expected: Array) -> bool:
    """Whether numbers agree, within what their dtype can tell apart after a few operations."""
    rounding = 8 * float(np.finfo(expected.dtype).eps) if expected.dtype.kind == "f" else 0.0
    tolerance = max(TOLERANCE, rounding)
    return bool(np.allclose(answer, expected, rtol=tolerance, atol=tolerance))
