"""The check of a model's bytes, which nothing has run yet."""

from collections import ChainMap
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

from google.protobuf.message import DecodeError

from polserve.protos.graphs.constants import check_constant, values_of
from polserve.protos.graphs.limits import LIMITS, GraphLimits, GraphRefused
from polserve.protos.graphs.operators import ALLOWED, GROWING, SIZES, WHY_NOT
from polserve.protos.graphs.origins import FIXED, GIVEN, UNKNOWN, Level, Origin, Origins, origin_of, union
from polserve.protos.polserve.onnx import model_pb2 as pb
from polserve.protos.shared.names import MODEL_FILE, SPEC_KEY

_ORT_MARK = b"ORTM"
"""Bytes 4 to 8 of a file in ONNX Runtime's own format, which it would read by another path."""
_ANEW = "export the policy anew"


def check_model(content: bytes, limits: GraphLimits = LIMITS) -> None:
    """Return if the bytes are a graph that ends, with everything in it, of operators that only compute.

    It takes no longer than reading the bytes, whatever they hold.

    Raises:
        GraphRefused: they are not.
    """
    if len(content) > limits.model_bytes:
        got = f"{len(content):,} bytes"
        raise GraphRefused(MODEL_FILE, f"at most {limits.model_bytes:,} bytes", got, "make the network smaller")
    if content[4:8] == _ORT_MARK:
        raise GraphRefused(MODEL_FILE, "an ONNX graph", "a model in ONNX Runtime's own format", _ANEW)
    try:
        model = pb.Model.FromString(content)
    except DecodeError as error:
        raise GraphRefused(MODEL_FILE, "an ONNX graph", "a file that is none, or is damaged", _ANEW) from error
    _check_versions(model, limits)
    if model.functions:
        names = ", ".join(function.name for function in model.functions[:3])
        remedy = "inline them: onnx.inliner.inline_local_functions"
        raise GraphRefused(MODEL_FILE, "no functions", f"{len(model.functions)} ({names[:100]})", remedy)
    spec_bytes = sum(len(entry.value) for entry in model.metadata_props if entry.key == SPEC_KEY)
    if spec_bytes > limits.spec_bytes:
        raise GraphRefused(SPEC_KEY, f"at most {limits.spec_bytes:,} characters", f"{spec_bytes:,}", _ANEW)
    _Walk(limits).check_graph(model.graph, ChainMap())


def _check_versions(model: pb.Model, limits: GraphLimits) -> None:
    """Raise GraphRefused where ONNX Runtime lacks the format or the operators."""
    newer = "export the policy for another opset, or upgrade onnxruntime where it is newer"
    if model.ir_version not in limits.ir_version:
        raise GraphRefused("ir_version", _span(limits.ir_version), str(model.ir_version), newer)
    if not model.opset_import:
        raise GraphRefused("opset_import", "the version of ONNX's operators", "none", _ANEW)
    for used in model.opset_import:
        known = {"": limits.opset, "ai.onnx": limits.opset, "ai.onnx.ml": limits.classic_opset}.get(used.domain)
        if known is not None and used.version not in known:
            raise GraphRefused(f"opset of {used.domain or 'ai.onnx'}", _span(known), str(used.version), newer)


