"""Several outputs, one for each choice of an action, joined to one."""

import onnx

from polserve.training.errors import ImportRefused
from polserve.training.imports.graphs.form import GraphForm
from polserve.training.imports.graphs.wiring import MATRIX, dims_of, require_name

JOINED = "polserve/heads"
"""Name of the node that joins the outputs, and of what it gives."""


def join_heads(model: onnx.ModelProto, form: GraphForm) -> GraphForm:
    """Add to the model an output that joins those that the spec lists; return the spec with its name.

    Raises:
        ImportRefused: they are none of the graph's, or have no row of scores for each observation.
    """
    names = form.action.output
    if not isinstance(names, list):
        return form
    found = {node.name: node for node in model.graph.output}
    for name in names:
        require_name("action.output", name, found, "output")
    heads = [found[name] for name in names]
    kinds = {head.type.tensor_type.elem_type for head in heads}
    if len(kinds) != 1 or any(len(dims_of(head) or ()) != MATRIX for head in heads):
        got = ", ".join(f"{head.name!r} {list(dims_of(head) or ())}" for head in heads)
        raise ImportRefused(
            "action.output: expected a list of outputs (n, scores) of one dtype, which are joined in their order, got "
            f"{got}; export one output for all of them"
        )
    widths = [(dims_of(head) or (None,))[-1] for head in heads]
    model.graph.node.append(onnx.helper.make_node("Concat", names, [JOINED], name=JOINED, axis=1))
    width = None if None in widths else sum(width or 0 for width in widths)
    model.graph.output.append(onnx.helper.make_tensor_value_info(JOINED, kinds.pop(), [None, width]))
    return form.model_copy(update={"action": form.action.model_copy(update={"output": JOINED})})
