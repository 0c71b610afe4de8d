"""A graph that ends the process which loads it."""

import numpy as np
from onnx import TensorProto, numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info


def crashing_model() -> bytes:
    """A model that ends the process which loads it: it folds the constant -2**31 / -1, which the processor refuses."""
    least = numpy_helper.from_array(np.array([-(2**31)], np.int32), "least")
    minus_one = numpy_helper.from_array(np.array([-1], np.int32), "minus_one")
    shape: list[str | int | None] = ["batch", 4]
    graph = make_graph(
        [
            make_node("Div", ["least", "minus_one"], ["quotient"]),
            make_node("Cast", ["quotient"], ["offset"], to=TensorProto.FLOAT),
            make_node("Add", ["observation", "offset"], ["action"]),
        ],
        "crash",
        [make_tensor_value_info("observation", TensorProto.FLOAT, shape)],
        [make_tensor_value_info("action", TensorProto.FLOAT, shape)],
        [least, minus_one],
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())