@dataclass(slots=True)
class _Walk:
    """A walk over all nodes of a graph and of its subgraphs."""

    limits: GraphLimits
    n_nodes: int = 0
    constants: "ChainMap[str, pb.Tensor]" = field(default_factory=ChainMap)
    """Constants that the nodes see, by name."""

    def check_graph(self, graph: pb.Graph, outer: "ChainMap[str, Origin]", depth: int = 0) -> list[Origin]:
        """Check a graph whose nodes see the values `outer`; return the origins of its outputs."""
        self._count(graph, depth)
        origins = outer.new_child()
        self.constants = self.constants.new_child()
        for tensor in graph.initializer:
            check_constant(tensor, tensor.name)
            self._define(tensor.name, FIXED, origins)
            self.constants[tensor.name] = tensor
        for value in graph.input:
            self._check_input(value)
            if depth == 0:  # where a constant has the name too, nobody gives anything: it counts
                origins.setdefault(value.name, GIVEN)
        for node in graph.node:
            self._check_node(node)
            origin = self._origin_of(node, origins, depth)
            for name in filter(None, node.output):
                self._define(name, origin, origins)
        self.constants = self.constants.parents
        return [origins.get(value.name, UNKNOWN) for value in graph.output]

    def _count(self, graph: pb.Graph, depth: int) -> None:
        self.n_nodes += len(graph.node)
        if self.n_nodes > self.limits.nodes:
            more = f"{self.n_nodes:,} and more"
            raise GraphRefused("nodes", f"at most {self.limits.nodes:,}", more, "make the network smaller")
        if depth > self.limits.depth:
            raise GraphRefused("subgraphs", f"at most {self.limits.depth} in each other", "more", _ANEW)
        if graph.sparse_initializer:
            got = f"{len(graph.sparse_initializer)} sparse ones"
            raise GraphRefused("constants", "dense ones", got, "make them dense")

    def _define(self, name: str, origin: Origin, origins: Origins) -> None:
        """Note where a value comes from: the only one of its name, else readers may differ on which counts."""
        if name in origins:
            raise GraphRefused(f"value {name[:100]!r}", "one origin", "two", _ANEW)
        origins[name] = origin

    def _check_input(self, value: pb.Value) -> None:
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.dim_value]
        if min(dims, default=1) < 0 or prod(dims) > self.limits.elements:
            expected = f"at most {self.limits.elements:,} numbers"
            raise GraphRefused(f"input {value.name[:100]!r}", expected, f"the shape {dims}"[:200], _ANEW)

    def _check_node(self, node: pb.Node) -> None:
        """Raise GraphRefused where a node is none that computes, or its attributes are out of bounds."""
        operators = ALLOWED.get(node.domain, frozenset()) | self.limits.more_operators
        name = f"{node.domain}::{node.op_type}" if node.domain not in {"", "ai.onnx"} else node.op_type
        if node.op_type not in operators or node.domain not in ALLOWED:
            reason, remedy = WHY_NOT.get(name, ("which no policy needs", "export it with ONNX's own operators"))
            raise GraphRefused("operators", "those that a service runs", f"{name[:100]}, {reason}", remedy)
        names = [attribute.name for attribute in node.attribute]
        if len(set(names)) != len(names):
            raise GraphRefused(f"node {_name(node)}", "each attribute once", "one of them twice", _ANEW)
        for attribute in node.attribute:
            self._check_attribute(node, attribute)

    def _check_attribute(self, node: pb.Node, attribute: pb.Attribute) -> None:
        where = f"attribute {attribute.name!r} of node {_name(node)}"
        if attribute.ref_attr_name:
            raise GraphRefused(where, "a value", "a reference to one of a function", _ANEW)
        if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            raise GraphRefused(where, "a dense tensor", "a sparse one", "make it dense")
        for tensor in (*([attribute.t] if attribute.HasField("t") else ()), *attribute.tensors):
            check_constant(tensor, where)
        if attribute.name in GROWING:
            for value in (attribute.i, attribute.f, *attribute.ints, *attribute.floats):
                if not abs(value) <= self.limits.growth:  # NaN, too
                    raise GraphRefused(where, f"at most {self.limits.growth:,}", f"{value:,}", _ANEW)

    def _origin_of(self, node: pb.Node, origins: "ChainMap[str, Origin]", depth: int) -> Origin:
        """Return where a node's results come from; raises GraphRefused where they have no bound."""
        subgraphs = list(_subgraphs(node))
        if node.op_type not in {"If", "Scan"} and subgraphs:
            raise GraphRefused(f"node {_name(node)} ({node.op_type})", "no subgraph", "one", _ANEW)
        if not subgraphs:
            self._check_sizes(node)
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                self.constants.update(dict.fromkeys(node.output, node.attribute[0].t))
            return origin_of(node, origins)
        given = union(origins.get(name, UNKNOWN) for name in node.input)
        outputs: list[Origin] = []
        for graph in subgraphs:
            inner = origins.new_child({value.name: Origin(Level.NUMBERS, given.shape) for value in graph.input})
            outputs += self.check_graph(graph, inner, depth + 1)
        content, shape = union([*outputs, given])
        return Origin(content, max(shape, given.content) if node.op_type == "If" else shape)  # by the branch that ran

    def _check_sizes(self, node: pb.Node) -> None:
        """Raise GraphRefused where constants make a result too large."""
        for place in SIZES.get(node.op_type, ()):
            tensor = self.constants.get(node.input[place]) if place < len(node.input) else None
            values = None if tensor is None else values_of(tensor)
            size = prod(1.0 if abs(value) <= 1 else abs(value) for value in values or ())
            if not size <= self.limits.elements:  # NaN, too
                raise GraphRefused(
                    f"node {_name(node)} ({node.op_type})",
                    f"a result of at most {self.limits.elements:,} numbers",
                    f"{size:,.10g}",
                    "make it smaller",
                )


def _subgraphs(node: pb.Node) -> Iterator[pb.Graph]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _name(node: pb.Node) -> str:
    return repr((node.name or next(iter(node.output), ""))[:100])


def _span(versions: range) -> str:
    return f"{versions[0]} to {versions[-1]}"
