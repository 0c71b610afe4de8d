"""Graphs whose batch is fixed, or that have no axis for one, answer any number of observations as they came."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_node

from tests.support.graphs import FLOAT, FOUR_TO_TWO, check_answers_as_it_came, linear, model, operators, read, weights


def reshaped(batch: int | str, first: int) -> onnx.ModelProto:
    """A graph that reshapes what it is given twice, with its batch among the constants."""
    nodes = [
        make_node("Reshape", ["obs", "apart"], ["pairs"]),
        make_node("Reshape", ["pairs", "together"], ["row"]),
        make_node("Gemm", ["row", "w"], ["q"]),
    ]
    constants = {"apart": np.array([first, 2, 2]), "together": np.array([first, -1]), "w": weights(4, 2)}
    return model(nodes, {"obs": (FLOAT, [batch, 4])}, {"q": (FLOAT, [batch, 2])}, constants)


def expanded(size: int) -> onnx.ModelProto:
    """A graph that adds to its observations as many rows as its batch has, which no relaxed shape mends."""
    nodes = [
        make_node("Expand", ["bias", "rows"], ["biases"]),
        make_node("Add", ["obs", "biases"], ["moved"]),
        make_node("Gemm", ["moved", "w"], ["q"]),
    ]
    constants = {"bias": weights(1, 4), "rows": np.array([size, 4]), "w": weights(4, 2, seed=1)}
    return model(nodes, {"obs": (FLOAT, [size, 4])}, {"q": (FLOAT, [size, 2])}, constants)


def chosen_without_axis() -> onnx.ModelProto:
    """A graph of one observation, which chooses the action along its only axis, as int32."""
    nodes = [
        make_node("MatMul", ["obs", "w"], ["q"]),
        make_node("ArgMax", ["q"], ["best"], axis=0, keepdims=0),
        make_node("Cast", ["best"], ["action"], to=TensorProto.INT32),
    ]
    return model(nodes, {"obs": (FLOAT, [4])}, {"action": (TensorProto.INT32, [])}, {"w": weights(4, 2)})


def squeezed() -> onnx.ModelProto:
    """A graph of a batch of one, whose answer has no axis for it."""
    nodes = [make_node("MatMul", ["obs", "w"], ["row"]), make_node("Squeeze", ["row", "axes"], ["q"])]
    constants = {"w": weights(4, 2), "axes": np.array([0])}
    return model(nodes, {"obs": (FLOAT, [1, 4])}, {"q": (FLOAT, [2])}, constants)


def mixing() -> onnx.ModelProto:
    """A graph of a batch of one that adds the sum of all rows to each score, which changes no arg-max."""
    nodes = [
        make_node("MatMul", ["obs", "w"], ["row"]),
        make_node("ReduceSum", ["row"], ["sum"], keepdims=0),
        make_node("Add", ["row", "sum"], ["q"]),
    ]
    return model(nodes, {"obs": (FLOAT, [1, 4])}, {"q": (FLOAT, [1, 2])}, {"w": weights(4, 2)})


@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(linear(("n",)), id="dynamic"),
        pytest.param(linear((32,)), id="fixed at 32"),
        pytest.param(linear((1,)), id="fixed at 1"),
        pytest.param(linear(()), id="no axis"),
        pytest.param(linear(("n",), opset=9), id="an old opset"),
        pytest.param(reshaped(32, 32), id="reshaped to 32"),
        pytest.param(reshaped(1, 1), id="reshaped to 1"),
        pytest.param(reshaped("n", 1), id="dynamic by name only"),
    ],
)
def test_a_graph_answers_any_number_of_observations_together(graph: onnx.ModelProto, tmp_path: Path) -> None:
    policy = read(tmp_path, graph, FOUR_TO_TWO)

    actions = check_answers_as_it_came(policy)

    assert policy.notes == ()
    assert set(actions) == {0, 1}


@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(expanded(32), id="rows by constant"),
        pytest.param(chosen_without_axis(), id="arg-max along the only axis"),
        pytest.param(squeezed(), id="an answer without the batch"),
        pytest.param(mixing(), id="rows that see one another"),
    ],
)
def test_a_graph_that_cannot_is_run_row_by_row_inside_the_policys_graph(graph: onnx.ModelProto, tmp_path: Path) -> None:
    policy = read(tmp_path, graph, FOUR_TO_TWO)

    actions = check_answers_as_it_came(policy)

    assert set(actions) == {0, 1}
    assert "Scan" in operators(policy)
    assert "run once for each of them" in policy.notes[0]


def test_the_numbers_of_a_fixed_batch_are_those_worked_out_by_numpy(tmp_path: Path) -> None:
    policy = read(tmp_path, linear((32,)), {**FOUR_TO_TWO, "values": "q"})
    observations = weights(5, 4, seed=7)

    assert policy.preferences is not None
    np.testing.assert_allclose(policy.preferences(observations), observations @ weights(4, 2), rtol=1e-5, atol=1e-6)
