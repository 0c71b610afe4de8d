"""Detection of recurrent graphs: an unused output looks like the next value of an input."""

import re
from collections.abc import Iterable

import onnx

from polserve.training.errors import ImportRefused
from polserve.training.imports.graphs.form import GraphForm
from polserve.training.imports.graphs.wiring import dims_of

_MARKS = re.compile(
    r"(?<=^[hc])_?[nxy]$|(?<=[\W_][hc])_?[nxy]$|next|new|prev|initial|init|past|present|out|in(?=_?\d*$)|[\W_\d]"
)
"""What tells the next value of a state from the one before, in names such as h0 and hn, or state and next_state."""


def check_states(graph: onnx.GraphProto, form: GraphForm) -> tuple[str, ...]:
    """Check that no input which sees nothing of the observation is a state; return a note where one may be.

    An unused output that is computed from the input is its next value where their names say so. Where only their
    shapes are the same, it may be.

    Raises:
        ImportRefused: an input is a state.
    """
    if form.action.output is None or form.inputs is None:
        return ()  # one output, which is used, or one input
    used = {*_listed(form.action.output), *([form.values.output] if form.values else [])}
    outputs = [(node, _read_for(graph, node.name)) for node in graph.output if node.name not in used]
    given = {part.name for part in form.inputs if part.value is None or part.state is False}
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [node for node in graph.input if node.name not in given | weights]
    pairs = [(one, after) for one in inputs for after, read in outputs if one.name in read and _may_follow(one, after)]
    if named := [(one, after) for one, after in pairs if _stem(one.name) == _stem(after.name) != ""]:
        raise ImportRefused(
            f"inputs: expected a graph without states, got {_quoted(one for one, _ in named)} and what seems to be the "
            f"next value, {_quoted(after for _, after in named)}: given constants, the policy would begin anew at each "
            "step. Recurrent graphs are not imported; export the torch module with polserve.export(module, ..., "
            "states={...}). If an input is no state, add `state: false` beside its value"
        )
    alike = [(one, after) for one, after in pairs if _has_same_width(one, after)]
    return tuple(
        f"the unused output {after.name!r} has the shape of the input {one.name!r}, which is a constant. If it is "
        "the next value of a state, the policy begins anew at each step: export the torch module with "
        "polserve.export(module, ..., states={...}). If not, `state: false` beside the value leaves this note out"
        for one, after in alike
    )


def _listed(names: str | list[str]) -> Iterable[str]:
    return [names] if isinstance(names, str) else names


def _quoted(nodes: Iterable[onnx.ValueInfoProto]) -> str:
    return ", ".join(dict.fromkeys(repr(node.name) for node in nodes))


def _stem(name: str) -> str:
    """Return what a state's name and that of its next value have in common."""
    return _MARKS.sub("", name.lower())


def _read_for(graph: onnx.GraphProto, output: str) -> set[str]:
    """Names of all tensors from which an output is computed."""
    needed = {output}
    for node in reversed(graph.node):  # NOTE: ONNX sorts nodes, each after those that it reads
        if needed.intersection(node.output):
            needed |= _names_read(node)
    return needed


def _names_read(node: onnx.NodeProto) -> set[str]:
    """Names that a node reads, in the graphs of its branches and loops too."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            names.update(result.name for result in graph.output)
            for inner in graph.node:
                names |= _names_read(inner)
    return names


def _may_follow(state: onnx.ValueInfoProto, output: onnx.ValueInfoProto) -> bool:
    """Whether type and shape, as far as they are told, allow an output to be the next value of a state."""
    if state.type.tensor_type.elem_type != output.type.tensor_type.elem_type:
        return False
    before, after = dims_of(state), dims_of(output)
    if before is None or after is None:
        return True
    return len(before) == len(after) and all(
        None in {one, other} or one == other for one, other in zip(before, after, strict=True)
    )


def _has_same_width(state: onnx.ValueInfoProto, output: onnx.ValueInfoProto) -> bool:
    """Whether both are known to have the same last axis, of more than one number."""
    before, after = dims_of(state), dims_of(output)
    return bool(before and after) and (before or ())[-1] == (after or ())[-1] not in {None, 1}
