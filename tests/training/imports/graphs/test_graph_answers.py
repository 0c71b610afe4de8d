"""What a graph gives becomes an action in more ways than by scores, and an error names the way."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from polserve.training.errors import ImportRefused
from tests.support.graphs import FLOAT, FOUR_TO_TWO, check_answers_as_it_came, linear, model, read, weights


def headed(rank: int = 2) -> onnx.ModelProto:
    """A graph with scores of three actions and of two, or with one number for each."""
    nodes = [make_node("MatMul", ["obs", "w"], ["a"]), make_node("MatMul", ["obs", "v"], ["b"])]
    widths = {"w": 3, "v": 2}
    if rank == 1:
        nodes = [make_node("ArgMax", [f"{name}s"], [name], axis=1, keepdims=0) for name in ("a", "b")]
        nodes[:0] = [make_node("MatMul", ["obs", "w"], ["as"]), make_node("MatMul", ["obs", "v"], ["bs"])]
    kind = FLOAT if rank == 2 else TensorProto.INT64
    outputs: dict[str, Any] = {
        name: (kind, ["n", width][:rank]) for name, width in zip("ab", widths.values(), strict=True)
    }
    constants = {name: weights(4, width) for name, width in widths.items()}
    return model(nodes, {"obs": (FLOAT, ["n", 4])}, outputs, constants)


def probable() -> onnx.ModelProto:
    """A graph that gives the probability of the second action."""
    nodes = [make_node("MatMul", ["obs", "w"], ["logit"]), make_node("Sigmoid", ["logit"], ["p"])]
    return model(nodes, {"obs": (FLOAT, ["n", 4])}, {"p": (FLOAT, ["n", 1])}, {"w": weights(4, 1)})


def floating(start: int = 0) -> onnx.ModelProto:
    """A graph that gives the number of the action, counted from `start`, as a float."""
    nodes = [
        make_node("MatMul", ["obs", "w"], ["q"]),
        make_node("ArgMax", ["q"], ["best"], axis=1, keepdims=0),
        make_node("Cast", ["best"], ["number"], to=FLOAT),
        make_node("Add", ["number", "start"], ["action"]),
    ]
    constants = {"w": weights(4, 2), "start": np.array(start, np.float32)}
    return model(nodes, {"obs": (FLOAT, ["n", 4])}, {"action": (FLOAT, ["n"])}, constants)


def test_outputs_for_one_choice_each_are_joined(tmp_path: Path) -> None:
    action = {"multi_discrete": [3, 2], "output": ["a", "b"]}
    policy = read(tmp_path, headed(), {"observation": {"shape": [4]}, "action": action})

    check_answers_as_it_came(policy)
    seen = weights(30, 4, seed=3)
    expected = np.stack([(seen @ weights(4, 3)).argmax(1), (seen @ weights(4, 2)).argmax(1)], axis=1)
    np.testing.assert_array_equal(policy.original(seen), expected)


@pytest.mark.parametrize(
    ("rank", "output", "says"),
    [
        (1, ["a", "b"], r"expected a list of outputs \(n, scores\) of one dtype, .* got 'a' \[None\], 'b' \[None\]"),
        (2, ["a", "c"], "action.output: expected an output of the graph, 'a', 'b', got 'c'"),
        (2, [1], r"action.output: expected the name of an output, or for actions a list of such names, got \[1\]"),
    ],
)
def test_outputs_that_cannot_be_joined_are_refused(rank: int, output: list[Any], says: str, tmp_path: Path) -> None:
    action = {"multi_discrete": [3, 2], "output": output}

    with pytest.raises(ImportRefused, match=says):
        read(tmp_path, headed(rank), {"observation": {"shape": [4]}, "action": action})


@pytest.mark.parametrize(
    ("graph", "steps", "expected"),
    [
        (probable(), [{"shift": 0.5}, {"one_hot": 2}], lambda seen: (seen @ weights(4, 1))[:, 0] > 0),
        (floating(), [{"one_hot": 2}], lambda seen: (seen @ weights(4, 2)).argmax(1)),
    ],
)
def test_the_steps_that_an_error_names_make_an_action(
    graph: onnx.ModelProto, steps: list[Any], expected: Any, tmp_path: Path
) -> None:
    with pytest.raises(ImportRefused, match=r"`steps: \[{one_hot: 2}\]`.*`steps: \[{shift: 0.5}, {one_hot: 2}\]`"):
        read(tmp_path, graph, FOUR_TO_TWO)

    policy = read(tmp_path, graph, {**FOUR_TO_TWO, "action": {"discrete": 2, "steps": steps}})

    check_answers_as_it_came(policy)
    seen = weights(30, 4, seed=3)
    np.testing.assert_array_equal(policy.original(seen), expected(seen))


def test_the_steps_that_an_error_names_count_from_the_first_action(tmp_path: Path) -> None:
    graph, discrete = floating(5), {"n": 2, "start": 5}
    with pytest.raises(ImportRefused, match=r"`steps: \[{one_hot: {n: 2, start: 5}}\]`"):
        read(tmp_path, graph, {**FOUR_TO_TWO, "action": {"discrete": discrete}})

    steps = [{"one_hot": {"n": 2, "start": 5}}]
    policy = read(tmp_path, graph, {**FOUR_TO_TWO, "action": {"discrete": discrete, "steps": steps}})

    check_answers_as_it_came(policy)
    seen = weights(30, 4, seed=3)
    np.testing.assert_array_equal(policy.original(seen), (seen @ weights(4, 2)).argmax(1) + 5)


def test_an_observation_may_be_one_number(tmp_path: Path) -> None:
    nodes = [make_node("Gather", ["table", "obs"], ["q"], axis=0)]
    graph = model(nodes, {"obs": (TensorProto.INT64, ["n"])}, {"q": (FLOAT, ["n", 2])}, {"table": weights(9, 2)})
    observation = {"dtype": "int64", "shape": [], "low": 0, "high": 8}

    policy = read(tmp_path, graph, {"observation": observation, "action": {"discrete": 2}})

    check_answers_as_it_came(policy)
    np.testing.assert_array_equal(policy.original(np.arange(9)), weights(9, 2).argmax(1))
    with pytest.raises(ImportRefused, match=r"observation.frames: expected the first of two or more axes"):
        read(tmp_path, graph, {"observation": {**observation, "frames": 2}, "action": {"discrete": 2}})


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_halves_are_refused_with_what_to_do(kind: int, tmp_path: Path) -> None:
    graph = linear()
    graph.graph.node[0].output[0] = "whole"
    graph.graph.node.append(make_node("Cast", ["whole"], ["q"], to=kind))
    graph.graph.output[0].type.tensor_type.elem_type = kind

    with pytest.raises(ImportRefused, match=r"expected inputs and outputs in float32, got float16 in 'q'; export"):
        read(tmp_path, graph, FOUR_TO_TWO)
