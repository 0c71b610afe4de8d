"""Wrappers in torch do what they do in numpy; their statistics are trained, saved, restored and exported."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import wrappers
from rich.console import Console

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.environments.transforms import (
    Cast,
    Rescale,
    Reshape,
    Standardise,
    Transform,
    standardising,
    transformed,
)
from polserve.training.errors import CheckpointError
from polserve.training.evaluate import evaluate
from polserve.training.learning.actor_critic_hyperparameters import DdpgConfig
from polserve.training.learning.graph_wrappers import GraphWrappers, Standardised
from polserve.training.learning.hyperparameters import DqnConfig, LoopConfig, NetworkConfig, PqnConfig, ReplayConfig
from polserve.training.runs import checkpoint
from polserve.training.runs.evaluating import Trained, make_version
from polserve.training.runs.identity import check_same_run, identity_of
from polserve.training.runs.recipe import Recipe
from polserve.training.runs.stages import Stages
from polserve.training.runs.trainee import Trainee, build_trainee

STATISTICS = Standardise(np.array([1e6, -3.0]), np.array([4.0, 0.01]), 10.0, 1e-8)
TRANSFORMS: tuple[Transform, ...] = (
    Cast(np.dtype(np.float64)),
    Reshape((2,), (2, 1)),
    Rescale(
        np.array([[2.0], [-1.0]]),
        np.array([[1.0], [0.5]]),
        np.array([[-1.0], [-np.inf]]),
        np.full((2, 1), 4.0),
        np.dtype(np.float32),
    ),
)


def normalised(environment_id: str, stack: int = 0, **kwargs: Any) -> gym.Env[Any, Any]:
    env: Any = wrappers.NormalizeObservation(gym.make(environment_id, **kwargs))
    env = wrappers.TransformObservation(env, lambda observation: np.clip(observation, -3, 3), None)
    return wrappers.FrameStackObservation(env, stack) if stack else env


@pytest.fixture(autouse=True)
def environments() -> Iterator[None]:
    """CartPole and Pendulum with normalised observations, as Cart-v0, Stacked-v0 and Swing-v0."""
    gym.register("Cart-v0", lambda **kwargs: normalised("CartPole-v1", **kwargs))
    gym.register("Stacked-v0", lambda **kwargs: normalised("CartPole-v1", 2, **kwargs))
    gym.register("Swing-v0", lambda **kwargs: normalised("Pendulum-v1", **kwargs))
    yield
    for name in ("Cart-v0", "Stacked-v0", "Swing-v0"):
        del gym.registry[name]


def recipe(environment_id: str, agent: DqnConfig | PqnConfig | DdpgConfig) -> Recipe:
    return Recipe(
        "small",
        EnvironmentSpec(environment_id),
        LoopConfig(steps=240, n_envs=3, evaluate_every=120, selection_episodes=2, evaluation_episodes=3),
        NetworkConfig(hidden_sizes=(8,), layer_norm=isinstance(agent, PqnConfig)),
        agent,
        replay=ReplayConfig(learning_starts=60, replay_capacity=1_000),
    )


AGENTS = [
    recipe("Cart-v0", DqnConfig(batch_size=8)),
    recipe("Stacked-v0", DqnConfig(batch_size=8)),
    recipe("Cart-v0", PqnConfig(rollout_steps=8)),
    recipe("Swing-v0", DdpgConfig(batch_size=8, random_steps=30)),
]


def statistics(trainee: Trainee) -> Standardised:
    policy = trainee.agent.policy()
    return next(module for module in policy.modules() if isinstance(module, Standardised))


def test_torch_does_to_observations_what_numpy_does() -> None:
    observations = np.random.default_rng(0).normal((1e6, -3.0), 1.0, (50, 2)).astype(np.float32)
    for transforms in (TRANSFORMS, (STATISTICS,), (STATISTICS, *TRANSFORMS)):
        ours = GraphWrappers(transforms)(torch.from_numpy(observations)).numpy()
        theirs = transformed(transforms, observations)
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
        stacked = GraphWrappers(transforms)(torch.from_numpy(np.stack([observations] * 3, axis=1))).numpy()
        np.testing.assert_array_equal(stacked[:, 1], ours)


def test_statistics_are_those_of_all_that_was_seen() -> None:
    seen = (np.random.default_rng(0).normal(3, 2, (40, 5, 2))).astype(np.float32)
    wrapped = GraphWrappers([Standardise(np.zeros(2), np.ones(2), 1e-4, 1e-8)])
    reference = wrappers.utils.RunningMeanStd(shape=(2,))  # type: ignore[no-untyped-call]
    for observations in seen:
        wrapped.observe(observations)
        reference.update(observations)  # type: ignore[no-untyped-call]
    (found,) = wrapped
    assert isinstance(found, Standardised)
    np.testing.assert_allclose(found.mean, reference.mean, rtol=1e-6)
    np.testing.assert_allclose(found.deviation, np.sqrt(reference.var + 1e-8), rtol=1e-6)
    np.testing.assert_allclose(found.mean, seen.reshape(-1, 2).mean(axis=0), rtol=1e-3)


@pytest.mark.parametrize(("middle", "scale"), [(0.0, 1.0), (1e9, 1.0), (-1e6, 1e-3), (0.0, 1e-12), (1e-9, 1e-12)])
def test_statistics_are_those_of_what_was_seen_at_any_middle_and_scale(middle: float, scale: float) -> None:
    seen = middle + scale * np.random.default_rng(0).uniform(-1, 1, (100, 16, 1))
    wrapped = GraphWrappers(standardising((1,)))
    for observations in seen:
        wrapped.observe(observations)
    whole = seen.reshape(-1, 1)
    expected = (whole - whole.mean(axis=0)) / whole.std(axis=0)
    np.testing.assert_allclose(wrapped(torch.from_numpy(whole)).numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9, -1e-9])
def test_a_number_that_was_always_the_same_is_0_until_it_changes(constant: float) -> None:
    wrapped = GraphWrappers(standardising((2,)))
    rng = np.random.default_rng(0)
    seen = np.stack([np.full(160, constant), rng.uniform(-1, 1, 160)], axis=1)
    for part in np.split(seen, 10):
        wrapped.observe(part)
    other = torch.tensor([[constant + 1.0, 0.0]], dtype=torch.float64)
    assert wrapped(other)[0, 0] == 0.0
    more = constant + np.stack([rng.uniform(-1, 1, 160)] * 2, axis=1)
    wrapped.observe(more)
    (found, _) = wrapped
    assert isinstance(found, Standardised)
    whole = np.concatenate([seen, more])
    np.testing.assert_allclose(found.mean, whole.mean(axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.deviation, whole.std(axis=0), rtol=1e-6)


def test_statistics_that_are_given_as_final_stay() -> None:
    wrapped = GraphWrappers([replace(STATISTICS, is_updated=False)])
    wrapped.observe(np.zeros((4, 2), np.float32))
    np.testing.assert_array_equal(wrapped.state_dict()["0.mean"], STATISTICS.mean)


@pytest.mark.parametrize("small", AGENTS, ids=lambda small: f"{type(small.agent).__name__}-{small.environment.id}")
def test_training_counts_each_observation_once_and_evaluation_none(small: Recipe) -> None:
    trainee = build_trainee(small, 0)
    trainee.train()
    seen = float(statistics(trainee).count)
    result = trainee.loop.result()
    # Every step is from an observation, and the step that only resets meets the last one of an episode.
    assert result.step <= seen <= result.step + result.episodes + small.loop.n_envs
    trainee.loop.evaluate()
    assert float(statistics(trainee).count) == seen


@pytest.mark.parametrize("small", [AGENTS[1], AGENTS[3]], ids=["stacked", "continuous"])
def test_a_version_takes_raw_observations_and_another_run_begins_from_it(small: Recipe, tmp_path: Path) -> None:
    trainee = build_trainee(small, 0)
    trained = Trained(small, trainee, trainee.train(), pb.Provenance())
    evaluation, version = make_version(trained, Stages(Console(quiet=True)))
    names = list(version.spec.environment.graph_wrappers)
    assert names[:2] == ["NormalizeObservation", "TransformObservation"]
    raw = {"Stacked-v0": "CartPole-v1", "Swing-v0": "Pendulum-v1"}[small.environment.id]
    version.write(tmp_path)
    again = evaluate(tmp_path, episodes=3, progress=False)
    without = evaluate(tmp_path, env=raw, episodes=3, progress=False)
    assert list(evaluation.returns) == pytest.approx(list(again.returns), rel=1e-5)
    assert list(again.returns) == list(without.returns)
    other = build_trainee(small, 1)
    other.begin_from(tmp_path)
    for name, tensor in trainee.agent.weights().items():
        if not name.endswith("count"):
            assert torch.equal(tensor, other.agent.weights()[name])
    assert float(statistics(other).count) == version.spec.provenance.environment_steps


@pytest.mark.parametrize("small", AGENTS, ids=lambda small: f"{type(small.agent).__name__}-{small.environment.id}")
def test_a_resumed_run_has_the_statistics_of_its_checkpoint(small: Recipe, tmp_path: Path) -> None:
    trainee = build_trainee(small, 0)
    trainee.train()
    checkpoint.save(tmp_path, {**trainee.state(), "run_id": "abc", "initial_weights": {}})
    resumed = build_trainee(small, 0)
    resumed.load_state(checkpoint.load(tmp_path))
    for name, tensor in trainee.agent.weights().items():
        assert torch.equal(tensor, resumed.agent.weights()[name])
    assert float(statistics(resumed).count) > small.loop.steps


def test_a_run_is_not_resumed_where_other_wrappers_are_in_its_graph() -> None:
    small = AGENTS[0]
    with pytest.raises(CheckpointError, match="graph_wrappers was NormalizeObservation and is absent"):
        check_same_run(identity_of(small, 0, ("NormalizeObservation",)), identity_of(small, 0))
