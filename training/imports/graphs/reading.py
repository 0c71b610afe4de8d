"""A file that should hold an ONNX graph: read whole, within bounds, and refused where it can be no policy."""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo, load_external_data_for_model, uses_external_data

from polserve.protos.graphs.check import check_model
from polserve.protos.graphs.limits import GraphLimits, GraphRefused
from polserve.protos.graphs.operators import DRAWN
from polserve.training.errors import ImportRefused

MOST_BYTES = 1 << 30
"""Largest file that is read, its external data included."""
DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
"""Operators that ONNX Runtime has."""
HALVES = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
"""Element types of half precision, which inputs and outputs may not have."""
OPSET = 13
"""Lowest opset in which the steps around the graph mean what they are to mean."""
_LIMITS = GraphLimits(model_bytes=MOST_BYTES, opset=range(1, GraphLimits().opset.stop), more_operators=DRAWN)
"""What a graph may be that comes: it is lifted to a later opset, and outputs that nobody asks for may draw."""
_OTHER_FILES = {
    b"PK\x03\x04": "an archive, as torch.save, Keras and stable-baselines3 write; export the network to ONNX first",
    b"\x89HDF": "HDF5, as older Keras writes; export the model to ONNX first",
    b"\x80\x02": "a pickle, which is never read; export the network to ONNX first",
    b"\x80\x04": "a pickle, which is never read; export the network to ONNX first",
    b"\x80\x05": "a pickle, which is never read; export the network to ONNX first",
}


def read_graph(path: Path) -> onnx.ModelProto:
    """Read a graph with its weights, at an opset to which steps can be added.

    Raises:
        ImportRefused: the file holds none, or one that can be no policy here.
    """
    model = _parsed(path)
    _load_external(path, model)
    _check_operators(path, model)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    _check_bounds(path, model)
    _check_numbers(path, model)
    return _at_opset(path, model)


def _parsed(path: Path) -> onnx.ModelProto:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ImportRefused(f"{path.name}: expected at most {MOST_BYTES:,} bytes, got {size:,}")
        content = path.read_bytes()
    except OSError as error:
        raise ImportRefused(f"{path}: expected a file that can be read: {error.strerror}") from error
    for start, what in _OTHER_FILES.items():
        if content.startswith(start):
            raise ImportRefused(f"{path.name}: expected an ONNX graph, got {what}")
    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise ImportRefused(f"{path.name}: expected an ONNX graph, got a file that is none or is damaged") from error
    if not model.graph.node or not model.opset_import:
        raise ImportRefused(f"{path.name}: expected an ONNX graph with operators, got one without any")
    return model


def tensors_of(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All constants of a graph, those in the branches and loops in it included."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from tensors_of(attribute.g)
            for inner in attribute.graphs:
                yield from tensors_of(inner)


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes of a graph, those in the branches and loops in it included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from nodes_of(inner)


def _load_external(path: Path, model: onnx.ModelProto) -> None:
    """Read weights that lie in a file beside the graph; raises ImportRefused where there is none."""
    outside = [tensor for tensor in tensors_of(model.graph) if uses_external_data(tensor)]
    if not outside:
        return
    folder = path.resolve().parent
    total = 0
    for name in sorted({ExternalDataInfo(tensor).location for tensor in outside}):
        beside = folder / name
        if beside.resolve().parent != folder or not beside.is_file():
            raise ImportRefused(
                f"{path.name}: its weights lie in another file, {name!r}, expected beside it in {folder}; put it "
                "there, or save the graph in one piece: onnx.save(onnx.load(FILE), FILE, save_as_external_data=False)"
            )
        total += beside.stat().st_size
    if total > MOST_BYTES:
        raise ImportRefused(f"{path.name}: expected at most {MOST_BYTES:,} bytes of weights, got {total:,}")
    try:
        load_external_data_for_model(model, str(folder))
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ImportRefused(f"{path.name}: its weights beside it cannot be read: {reason}; copy both again") from error


def _check_operators(path: Path, model: onnx.ModelProto) -> None:
    """Raise ImportRefused where operators are used that ONNX Runtime does not have, unless the file defines them."""
    defined = {(function.domain, function.name) for function in model.functions}
    within = [node for function in model.functions for node in function.node]
    used = [*nodes_of(model.graph), *within]
    custom = {
        f"{node.domain}::{node.op_type}"
        for node in used
        if node.domain not in DOMAINS and (node.domain, node.op_type) not in defined
    }
    if custom:
        raise ImportRefused(
            f"{path.name}: expected operators of ONNX, got custom ones, which no service has: "
            f"{', '.join(sorted(custom))}; export the network with ONNX's own operators"
        )


def _check_bounds(path: Path, model: onnx.ModelProto) -> None:
    """Raise ImportRefused where no service would run the graph: before ONNX Runtime sees it here."""
    try:
        check_model(model.SerializeToString(), _LIMITS)
    except GraphRefused as refusal:
        raise ImportRefused(f"{path.name}: {refusal}") from refusal


def _check_numbers(path: Path, model: onnx.ModelProto) -> None:
    for tensor in tensors_of(model.graph):
        if tensor.data_type not in {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16}:
            continue
        try:
            array = onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError) as error:
            raise ImportRefused(f"{path.name}: {tensor.name}: its numbers do not fill {list(tensor.dims)}") from error
        if np.isnan(array).any():
            raise ImportRefused(
                f"{path.name}: {tensor.name}: expected weights that are numbers, got NaN: the training diverged; "
                "import an earlier checkpoint"
            )


def _at_opset(path: Path, model: onnx.ModelProto) -> onnx.ModelProto:
    """Model itself, or where its opset is too old, the same in a newer one."""
    opset = next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 0)
    if opset >= OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter raises RuntimeError, ValueError and classes of its own
        reason = " ".join(str(error).split())[:200]
        raise ImportRefused(
            f"{path.name}: expected opset {OPSET} or later, got {opset}, which could not be converted ({reason}); "
            "export the network anew with a later opset"
        ) from error


def check_has_no_halves(path: Path, graph: onnx.GraphProto, names: Collection[str]) -> None:
    """Raise ImportRefused where inputs or outputs of these names are float16.

    Within a larger graph ONNX Runtime leaves roundings to float16 out, such as that of an observation, so that the
    policy would act otherwise than the graph as it came.
    """
    halves = [node for node in (*graph.input, *graph.output) if node.name in names]
    if found := [node.name for node in halves if node.type.tensor_type.elem_type in HALVES]:
        raise ImportRefused(
            f"{path.name}: expected inputs and outputs in float32, got float16 in {', '.join(map(repr, found))}; "
            "export the network in float32, in torch after module.float()"
        )


def check_is_repeatable(path: Path, graph: onnx.GraphProto) -> None:
    """Raise ImportRefused where the graph draws at random."""
    drawn = sorted({node.op_type for node in nodes_of(graph) if node.op_type in DRAWN})
    if drawn:
        raise ImportRefused(
            f"{path.name}: expected a deterministic policy, got a graph that draws at random ({', '.join(drawn)}); "
            "export its mean or its most probable action, or map an output before the draw"
        )
