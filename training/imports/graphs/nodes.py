"""A row of ONNX nodes in the making, so that a step can say in a line what it adds."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

PREFIX = "polserve/"
"""Before the names of all that is added to a graph."""


@dataclass(slots=True)
class Nodes:
    """Nodes and constants that are added to a graph."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    _count: int = 0

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        output = self.name(operator.lower())
        self.nodes.append(onnx.helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def add_named(self, operator: str, output: str, *inputs: str, **attributes: Any) -> None:
        """Add a node whose output has that name."""
        self.nodes.append(onnx.helper.make_node(operator, list(inputs), [output], name=self.name("to"), **attributes))

    def constant(self, value: NDArray[Any]) -> str:
        """Add a constant; return its name."""
        name = self.name("constant")
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def whole(self, number: int) -> str:
        """Add a whole number as a constant of one element; return its name."""
        return self.constant(np.array([number], np.int64))

    def cast(self, name: str, dtype: np.dtype[Any]) -> str:
        """Add a conversion to the dtype; return the name of its output."""
        return self.add("Cast", name, to=onnx.helper.np_dtype_to_tensor_dtype(dtype))

    def reshape(self, name: str, shape: tuple[int, ...]) -> str:
        """Give each observation another shape; return the name of the result (n, *shape)."""
        return self.add("Reshape", name, self.constant(np.array((-1, *shape), np.int64)))

    def name(self, what: str) -> str:
        """Name that nothing else has."""
        self._count += 1
        return f"{PREFIX}{what}_{self._count}"
