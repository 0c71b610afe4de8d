"""A graph that could harm who runs it is refused by a sentence, before ONNX Runtime sees it."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.helper import make_node

from polserve.protos.graphs.check import check_model
from polserve.protos.graphs.limits import LIMITS, GraphLimits, GraphRefused
from polserve.protos.shared.names import MODEL_FILE
from polserve.serving.errors import RolloutRefused
from polserve.serving.policy import Policy
from polserve.serving.settings.settings import BUNDLED_POLICIES
from polserve.training.errors import ImportRefused, RegistryError
from polserve.training.imports.graphs.reading import read_graph
from polserve.training.versions.onnx_policy import OnnxPolicy
from tests.support.graphs import FLOAT, model

WHOLE = TensorProto.INT64
CASES = sorted(BUNDLED_POLICIES.glob(f"*/*/{MODEL_FILE}"))


def graph_of(nodes: Sequence[onnx.NodeProto], **constants: Any) -> onnx.ModelProto:
    """A model from `x` (n, 4) to `y`."""
    values = {name: np.asarray(value) for name, value in constants.items()}
    return model(nodes, {"x": (FLOAT, ["n", 4])}, {"y": (FLOAT, ["n", 4])}, values)


def one(operator: str, **more: Any) -> onnx.ModelProto:
    """A model of one node."""
    return graph_of([make_node(operator, ["x"], ["y"], **more)])


def sized_by(operator: str, place: int, size: Any = None) -> onnx.ModelProto:
    """A model whose result is as large as numbers of an observation say, or as the constant `size` says."""
    number = [
        make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        make_node("Cast", ["most"], ["whole"], to=WHOLE),
        make_node("Reshape", ["whole", "one"], ["size"]),
    ]
    inputs = ["one"] * 3 if operator == "Range" else ["x", *["one"] * place]
    inputs[place] = "size" if size is None else "large"
    nodes = [*(number if size is None else []), make_node(operator, inputs, ["y"])]
    return graph_of(nodes, one=np.array([1]), **({} if size is None else {"large": np.array(size)}))


def external(location: str) -> onnx.ModelProto:
    """A model whose weights lie in another file."""
    made = graph_of([make_node("MatMul", ["x", "w"], ["y"])], w=np.ones((4, 4), np.float32))
    onnx.external_data_helper.set_external_data(made.graph.initializer[0], location, offset=0, length=64)
    made.graph.initializer[0].ClearField("raw_data")
    return made


def nested(depth: int) -> onnx.ModelProto:
    """A model with branches in branches."""
    inner = helper.make_graph(
        [make_node("Identity", ["x"], [f"b{depth}"])],
        "g",
        [],
        [helper.make_tensor_value_info(f"b{depth}", FLOAT, None)],
    )
    for level in reversed(range(depth)):
        node = make_node("If", ["yes"], [f"b{level}"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([node], "g", [], [helper.make_tensor_value_info(f"b{level}", FLOAT, None)])
    node = make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner)
    return graph_of([node], yes=np.array(True))


def looping() -> onnx.ModelProto:
    """A model that takes as many turns as numbers of an observation say."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [make_node("Identity", ["go"], ["on"]), make_node("Sin", ["v"], ["w"])],
        "turn",
        [value("i", WHOLE, []), value("go", TensorProto.BOOL, []), value("v", FLOAT, None)],
        [value("on", TensorProto.BOOL, []), value("w", FLOAT, None)],
    )
    turns = [make_node("ReduceMax", ["x"], ["most"], keepdims=0), make_node("Cast", ["most"], ["turns"], to=WHOLE)]
    return graph_of([*turns, make_node("Loop", ["turns", "yes", "x"], ["y"], body=body)], yes=np.array(True))


def with_function() -> onnx.ModelProto:
    """A model that calls a function of its own."""
    made = graph_of([make_node("Twice", ["x"], ["y"], domain="mine")])
    body = [make_node("Add", ["a", "a"], ["b"])]
    made.functions.append(helper.make_function("mine", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 18)]))
    made.opset_import.append(helper.make_opsetid("mine", 1))
    return made


def changed(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    """A sound model with a change."""
    made = graph_of([make_node("MatMul", ["x", "w"], ["y"])], w=np.ones((4, 4), np.float32))
    change(made)
    return made


def claim_more(made: onnx.ModelProto) -> None:
    made.graph.initializer[0].dims[:] = [2**40, 2**20]


def two_of_a_name(made: onnx.ModelProto) -> None:
    made.graph.initializer.append(made.graph.initializer[0])


def set_versions(ir: int = 10, opset: int = 18) -> Callable[[onnx.ModelProto], object]:
    def change(made: onnx.ModelProto) -> None:
        made.ir_version = ir
        made.opset_import[0].version = opset

    return change


def add_sparse(made: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2**31, 2**31]))


