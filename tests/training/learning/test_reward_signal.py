"""When rewards first tell one behaviour from another, and exploration that waits for it."""

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from polserve.training.learning.loop import FOUND
from polserve.training.learning.reward_signal import RewardSignal
from polserve.training.learning.transitions import VectorStep
from polserve.training.runs.defaults import Algorithm, recipe_for
from polserve.training.runs.recipe import Recipe, with_options
from polserve.training.runs.trainee import build_trainee
from tests.support.strangers import registered


def step(rewards: list[float], *, ended: bool = False, real: bool = True) -> VectorStep:
    n = len(rewards)
    over = np.full(n, ended)
    return VectorStep(np.zeros((n, 1)), np.zeros(n), np.array(rewards, np.float32), over, over, np.full(n, real))


@pytest.mark.parametrize(
    ("steps", "waited"),
    [
        ([step([0, 1])], 0),
        ([step([-1, -1]), step([-1, -1]), step([-1, -1], ended=True)], 4),
        ([step([0, 0], ended=True), step([0, 0]), step([0, 1])], 4),
        ([step([1, 1]), step([7, 7], real=False), step([1, 1], ended=True), step([1, 1])], 2),
    ],
    ids=["differing at once", "a goal", "a prize", "a fall"],
)
def test_steps_are_waited_for_until_one_behaviour_is_better_than_another(steps: list[VectorStep], waited: int) -> None:
    signal = RewardSignal()
    for each in steps:
        signal.add(each)
    assert signal.is_found
    assert signal.waited == waited


@pytest.mark.parametrize("steps", [[step([-1, -1])] * 9, [step([0, 0], ended=True)] * 9], ids=["same", "nothing"])
def test_equal_rewards_and_endless_episodes_or_ends_without_any_are_no_signal(steps: list[VectorStep]) -> None:
    signal = RewardSignal()
    for each in steps:
        signal.add(each)
    assert not signal.is_found
    assert signal.waited == 18


def test_what_was_seen_survives_a_checkpoint() -> None:
    signal, resumed, old = RewardSignal(), RewardSignal(), RewardSignal()
    signal.add(step([-1, -1]))
    resumed.load_state(json.loads(json.dumps(signal.state())))
    resumed.add(step([0, 0]))
    assert resumed.is_found
    assert resumed.waited == 2
    old.load_state(FOUND)
    assert old.is_found


class Far(gym.Env[Any, Any]):
    """A place whose goal opens after so many steps, in which each step costs the same."""

    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Discrete(2)
    opens = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        super().reset(seed=seed, options=options)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        Far.opens -= 1
        return np.zeros(1, np.float32), -1.0, Far.opens <= 0, False, {}


def far(algorithm: Algorithm, environment: Any, *options: str) -> Recipe:
    small = ["n_envs=2", "learning_starts=16", "batch_size=8"] if algorithm == "dqn" else ["n_envs=2"]
    settings = ["steps=400", "epsilon_steps=100", "evaluate_every=400", "max_evaluation_steps=5", *small, *options]
    return with_options(recipe_for(algorithm, environment, "far"), settings)


@pytest.mark.parametrize("algorithm", ["dqn", "pqn"])
@pytest.mark.parametrize("waits", [True, False])
def test_epsilon_falls_only_after_the_goal_was_reached(algorithm: Algorithm, *, waits: bool) -> None:
    epsilon = {}
    with registered(Far, max_episode_steps=10) as spec:
        trainee = build_trainee(far(algorithm, spec, f"waits_for_signal={waits}".lower()), 0)
        Far.opens = 150
        for progress in trainee.loop.run():
            epsilon[progress.step // 20 * 20] = trainee.loop.figures().metrics["charts/epsilon"]
        trainee.close()
    assert epsilon[120] == pytest.approx(1.0 if waits else 0.05)
    assert epsilon[280] == pytest.approx(0.05)
