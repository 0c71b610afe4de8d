"""Rewards that are too small or too large are learned from times a power of ten, and values are told without it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from rich.console import Console

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import InvalidOption
from polserve.training.learning.progress import TrainingResult
from polserve.training.learning.return_scale import LARGE, SMALL, ReturnScale, factor_for
from polserve.training.runs import checkpoint
from polserve.training.runs.defaults import Algorithm, arcade_recipe, recipe_for
from polserve.training.runs.evaluating import Trained, make_version
from polserve.training.runs.identity import check_same_run, identity_of
from polserve.training.runs.initial_weights import read_weights_of
from polserve.training.runs.presets import PRESETS
from polserve.training.runs.recipe import Recipe, with_options
from polserve.training.runs.stages import Stages
from polserve.training.runs.trainee import Trainee, build_trainee
from polserve.training.versions.onnx_policy import OnnxPolicy
from polserve.training.versions.version import PolicyVersion
from tests.support.strangers import Line, registered
from tests.support.vector_steps import taken

FEW = ["steps=320", "evaluate_every=160", "selection_episodes=2", "evaluation_episodes=3", "batch_size=16"]
FEW += ["hidden_sizes=16", "n_envs=4", "max_evaluation_steps=20"]
FEW_REPLAYED = ["learning_starts=64", "updates_per_vector_step=1"]


class Picture(Line):
    """A line on a small picture."""

    observation_space = Box(0, 255, (10, 10, 1), np.uint8)

    def look(self) -> NDArray[np.uint8]:
        picture = np.zeros((10, 10, 1), np.uint8)
        picture[int(np.clip(self.x + 5, 0, 9))] = 255
        return picture


@contextmanager
def paying(scale: float, make: type[Line] = Line) -> Iterator[EnvironmentSpec]:
    """An environment whose rewards are times a number."""
    with registered(lambda: gym.wrappers.TransformReward(make(), lambda reward: float(reward) * scale)) as spec:
        yield spec


def small(algorithm: Algorithm, environment: EnvironmentSpec, *options: str) -> Recipe:
    few = [*FEW, *(FEW_REPLAYED if algorithm == "dqn" else ["epochs=1"])]
    return with_options(recipe_for(algorithm, environment, "small"), [*few, *options])


def learned(recipe: Recipe) -> tuple[TrainingResult, dict[str, float]]:
    """What a short run came to, and its figures."""
    trainee = build_trainee(recipe, 0)
    result = trainee.train()
    trainee.close()
    return result, trainee.agent.losses()


def version_of(recipe: Recipe, trainee: Trainee, result: TrainingResult) -> PolicyVersion:
    return make_version(Trained(recipe, trainee, result, pb.Provenance()), Stages(Console(quiet=True)))[1]


def are_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("make", [Line, Picture])
@pytest.mark.parametrize("algorithm", ["dqn", "pqn"])
def test_tiny_and_huge_rewards_are_learned_from_as_ordinary_ones_are(algorithm: Algorithm, make: type[Line]) -> None:
    with paying(1.0, make) as spec:
        (ordinary, told) = learned(small(algorithm, spec))
    for scale in (1e-4, 1e4):
        with paying(scale, make) as spec:
            result, figures = learned(small(algorithm, spec))
        assert result.reward_factor == pytest.approx(1 / scale)
        assert figures["losses/q_mean"] == pytest.approx(told["losses/q_mean"] * scale, rel=1e-2)
        for name, tensor in ordinary.weights.items():
            torch.testing.assert_close(result.weights[name], tensor, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("make", [Line, Picture])
@pytest.mark.parametrize("algorithm", ["dqn", "pqn"])
def test_at_an_ordinary_scale_every_weight_is_as_without_a_scale(algorithm: Algorithm, make: type[Line]) -> None:
    with paying(1.0, make) as spec:
        by_default, _ = learned(small(algorithm, spec))
        plain, _ = learned(small(algorithm, spec, "scale_by_returns=false"))
    assert by_default.reward_factor == 1.0
    assert are_equal(by_default.weights, plain.weights)
    assert by_default.curve == plain.curve


@pytest.mark.parametrize("algorithm", ["dqn", "pqn"])
def test_the_exported_graph_answers_values_in_the_environments_units(algorithm: Algorithm, tmp_path: Path) -> None:
    answers = []
    for scale in (1.0, 1e-4):
        with paying(scale) as spec:
            recipe = small(algorithm, spec)
            trainee = build_trainee(recipe, 0)
            version = version_of(recipe, trainee, trainee.train())
            trainee.close()
        graph = OnnxPolicy(version.write(tmp_path / str(scale)) / "model.onnx")
        observations = np.linspace(-1, 1, 20, dtype=np.float32).reshape(10, 2)
        answers.append(graph.run(observations))
    ordinary, tiny = answers
    assert np.array_equal(ordinary["action"], tiny["action"])
    np.testing.assert_allclose(tiny["values"], ordinary["values"] * 1e-4, rtol=1e-2, atol=1e-6)


def test_a_resumed_run_keeps_its_factor_and_one_of_an_earlier_version_has_none(tmp_path: Path) -> None:
    with paying(1e-4) as spec:
        recipe = small("dqn", spec)
        trainee = build_trainee(recipe, 0)
        trainee.train()
        checkpoint.save(tmp_path, trainee.state())
        trainee.close()
    with paying(1.0) as spec:  # which would be decided otherwise
        later = small("dqn", spec, "steps=480")
        resumed, earlier = build_trainee(later, 0), build_trainee(later, 0)
        resumed.load_state(checkpoint.load(tmp_path))
        assert resumed.loop.reward_factor == 1e4
        assert resumed.train().reward_factor == 1e4
        state: dict[str, Any] = checkpoint.load(tmp_path)
        del state["loop"]["spread"]
        earlier.load_state(state)
        assert earlier.loop.reward_factor == 1.0
        for each in (resumed, earlier):
            each.close()


def test_a_run_that_learned_from_plain_rewards_is_resumed_as_it_was() -> None:
    ours = identity_of(small("dqn", EnvironmentSpec("Odd-v0")), 0)
    check_same_run({**ours, "scale_by_returns": "False"}, ours)
    check_same_run({name: value for name, value in ours.items() if name != "scale_by_returns"}, ours)


def test_a_run_that_begins_with_other_weights_learns_at_their_scale(tmp_path: Path) -> None:
    with paying(1e-4) as spec:
        recipe = small("dqn", spec)
        trainee = build_trainee(recipe, 0)
        result = trainee.train()
        state = {**trainee.state(), "run_id": "1", "initial_weights": {}}
        checkpoint.save(tmp_path, state)
        version_of(recipe, trainee, result).write(tmp_path / "version")
        later = build_trainee(replace(recipe, policy="later"), 1)
        for folder in (tmp_path, tmp_path / "version"):
            assert later.begin_from(folder).reward_factor == pytest.approx(1e4)
            assert later.loop.reward_factor == pytest.approx(1e4)
        for each in (trainee, later):
            each.close()
    weights, initial = read_weights_of(tmp_path / "version")
    assert "reward_factor" not in weights
    assert initial.reward_factor == pytest.approx(1e4)


def test_the_factor_waits_for_a_reward_and_is_then_decided_once() -> None:
    scale = ReturnScale(2, 1.0)
    scale.add(taken([0.0, 0.0]))
    assert scale.for_update() == 1.0
    scale.add(taken([0.0, -2e-4]))
    assert scale.factor == 1.0
    assert scale.for_update() == pytest.approx(1e5)
    scale.add(taken([1e6, 0.0]))
    assert scale.for_update() == pytest.approx(1e5)


def test_a_rare_reward_of_an_ordinary_size_changes_nothing() -> None:
    scale = ReturnScale(1, 0.99)
    for _ in range(2_000):
        scale.add(taken([0.0], is_over=True))
    scale.add(taken([1.0], is_over=True))
    assert scale.for_update() == 1.0


@pytest.mark.parametrize("largest", [SMALL, 1.0, 52.0, 470.0, LARGE])
def test_returns_of_usual_sizes_have_a_factor_of_1(largest: float) -> None:
    assert factor_for(largest) == 1.0


def test_pqn_is_spared_returns_that_dqn_learns_well() -> None:
    for algorithm, factor in (("dqn", 1.0), ("pqn", 0.01)):
        with paying(1.0) as spec:
            trainee = build_trainee(small(algorithm, spec), 0)  # type: ignore[arg-type]
            trainee.close()
        scale = trainee.loop._parts.spread  # noqa: SLF001
        assert isinstance(scale, ReturnScale)
        scale.add(taken([1_500.0] * 4))
        assert scale.for_update() == factor


@pytest.mark.parametrize("largest", [1e-45, 1e-30, 3e-7, SMALL * 0.99, LARGE * 1.01, 1e9, 3e38])
def test_any_other_size_is_brought_to_what_networks_learn_and_stays_a_number(largest: float) -> None:
    factor = np.float32(factor_for(largest))
    assert 0 < factor < np.inf
    assert 10 * (1 - 1e-6) <= factor * largest <= 100 * (1 + 1e-6) or largest < 1e-28


def test_only_dqn_and_pqn_by_defaults_have_such_a_scale() -> None:
    assert all(recipe_for(name, EnvironmentSpec("Odd-v0"), "odd").rewards.scale_by_returns == "auto" for name in VALUED)
    assert not any(preset.rewards.scale_by_returns for preset in PRESETS.values())
    game = arcade_recipe(PRESETS["mspacman"], EnvironmentSpec("ALE/Pong-v5"), "pong")
    assert game.rewards.scale_by_returns is False


VALUED: tuple[Algorithm, ...] = ("dqn", "pqn")


@pytest.mark.parametrize(("text", "value"), [("auto", "auto"), ("AUTO", "auto"), ("True", True), ("false", False)])
def test_the_option_takes_auto_true_and_false(text: str, value: object) -> None:
    option = partial(with_options, recipe_for("dqn", EnvironmentSpec("Odd-v0"), "odd"))
    assert option([f"scale_by_returns={text}"]).rewards.scale_by_returns == value
    with pytest.raises(InvalidOption, match="scale_by_returns: expected auto, true or false, got 'some'"):
        option(["scale_by_returns=some"])
