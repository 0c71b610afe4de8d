"""The scale of observations and of rewards is no matter: both are brought to one that networks learn at."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
from numpy.typing import NDArray
from rich.console import Console

from polserve.protos.polserve.v1 import policy_pb2 as pb
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.errors import CheckpointError
from polserve.training.learning.encoding import Encoded
from polserve.training.learning.graph_wrappers import GraphWrappers
from polserve.training.learning.hyperparameters import RewardConfig
from polserve.training.learning.return_spread import ReturnSpread
from polserve.training.runs import checkpoint
from polserve.training.runs.defaults import Algorithm, recipe_for
from polserve.training.runs.evaluating import Trained, make_version
from polserve.training.runs.identity import check_same_run, identity_of
from polserve.training.runs.recipe import Recipe, with_options
from polserve.training.runs.stages import Stages
from polserve.training.runs.trainee import build_trainee
from polserve.training.versions.export import export_policy
from polserve.training.versions.onnx_policy import OnnxPolicy
from tests.support.strangers import Line, registered
from tests.support.vector_steps import taken

FEW = ["steps=320", "evaluate_every=160", "selection_episodes=2", "evaluation_episodes=3", "learning_starts=64"]
FEW += ["batch_size=16", "hidden_sizes=16", "updates_per_vector_step=1"]


class Millimetres(gym.ObservationWrapper[NDArray[np.float32], int, NDArray[np.float32]]):
    """CartPole whose observations are a thousand times as large, and moved; no wrapper that a graph knows."""

    def __init__(self) -> None:
        super().__init__(gym.make("CartPole-v1"))
        self.observation_space = Box(-np.inf, np.inf, (4,), np.float32)

    def observation(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale and move."""
        return (observation * 1_000 + 5_000).astype(np.float32)


def small(algorithm: Algorithm, environment: EnvironmentSpec, *options: str) -> Recipe:
    return with_options(recipe_for(algorithm, environment, "small"), [*FEW, *options])


@pytest.mark.parametrize(("algorithm", "environment"), [("dqn", "CartPole-v1"), ("sac", "Pendulum-v1")])
def test_observations_are_standardised_by_default_and_in_the_graph(
    algorithm: Algorithm, environment: str, tmp_path: Path
) -> None:
    recipe = small(algorithm, EnvironmentSpec(environment))
    trainee = build_trainee(recipe, 0)
    trained = Trained(recipe, trainee, trainee.train(), pb.Provenance())
    _, version = make_version(trained, Stages(Console(quiet=True)))
    trainee.close()
    (mean,) = [tensor for name, tensor in trained.result.weights.items() if name.endswith("wrappers.0.mean")]
    assert mean.abs().min() > 0
    version.write(tmp_path)
    graph = OnnxPolicy(tmp_path / "model.onnx")
    golden = version.golden
    assert graph.act(golden["observation"]) == pytest.approx(golden["action"], abs=1e-4)
    later = build_trainee(recipe, 1)
    later.begin_from(tmp_path)
    later.close()
    assert later.agent.greedy(golden["observation"]) == pytest.approx(golden["action"], abs=1e-4)


def test_millimetres_are_learned_from_as_metres_are() -> None:
    """The same numbers reach the network: float32 leaves a difference in the sixth digit."""
    with registered(Millimetres, max_episode_steps=500) as spec:
        recipe = small("dqn", spec)
        moved = build_trainee(recipe, 0)
        moved.train()
        observations = moved.loop._collector._observation  # noqa: SLF001
        seen = moved.agent._online.wrappers(torch.from_numpy(observations))  # type: ignore[attr-defined]  # noqa: SLF001
        moved.close()
    assert seen.abs().max() <= 10
    assert 0.1 < float(seen.std()) < 3


def test_images_and_categories_keep_scales_of_their_own() -> None:
    for environment in ("Taxi-v4", "FrozenLake-v1"):
        trainee = build_trainee(small("dqn", EnvironmentSpec(environment), "max_evaluation_steps=20"), 0)
        assert not any("wrappers" in name for name in trainee.agent.weights())
        trainee.close()


class Gears(Line):
    """Numbers of odd units beside categories, one of them beyond what float32 holds, and beside pixels."""

    observation_space = Dict(
        {
            "gear": Discrete(3, start=1 << 25),
            "lamp": MultiBinary(1),
            "pascals": Box(-np.inf, np.inf, (2,), np.float64),
            "screen": Box(0, 255, (2, 2), np.uint8),
        }
    )

    def look(self) -> Any:
        return {
            "gear": (1 << 25) + int(self.np_random.integers(3)),
            "lamp": self.np_random.integers(2, size=1).astype(np.int8),
            "pascals": self.np_random.normal([101_325.0, 3e-6], [40.0, 1e-6]),
            "screen": self.np_random.integers(256, size=(2, 2)).astype(np.uint8),
        }


