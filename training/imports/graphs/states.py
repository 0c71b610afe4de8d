"""Recurrent graphs, told by an input whose next value another output seems to be."""

import re
from collections.abc import Iterable

import onnx

from polserve.training.errors import ImportRefused
from polserve.training.imports.graphs.form import GraphForm
from polserve.training.imports.graphs.wiring import Dims, dims_of

_MARKS = re.compile(r"next|new|prev|init|out|in$|[\W_\d]|(?<=^h)n$|(?<=^c)n$")
"""What tells the next value of a state from the one before, in names such as h0 and hn, or state and next_state."""


def check_has_no_states(graph: onnx.GraphProto, form: GraphForm) -> None:
    """Check that no input which sees nothing of the observation is a state, whose next value goes unused.

    Raises:
        ImportRefused: one seems to be.
    """
    if form.action.output is None or form.inputs is None:
        return  # one output, which is used, or one input
    used = {*_listed(form.action.output), *([form.values.output] if form.values else [])}
    outputs = [node for node in graph.output if node.name not in used]
    given = {part.name for part in form.inputs if part.value is None or part.state is False}
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [node for node in graph.input if node.name not in given | weights]
    pairs = [(one.name, after.name) for one in inputs for after in outputs if _is_next(one, after)]
    if pairs:
        states, following = (", ".join(dict.fromkeys(map(repr, names))) for names in zip(*pairs, strict=True))
        raise ImportRefused(
            f"inputs: expected a graph without states, got {states} and what seems to be the next value, "
            f"{following}: given constants, the policy would begin anew at each step. Recurrent graphs are not "
            "imported; export the torch module with polserve.export(module, ..., states={...}). If an input is no "
            "state, add `state: false` beside its value"
        )


def _listed(names: str | list[str]) -> Iterable[str]:
    return [names] if isinstance(names, str) else names


def _is_next(state: onnx.ValueInfoProto, output: onnx.ValueInfoProto) -> bool:
    """Whether an output may be the next value of a state: of its shape, or where a shape is not told, of its name."""
    if state.type.tensor_type.elem_type != output.type.tensor_type.elem_type:
        return False
    before, after = dims_of(state), dims_of(output)
    if not before or not after or before[-1] is None or after[-1] is None:
        return _MARKS.sub("", state.name.lower()) == _MARKS.sub("", output.name.lower()) != ""
    return _has_shape(before, after)


def _has_shape(before: Dims, after: Dims) -> bool:
    """Whether two shapes of more than one number may be the same."""
    is_alike = len(before) == len(after) and all(
        None in {one, other} or one == other for one, other in zip(before, after, strict=True)
    )
    return is_alike and before[-1] != 1