SIZED = {"ConstantOfShape": 0, "Expand": 1, "OneHot": 1, "Pad": 1, "Range": 1, "Resize": 3, "Tile": 1, "Upsample": 1}
"""Operators whose result is as large as one of their inputs says, and which one."""
LARGE = {
    "ConstantOfShape": [2**20, 2**20],
    "Expand": [2**40, 4],
    "Tile": [2**40, 1],
    "Range": 2**40,
    "Upsample": np.array([1, 1e12], np.float32),
    "Pad": np.array([0, 2**40, 0, 0]),
}
HOSTILE = {
    "weights in another file": (external("weights.bin"), "in model.onnx itself, got a reference to 'weights.bin'"),
    "weights above the folder": (external("../../etc/passwd"), "got a reference to '../../etc/passwd'"),
    "weights at a path": (external("/etc/passwd"), "got a reference to '/etc/passwd'"),
    "weights in memory": (external("*/_ORT_MEM_ADDR_/*"), "got a reference to '*/_ORT_MEM_ADDR_/*'"),
    "a loop": (looping(), "got Loop, whose turns may have no end; unroll it"),
    "a function": (with_function(), "expected no functions, got 1 (Twice); inline them"),
    "a custom operator": (one("Run", domain="mine"), "got mine::Run, which no policy needs"),
    "an operator that reads a file": (one("EPContext", domain="com.microsoft"), "got com.microsoft::EPContext, which"),
    "a draw": (one("Bernoulli"), "got Bernoulli, which draws at random; export the mean"),
    "a subgraph where none belongs": (one("Relu", body=helper.make_graph([], "g", [], [])), "no subgraph, got one"),
    "branches in branches": (nested(7), "subgraphs: expected at most 4 in each other, got more"),
    "a constant that claims more than it holds": (changed(claim_more), "shape [1099511627776, 1048576], got 16"),
    "two constants of one name": (changed(two_of_a_name), "value 'w': expected one origin, got two"),
    "a sparse constant": (changed(add_sparse), "expected dense ones, got 1 sparse ones"),
    "an opset of the future": (changed(set_versions(opset=99)), "opset of ai.onnx: expected 7 to 28, got 99"),
    "an opset of the past": (changed(set_versions(opset=3)), "opset of ai.onnx: expected 7 to 28, got 3"),
    "a format of the future": (changed(set_versions(ir=99)), "ir_version: expected 3 to 14, got 99"),
    "a size that is no number": (
        sized_by("Resize", 2, np.array([1, np.nan], np.float32)),
        "134,217,728 numbers, got nan",
    ),
    "wide borders": (
        one("MaxPool", kernel_shape=[1], pads=[2**40, 0]),
        "at most 4,096, got 1,099,511,627,776",
    ),
} | {
    f"a size by an observation: {name}": (sized_by(name, place), f"({name}): expected a result whose size follows from")
    for name, place in SIZED.items()
}
HOSTILE |= {
    f"a large size: {name}": (sized_by(name, SIZED[name], large), "expected a result of at most 134,217,728 numbers")
    for name, large in LARGE.items()
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_graph_is_refused_by_a_sentence_that_says_why(case: str) -> None:
    hostile, message = HOSTILE[case]
    with pytest.raises(GraphRefused, match=re.escape(message)):
        check_model(hostile.SerializeToString())


@pytest.mark.parametrize("case", HOSTILE)
def test_neither_the_service_nor_training_nor_import_runs_a_hostile_graph(case: str, tmp_path: Path) -> None:
    content = HOSTILE[case][0].SerializeToString()
    with pytest.raises(RolloutRefused, match=r"^model\.onnx cannot be loaded as one self-contained ONNX graph: "):
        Policy.of_model("hostile", "1", content)
    with pytest.raises(RegistryError, match="no graph that a service runs"):
        OnnxPolicy(content)
    if case not in {"a draw", "a function", "an opset of the past"}:  # which importing prunes, inlines and lifts
        (tmp_path / MODEL_FILE).write_bytes(content)
        with pytest.raises(ImportRefused, match=r"^model\.onnx: "):
            read_graph(tmp_path / MODEL_FILE)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x00" * 64, b"\x18\x00\x00\x00ORTM" + b"\x00" * 64])
def test_what_is_no_onnx_graph_is_refused(content: bytes) -> None:
    with pytest.raises(GraphRefused, match=r"^(model\.onnx|ir_version|opset_import): "):
        check_model(content)


def test_a_graph_of_too_many_bytes_or_nodes_is_refused() -> None:
    nodes = [make_node("Relu", ["x" if i == 0 else f"v{i}"], [f"v{i + 1}" if i < 9 else "y"]) for i in range(10)]
    content = graph_of(nodes).SerializeToString()
    check_model(content, GraphLimits(nodes=10))
    with pytest.raises(GraphRefused, match=r"nodes: expected at most 9, got 10 and more; make the network smaller"):
        check_model(content, GraphLimits(nodes=9))
    with pytest.raises(GraphRefused, match=r"model\.onnx: expected at most 100 bytes, got "):
        check_model(content, GraphLimits(model_bytes=100))


def test_sizes_that_follow_from_the_number_of_observations_are_taken() -> None:
    nodes = [
        make_node("Shape", ["x"], ["shape"]),
        make_node("Gather", ["shape", "first"], ["n"]),
        make_node("Concat", ["n", "four"], ["wanted"], axis=0),
        make_node("ConstantOfShape", ["wanted"], ["zeros"]),
        make_node("Expand", ["zeros", "wanted"], ["wide"]),
        make_node("Add", ["x", "wide"], ["y"]),
    ]
    check_model(graph_of(nodes, first=np.array([0]), four=np.array([4])).SerializeToString())


def test_rows_may_be_scanned_and_branches_taken() -> None:
    row = helper.make_graph(
        [make_node("Relu", ["r"], ["s"])],
        "row",
        [helper.make_tensor_value_info("r", FLOAT, [4])],
        [helper.make_tensor_value_info("s", FLOAT, [4])],
    )
    check_model(graph_of([make_node("Scan", ["x"], ["y"], body=row, num_scan_inputs=1)]).SerializeToString())
    check_model(nested(2).SerializeToString())


def test_a_size_that_hides_in_a_branch_is_found() -> None:
    large = helper.make_graph(
        [make_node("Cast", ["most"], ["whole"], to=WHOLE), make_node("Expand", ["x", "whole"], ["b"])],
        "g",
        [],
        [helper.make_tensor_value_info("b", FLOAT, None)],
    )
    nodes = [
        make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        make_node("If", ["yes"], ["y"], then_branch=large, else_branch=large),
    ]
    with pytest.raises(GraphRefused, match="size follows from its numbers, by 'whole'"):
        check_model(graph_of(nodes, yes=np.array(True)).SerializeToString())


def test_the_shape_of_what_an_observation_sized_says_as_much_as_its_numbers() -> None:
    nodes = [
        make_node("NonZero", ["x"], ["places"]),
        make_node("Shape", ["places"], ["found"]),
        make_node("Expand", ["x", "found"], ["y"]),
    ]
    with pytest.raises(GraphRefused, match="size follows from its numbers, by 'found'"):
        check_model(graph_of(nodes).SerializeToString())


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.parent.parent.name)
def test_the_bundled_policies_are_far_below_the_limits(path: Path) -> None:
    check_model(path.read_bytes(), GraphLimits(model_bytes=LIMITS.model_bytes // 100, nodes=LIMITS.nodes // 50))


def loads(ir: int = 10, opset: int = 18, **more: int) -> bool:
    """Whether ONNX Runtime loads a graph of these versions."""
    made = changed(set_versions(ir, opset))
    made.opset_import.extend(helper.make_opsetid(f"ai.onnx.{name}", version) for name, version in more.items())
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - onnxruntime raises a dozen unrelated classes
        return False
    return True


def test_the_newest_versions_that_are_taken_are_those_that_onnx_runtime_has() -> None:
    assert loads(opset=LIMITS.opset[-1])
    assert not loads(opset=LIMITS.opset.stop), "raise GraphLimits.opset"
    assert loads(ir=LIMITS.ir_version[-1])
    assert not loads(ir=LIMITS.ir_version.stop), "raise GraphLimits.ir_version"
    assert loads(ml=LIMITS.classic_opset[-1])
    assert not loads(ml=LIMITS.classic_opset.stop), "raise GraphLimits.classic_opset"


def test_a_model_with_any_bit_flipped_is_taken_or_refused_and_nothing_else() -> None:
    content = (BUNDLED_POLICIES / "cartpole" / "1" / MODEL_FILE).read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(len(content), size=300):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        try:
            check_model(bytes(damaged))
        except GraphRefused as refusal:
            assert str(refusal)  # noqa: PT017 - either outcome is right, and nothing else may be raised
