"""Before any game is played, a policy is asked whether it answers alone as in a batch, and within its bounds."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.helper import make_node

from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import ImportRefused
from polserve.training.evaluation.game_progress import Silence
from polserve.training.imports.graphs.importer import read_onnx
from polserve.training.imports.graphs.spec_file import form_of
from polserve.training.imports.making import prove_policy
from polserve.training.imports.observations import drawn
from polserve.training.imports.places import Place, find_place
from polserve.training.imports.proof import compare
from polserve.training.imports.request import ImportRequest
from polserve.training.versions.onnx_policy import OnnxPolicy
from tests.support.graphs import FLOAT, graph_of, linear, model, read, save, weights


class Listener(Silence):
    """A listener that keeps what it is told, and fails where a game is played."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)

    def playing(self, title: str, games: int) -> AbstractContextManager[Callable[[int], None]]:
        pytest.fail(f"{title}: {games} games")


def by_the_mean() -> onnx.ModelProto:
    """Scores of observations from which the mean of the batch is taken off."""
    nodes = [
        make_node("ReduceMean", ["obs", "axes"], ["mean"], keepdims=1),
        make_node("Sub", ["obs", "mean"], ["apart"]),
        make_node("MatMul", ["apart", "w"], ["q"]),
    ]
    constants = {"w": weights(4, 2), "axes": np.array([0])}
    return model(nodes, {"obs": (FLOAT, ["n", 4])}, {"q": (FLOAT, ["n", 2])}, constants)


def test_answers_that_depend_on_others_in_the_batch_are_refused_before_any_game(tmp_path: Path) -> None:
    place = find_place(EnvironmentSpec("CartPole-v1"))
    policy = read_onnx(save(tmp_path / "graph.onnx", by_the_mean()), form_of({}, "spec.yaml"), place)

    with pytest.raises(ImportRefused, match=r"graph.onnx: expected the same answer .*model.eval\(\).*quantised dynam"):
        prove_policy(policy, place, ImportRequest(env="CartPole-v1"), Listener())


@pytest.mark.parametrize(
    ("high", "steps", "notes"),
    [(2, ["tanh"], 1), (1, ["tanh"], 0), (2, ["tanh", "to_bounds"], 0), (2, ["tanh", {"scale": 2}], 0)],
)
def test_actions_that_stay_within_one_of_wider_bounds_are_told(
    high: float, steps: list[Any], notes: int, tmp_path: Path
) -> None:
    action = {"continuous": {"low": -high, "high": high}, "steps": steps}
    policy, listener = read(tmp_path, linear(), {"observation": {"shape": [4]}, "action": action}), Listener()

    prove_policy(policy, Place(), ImportRequest(), listener)

    assert ["add to_bounds to action.steps" in text for text in listener.told] == [True] * notes


def test_values_of_actions_that_do_not_start_at_0_tell_ties(tmp_path: Path) -> None:
    spec = {"observation": {"shape": [4]}, "action": {"discrete": {"n": 2, "start": 5}}, "values": "q"}
    nodes = [make_node("MatMul", ["obs", "w"], ["q"])]
    column = weights(4, 1)
    equal = {"w": np.concatenate([column, column], axis=1)}
    policy = read(tmp_path, model(nodes, {"obs": (FLOAT, ["n", 4])}, {"q": (FLOAT, ["n", 2])}, equal), spec)
    other = replace(policy, original=lambda observations: 5 + 6 - policy.original(observations))

    proof = compare(other, OnnxPolicy(graph_of(policy).SerializeToString()), drawn(policy.observation_space, 10))

    assert proof.is_tie.all()
