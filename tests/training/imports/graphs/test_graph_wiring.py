"""Inputs are parts of the observation, and outputs make actions and values, as the spec maps them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import onnx
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from onnx import TensorProto
from onnx.helper import make_node

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import ImportRefused
from polserve.training.imports.graphs.importer import read_onnx
from polserve.training.imports.graphs.spec_file import form_of
from polserve.training.imports.places import find_place
from tests.support.graphs import (
    FLOAT,
    FOUR_TO_TWO,
    Shape,
    check_answers_as_it_came,
    graph_of,
    linear,
    model,
    operators,
    read,
    save,
    weights,
)


def joined() -> onnx.ModelProto:
    """A graph of two inputs, of three numbers and of one."""
    nodes = [make_node("Concat", ["position", "speed"], ["row"], axis=1), make_node("MatMul", ["row", "w"], ["q"])]
    inputs: dict[str, tuple[int, Shape]] = {"position": (FLOAT, ["n", 3]), "speed": (FLOAT, ["n", 1])}
    return model(nodes, inputs, {"q": (FLOAT, ["n", 2])}, {"w": weights(4, 2)})


def images(height_axis: int) -> onnx.ModelProto:
    """A convolution of images (8, 8, 3), or (3, 8, 8) where the height is axis 2, to three scores."""
    turned = make_node("Transpose", ["obs"], ["images"], perm=[0, 3, 1, 2])
    nodes = [
        turned if height_axis == 1 else make_node("Identity", ["obs"], ["images"]),
        make_node("Conv", ["images", "w"], ["maps"]),
        make_node("GlobalMaxPool", ["maps"], ["pooled"]),
        make_node("Flatten", ["pooled"], ["scores"]),
    ]
    shape: Shape = ["n", 8, 8, 3] if height_axis == 1 else ["n", 3, 8, 8]
    return model(nodes, {"obs": (FLOAT, shape)}, {"scores": (FLOAT, ["n", 3])}, {"w": weights(3, 3, 3, 3)})


def spec(observation: Mapping[str, Any], steps: list[Any], action: Mapping[str, Any]) -> dict[str, Any]:
    return {"observation": observation, "inputs": [{"name": "obs", "steps": steps}], "action": action}


def test_several_inputs_are_parts_of_one_observation_by_place_or_by_name(tmp_path: Path) -> None:
    named = {"shape": [4], "components": ["x", "y", {"name": "z", "unit": "m"}, "v"]}
    by_place = {"inputs": [{"name": "position", "take": [0, 3]}, {"name": "speed", "take": [3, 4]}]}
    by_name = {"inputs": [{"name": "speed", "take": ["v"]}, {"name": "position", "take": ["x", "y", "z"]}]}

    first = check_answers_as_it_came(read(tmp_path, joined(), {**FOUR_TO_TWO, **by_place}))
    second = check_answers_as_it_came(read(tmp_path, joined(), {**FOUR_TO_TWO, **by_name, "observation": named}))

    np.testing.assert_array_equal(first, second)


def test_an_input_may_be_a_constant(tmp_path: Path) -> None:
    given = {"observation": {"shape": [3]}, "inputs": [{"name": "position"}, {"name": "speed", "value": 0.5}]}

    policy = read(tmp_path, joined(), {**given, "action": {"discrete": 2}, "values": "q"})

    check_answers_as_it_came(policy)
    assert policy.preferences is not None
    row = np.array([[1, 2, 3]], np.float32)
    expected = np.array([[1, 2, 3, 0.5]]) @ weights(4, 2)
    np.testing.assert_allclose(policy.preferences(row), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("graph", "given"),
    [
        (
            images(1),
            spec({"dtype": "uint8", "shape": [3, 8, 8]}, [{"layout": "nhwc"}, {"divide": 255}], {"discrete": 3}),
        ),
        (
            images(2),
            spec({"dtype": "uint8", "shape": [8, 8, 3]}, [{"layout": "nchw"}, {"divide": 255}], {"discrete": 3}),
        ),
        (images(1), spec({"shape": [3, 8, 8], "frames": 3}, [{"stack": "last"}], {"discrete": 3})),
        (
            linear(inputs=5),
            spec({"dtype": "int64", "shape": [1], "low": 0, "high": 4}, [{"one_hot": 5}], {"discrete": 2}),
        ),
    ],
)
def test_an_observation_goes_through_the_steps_before_an_input(
    graph: onnx.ModelProto, given: dict[str, Any], tmp_path: Path
) -> None:
    policy = read(tmp_path, graph, given)

    check_answers_as_it_came(policy)

    assert policy.frames == given["observation"].get("frames", 0)


@pytest.mark.parametrize(
    ("outputs", "action", "low", "high"),
    [
        (2, {"continuous": {"low": [-2, -1], "high": [2, 3]}, "steps": ["tanh", "to_bounds"]}, [-2, -1], [2, 3]),
        (2, {"continuous": {"low": -0.5, "high": 0.5}, "steps": [{"clip": "bounds"}]}, [-0.5] * 2, [0.5] * 2),
        (
            4,
            {
                "continuous": {"low": -1, "high": 1},
                "steps": [{"take": [0, 2]}, {"denormalize": {"mean": [1, 2], "std": 0.5}}, {"clip": "bounds"}],
            },
            [-1, -1],
            [1, 1],
        ),
    ],
)
def test_numbers_become_continuous_actions_within_their_bounds(
    outputs: int, action: dict[str, Any], low: list[float], high: list[float], tmp_path: Path
) -> None:
    policy = read(tmp_path, linear(outputs=outputs), {"observation": {"shape": [4]}, "action": action})

    actions = check_answers_as_it_came(policy)

    assert actions.dtype == np.float32
    assert (actions.min(axis=0) >= low).all()
    assert (actions.max(axis=0) <= high).all()
    assert policy.action_space.low.tolist() == low  # type: ignore[attr-defined]


def test_a_part_of_a_graph_that_no_output_needs_is_left_out(tmp_path: Path) -> None:
    graph = linear()
    graph.graph.node.append(make_node("RandomNormalLike", ["q"], ["noise"]))
    graph.graph.output.append(onnx.helper.make_tensor_value_info("noise", FLOAT, ["n", 2]))

    policy = read(tmp_path, graph, {**FOUR_TO_TWO, "action": {"discrete": 2, "output": "q"}})

    check_answers_as_it_came(policy)
    assert "RandomNormalLike" not in operators(policy)


def test_what_exporters_note_of_their_machine_is_left_out(tmp_path: Path) -> None:
    graph = linear()
    graph.graph.node[0].doc_string = "File /home/somebody/train.py"
    entry = graph.graph.node[0].metadata_props.add()
    entry.key, entry.value = "stack", "/home/somebody/train.py"

    policy = read(tmp_path, graph, FOUR_TO_TWO)

    assert b"somebody" not in graph_of(policy).SerializeToString()


@pytest.mark.parametrize(
    ("graph", "given", "says"),
    [
        (joined(), {}, "inputs: expected a list that maps each input of the graph, 'position', 'speed'"),
        (joined(), {"inputs": [{"name": "position", "take": [0, 3]}]}, "'speed' is left out: give it a part"),
        (linear(), {"inputs": [{"name": "observation"}]}, "inputs.0.name: expected an input of the graph, 'obs'"),
        (linear(), {"inputs": [{"name": "obs", "take": [0, 5]}]}, r"inputs.0.take: .* 4 numbers, got \[0, 5\]"),
        (linear(), {"inputs": [{"name": "obs", "take": ["x"]}]}, "expected names of components, none, since"),
        (linear(), {"inputs": [{"name": "obs", "value": 1.0}]}, "expected one that takes the observation"),
        (
            linear(),
            {"inputs": [{"name": "obs", "steps": [{"layout": "nchw"}]}]},
            r"inputs.obs.steps.0: transpose does not fit",
        ),
        (linear(inputs=5), {}, r"input 'obs' has shape \(any, 5\), and each observation comes to it as \(4\)"),
        (linear(), {"values": "v"}, "values.output: expected an output of the graph, 'q', got 'v'"),
        (linear(outputs=3), {}, r"action: expected 2 scores for each observation, .* got float32 \(3,\)"),
        (
            linear(),
            {"action": {"discrete": 2, "steps": ["mean"]}},
            r"expected 2 scores for each observation, .* got float32 \(\)",
        ),
        (linear(), {"action": {"discrete": 2, "steps": ["to_bounds"]}}, "expected no bounds for discrete actions"),
        (linear(), {"action": {}}, "action: expected discrete: N or continuous"),
        (linear(), {"observation": None}, "observation: expected dtype and shape of one observation"),
        (linear(), {"observation": {"shape": [4], "low": 1, "high": 0}}, "observation.low: expected below high"),
        (linear(), {"observation": {"shape": [4], "low": [0, 0]}}, "observation.low: expected a number, or 4 of them"),
        (linear(), {"observation": {"shape": [4], "frames": 2}}, "observation.frames: expected the first of two"),
        (
            linear(),
            {"action": {"continuous": {"low": -0.1, "high": 0.1}}},
            "got -.* to .*; add to action.steps what the trainer did",
        ),
        (
            linear(),
            {"action": {"continuous": {"low": [0, 0, 0], "high": [1, 1, 1]}}},
            "expected 3 numbers for each observation, as there are bounds, got 2",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_by_field(
    graph: onnx.ModelProto, given: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ImportRefused, match=says):
        read(tmp_path, graph, {**FOUR_TO_TWO, **given})


def test_an_action_that_there_is_not_is_refused(tmp_path: Path) -> None:
    nodes = [
        make_node("MatMul", ["obs", "w"], ["q"]),
        make_node("ArgMax", ["q"], ["action"], axis=1, keepdims=0),
    ]
    graph = model(nodes, {"obs": (FLOAT, ["n", 4])}, {"action": (TensorProto.INT64, ["n"])}, {"w": weights(4, 5)})

    with pytest.raises(ImportRefused, match=r"expected actions from 0 to 1, got 0 to 4; add to action.steps"):
        read(tmp_path, graph, FOUR_TO_TWO)


@pytest.mark.parametrize(
    ("outputs", "action", "expected"),
    [
        (2, {"discrete": {"n": 2, "start": 5}}, lambda scores: scores.argmax(1) + 5),
        (2, {"discrete": 2, "steps": ["softmax"]}, lambda scores: scores.argmax(1)),
        (5, {"multi_discrete": [2, 3]}, lambda q: np.stack([q[:, :2].argmax(1), q[:, 2:].argmax(1)], axis=1)),
        (3, {"multi_binary": 3}, lambda scores: (scores > 0).astype(np.int64)),
    ],
)
def test_scores_become_the_choices_of_the_space(
    outputs: int, action: dict[str, Any], expected: Callable[[Any], Any], tmp_path: Path
) -> None:
    policy = read(tmp_path, linear(outputs=outputs), {"observation": {"shape": [4]}, "action": action})

    check_answers_as_it_came(policy)
    observations = weights(30, 4, seed=3)
    got = policy.original(observations)
    np.testing.assert_array_equal(got, expected(observations @ weights(4, outputs)))
    assert got.dtype == np.int64


def test_parts_of_an_observation_are_taken_by_their_keys(tmp_path: Path) -> None:
    spec = EnvironmentSpec("Parts-v0", maker=InParts)
    inputs = [{"name": "position", "take": "position"}, {"name": "speed", "take": ["inner.speed"]}]

    policy = read_onnx(
        save(tmp_path / "graph.onnx", joined()), form_of({"inputs": inputs}, "spec.yaml"), find_place(spec)
    )

    check_answers_as_it_came(policy)
    row = np.array([[4, 1, 2, 3]], np.float32)  # the keys of a Dict are sorted: inner.speed, position
    assert policy.original(row)[0] == (np.array([[1, 2, 3, 4]]) @ weights(4, 2)).argmax()
    assert policy.emitted_space == InParts.observation_space


class InParts(gym.Env[Any, Any]):
    """An environment whose observations have two parts."""

    observation_space = Dict({"position": Box(-9, 9, (3,)), "inner": Dict({"speed": Box(-9, 9, (1,))})})
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        return {"position": np.zeros(3, np.float32), "inner": {"speed": np.zeros(1, np.float32)}}, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.reset()[0], float(action), True, False, {}
