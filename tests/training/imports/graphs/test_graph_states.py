"""A graph with a state is refused: given a constant, it would forget at every step what came before."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.helper import make_node

from polserve.training.errors import ImportRefused
from tests.support.graphs import FLOAT, FOUR_TO_TWO, Shape, check_answers_as_it_came, model, read, weights


def remembering(
    state: str = "h", following: str = "hn", before: Shape | None = ("n", 2), after: Shape | None = ("n", 2)
) -> onnx.ModelProto:
    """A graph whose scores are those of its observation, and half of the scores before."""
    nodes = [
        make_node("MatMul", ["obs", "w"], ["seen"]),
        make_node("Mul", [state, "half"], ["kept"]),
        make_node("Add", ["seen", "kept"], ["q"]),
        make_node("Tanh", ["q"], [following]),
    ]
    inputs: dict[str, Any] = {"obs": (FLOAT, ["n", 4]), state: (FLOAT, before)}
    outputs: dict[str, Any] = {"q": (FLOAT, ["n", 2]), following: (FLOAT, after)}
    return model(nodes, inputs, outputs, {"w": weights(4, 2), "half": weights(1)})


def given(name: str, **more: object) -> dict[str, Any]:
    """Spec that gives the state a constant."""
    inputs = [{"name": "obs"}, {"name": name, "value": 0, **more}]
    return {**FOUR_TO_TWO, "inputs": inputs, "action": {"discrete": 2, "output": "q"}}


@pytest.mark.parametrize(
    ("state", "following", "before", "after"),
    [
        ("h", "hn", ("n", 2), ("n", 2)),
        ("c", "cn", ("n", 2), ("m", 2)),
        ("h_0", "h_n", ("n", 2), ("n", 2)),
        ("hx", "hy", ("n", 2), ("n", 2)),
        ("hidden_in", "hidden_out", ("n", 2), ("n", 2)),
        ("state_in_0", "state_out_0", ("n", 2), ("n", 2)),
        ("h0", "hn", (1, 2), None),
        ("state", "next_state", (1, 2), ("n", "k")),
    ],
)
def test_a_state_that_is_given_a_constant_is_refused_with_what_to_do(
    state: str, following: str, before: Shape, after: Shape | None, tmp_path: Path
) -> None:
    graph = remembering(state, following, before, after)

    with pytest.raises(
        ImportRefused, match=rf"without states, got '{state}' .* '{following}': .*polserve.export.*states="
    ):
        read(tmp_path, graph, given(state))


def test_a_state_that_is_left_out_of_the_spec_is_told_as_one(tmp_path: Path) -> None:
    spec = {**given("h"), "inputs": [{"name": "obs"}]}

    with pytest.raises(ImportRefused, match=r"expected a graph without states, got 'h'"):
        read(tmp_path, remembering(), spec)


def test_a_constant_that_is_no_state_is_taken_where_the_spec_says_so(tmp_path: Path) -> None:
    check_answers_as_it_came(read(tmp_path, remembering(), given("h", state=False)))


@pytest.mark.parametrize("before", [(), ("n", 1)])
def test_a_constant_of_another_shape_than_every_output_is_no_state(before: Shape, tmp_path: Path) -> None:
    check_answers_as_it_came(read(tmp_path, remembering("training", "hn", before), given("training")))


@pytest.mark.parametrize(("state", "following"), [("carry", "result"), ("mask", "logits")])
def test_an_output_that_has_only_the_shape_of_a_constant_is_noted(state: str, following: str, tmp_path: Path) -> None:
    policy = read(tmp_path, remembering(state, following), given(state))

    check_answers_as_it_came(policy)
    (note,) = policy.notes
    assert f"output '{following}' has the shape of the input '{state}'" in note
    assert "polserve.export(module, ..., states={...})" in note
    assert "`state: false`" in note
    assert read(tmp_path, remembering(state, following), given(state, state=False)).notes == ()


def test_an_output_that_does_not_read_a_constant_is_no_next_value_of_it(tmp_path: Path) -> None:
    graph = remembering("noise", "next_noise")
    graph.graph.node[-1].input[0] = "seen"

    policy = read(tmp_path, graph, given("noise"))

    check_answers_as_it_came(policy)
    assert policy.notes == ()


def test_a_state_that_only_a_branch_reads_is_told(tmp_path: Path) -> None:
    graph = remembering()
    branches: dict[str, Any] = {
        f"{name}_branch": onnx.helper.make_graph(
            [make_node("Tanh", ["h"], [name])], name, [], [onnx.helper.make_tensor_value_info(name, FLOAT, ["n", 2])]
        )
        for name in ("then", "else")
    }
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "always"))
    graph.graph.node[-1].CopyFrom(make_node("If", ["always"], ["hn"], **branches))

    with pytest.raises(ImportRefused, match="expected a graph without states, got 'h'"):
        read(tmp_path, graph, given("h"))
