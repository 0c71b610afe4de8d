"""Versions that pass every check before they answer, and run away at certain observations."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.helper import make_node

from polserve.protos.shared.names import OBSERVATION
from polserve.training.versions.version import PolicyVersion
from tests.support.versions import make_version

Trap: TypeAlias = Literal["turns", "operator", "brief operator", "memory", "crash"]
TRIGGER = 1e6
"""A number that springs the trap where an observation of cartpole has it; the golden ones are far below."""
FLOAT = TensorProto.FLOAT


@lru_cache
def make_trapped_version(trap: Trap, seed: int = 1) -> PolicyVersion:
    """A version of cartpole that runs away at observations with `TRIGGER` in them.

    By "turns" it takes a billion turns of small operators; by "operator" a single one goes on for many seconds, by
    "brief operator" for one; by "memory" it asks for more memory than there is; by "crash" it divides whole numbers in
    a way that the processor ends the process for.
    """
    version = make_version(seed)
    model = onnx.ModelProto()
    model.CopyFrom(version.model)
    for node in model.graph.node:
        node.input[:] = ["seen" if name == OBSERVATION else name for name in node.input]
    nodes, constants = _TRAPS[trap]()
    zero = helper.make_tensor_value_info("zero", FLOAT, None)
    none = helper.make_tensor_value_info("none", FLOAT, None)
    closed = [make_node("ReduceMax", ["slow"], ["most"], keepdims=0), make_node("Mul", ["most", "nought"], ["zero"])]
    branch = helper.make_graph([*nodes, *closed], "trap", [], [zero])
    calm = helper.make_graph([make_node("Identity", ["nought"], ["none"])], "calm", [], [none])
    first = [
        make_node("ReduceMax", [OBSERVATION], ["largest"], keepdims=0),
        make_node("GreaterOrEqual", ["largest", "trigger"], ["is_sprung"]),
        make_node("If", ["is_sprung"], ["added"], then_branch=branch, else_branch=calm),
        make_node("Add", [OBSERVATION, "added"], ["seen"]),
    ]
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*first, *rest])
    constants |= {"trigger": np.array(TRIGGER, np.float32), "nought": np.array(0, np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return PolicyVersion(model, version.spec, version.golden)


Part: TypeAlias = tuple[Sequence[onnx.NodeProto], dict[str, NDArray[Any]]]


def _turns() -> Part:
    """Rows of rows, scanned one by one."""
    rows = {"rows": np.ones((2**15, 1), np.float32)}
    value = helper.make_tensor_value_info
    inner = helper.make_graph(
        [make_node("Sin", ["b"], ["c"])], "inner", [value("b", FLOAT, [1])], [value("c", FLOAT, [1])]
    )
    outer = helper.make_graph(
        [
            make_node("Scan", ["rows"], ["all"], body=inner, num_scan_inputs=1),
            make_node("ReduceMax", ["all"], ["one"], keepdims=0),
            make_node("Add", ["a", "one"], ["d"]),
        ],
        "outer",
        [value("a", FLOAT, [1])],
        [value("d", FLOAT, [1])],
    )
    return [make_node("Scan", ["rows"], ["slow"], body=outer, num_scan_inputs=1)], rows


def _operator(length: int) -> Part:
    """One long sequence for a recurrent operator."""
    weights = {"w": np.ones((1, 4, 1), np.float32), "r": np.ones((1, 4, 1), np.float32)}
    nodes = [
        make_node("Expand", ["largest", "length"], ["sequence"]),
        make_node("LSTM", ["sequence", "w", "r"], ["", "slow"], hidden_size=1),
    ]
    return nodes, {**weights, "length": np.array([length, 1, 1])}


def _memory() -> Part:
    """The sum of a row and a column, which is as large as their product."""
    nodes = [
        make_node("Expand", ["nought", "wide"], ["row"]),
        make_node("Expand", ["nought", "tall"], ["column"]),
        make_node("Add", ["row", "column"], ["slow"]),
    ]
    return nodes, {"wide": np.array([1, 2**25]), "tall": np.array([2**25, 1])}


def _crash() -> Part:
    """The least whole number, divided by -1."""
    nodes = [
        make_node("Div", ["largest", "minus"], ["quotient"]),
        make_node("Cast", ["quotient"], ["minus_one"], to=TensorProto.INT32),
        make_node("Div", ["least", "minus_one"], ["most_of_all"]),
        make_node("Cast", ["most_of_all"], ["slow"], to=FLOAT),
    ]
    return nodes, {"minus": np.array(-TRIGGER, np.float32), "least": np.array(-(2**31), np.int32)}


_TRAPS: dict[Trap, Callable[[], Part]] = {
    "turns": _turns,
    "operator": partial(_operator, 2**24),
    "brief operator": partial(_operator, 2**21),
    "memory": _memory,
    "crash": _crash,
}