@pytest.mark.parametrize("frames", [0, 3])
@pytest.mark.parametrize(("algorithm", "actions"), [("dqn", Discrete(2)), ("td3", Box(-1.0, 1.0, (1,)))])
def test_numbers_beside_categories_are_standardised_and_categories_are_not(
    algorithm: Algorithm, actions: gym.Space[Any], frames: int
) -> None:
    kind = type("Gears", (Gears,), {"action_space": actions})
    with registered(kind) as spec:
        trainee = build_trainee(small(algorithm, replace(spec, frames=frames), "learning_starts=96"), 0)
        trainee.train()
        observations = np.array(trainee.loop._collector._observation)  # noqa: SLF001
        policy = trainee.agent.policy()
        exported = export_policy(policy, pb.PolicySpec(), np.repeat(observations, 16, axis=0))
        trainee.close()
    assert exported.spec.parity.largest_value_difference < 1e-4
    wrappers = next(module for module in policy.modules() if isinstance(module, GraphWrappers))
    encoded = next(module for module in policy.modules() if isinstance(module, Encoded))
    inputs = encoded(wrappers(torch.from_numpy(observations))).detach().numpy().reshape(len(observations), -1, 10)
    assert (inputs[..., :3].sum(axis=2) == 1).all()  # one of three gears
    assert set(inputs[..., 3].ravel()) <= {0.0, 1.0}
    assert np.abs(inputs[..., 4:6]).max() < 5
    assert (inputs[..., 4:6].std(axis=(0, 1)) > 0.02).all()
    np.testing.assert_allclose(inputs[..., 6:].ravel() * 255, observations.reshape(-1, 8)[:, 4:].ravel(), rtol=1e-5)


def test_a_run_of_an_earlier_version_is_resumed_only_without_what_it_lacked() -> None:
    recipe = small("td3", EnvironmentSpec("Pendulum-v1"))
    earlier = {name: value for name, value in identity_of(recipe, 0).items() if "scale" not in name}
    del earlier["standardise"]
    with pytest.raises(CheckpointError, match="scale_by_returns was False and is True; standardise was False"):
        check_same_run(earlier, identity_of(recipe, 0))
    without = with_options(recipe, ["standardise=false", "scale_by_returns=false"])
    earlier["reward_scale"] = "1.0"
    check_same_run(earlier, identity_of(without, 0))


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e-3, 1.0, 1e4, 1e30])
def test_rewards_of_any_scale_become_ones_whose_returns_spread_by_one(scale: float) -> None:
    rng = np.random.default_rng(0)
    spread, scaled = ReturnSpread(8, 0.9), ReturnSpread(8, 0.9)
    for _ in range(2_000):
        rewards = rng.normal(scale, scale, 8)
        spread.add(taken(list(rewards)))
        scaled.add(taken(list(rewards * spread.factor)))
    assert scaled.factor == pytest.approx(1.0, rel=0.1)


def test_sums_begin_anew_with_an_episode_and_resets_count_for_nothing() -> None:
    spread = ReturnSpread(1, 1.0)
    spread.add(taken([3.0]))
    spread.add(taken([2.0], is_over=True))
    spread.add(taken([99.0], is_real=False))
    spread.add(taken([4.0]))
    assert spread.factor == pytest.approx(1 / np.std([3.0, 5.0, 4.0]))


def test_rewards_that_are_all_alike_are_left_as_they_are() -> None:
    spread = ReturnSpread(2, 0.0)
    assert spread.factor == 1.0
    for _ in range(5):
        spread.add(taken([1.0, 1.0]))
    assert spread.factor == 1.0


def test_a_spread_that_is_only_the_rounding_of_equal_rewards_is_none() -> None:
    spread = ReturnSpread(2, 0.0)
    below, above = np.float32(1e6), np.nextafter(np.float32(1e6), np.float32(np.inf))
    for _ in range(5):
        spread.add(taken([float(below), float(above)]))
    assert spread.factor == 1.0
    spread.add(taken([1e6 + 10, 1e6 - 10]))
    assert spread.factor < 1.0


def test_the_smallest_rewards_of_all_have_a_factor_that_float32_holds() -> None:
    spread = ReturnSpread(2, 0.0)
    spread.add(taken([0.0, 1e-44]))
    assert np.isfinite(np.float32(spread.factor))


def test_the_spread_is_a_part_of_a_checkpoint(tmp_path: Path) -> None:
    recipe = small("sac", EnvironmentSpec("Pendulum-v1"))
    trainee = build_trainee(recipe, 0)
    trainee.train()
    checkpoint.save(tmp_path, trainee.state())
    resumed = build_trainee(recipe, 0)
    resumed.load_state(checkpoint.load(tmp_path))
    factors = [each.loop._parts.spread.factor for each in (trainee, resumed)]  # type: ignore[union-attr]  # noqa: SLF001
    assert factors[0] == factors[1] != 1.0
    for each in (trainee, resumed):
        each.close()
    plain = build_trainee(replace(recipe, rewards=RewardConfig()), 0)
    assert plain.loop._parts.spread is None  # noqa: SLF001
    plain.close()
