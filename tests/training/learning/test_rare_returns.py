from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from polserve.training.runs.defaults import Algorithm, recipe_for
from polserve.training.runs.recipe import with_options
from polserve.training.runs.trainee import build_trainee
from tests.support.strangers import registered


class Lottery(gym.Env[Any, Any]):
    """A sure 2, or 100 in one game of ten."""

    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        prize = 100.0 * (self.np_random.random() < 0.1)
        return np.zeros(1, np.float32), prize if action == 1 else 2.0, True, False, {}


@pytest.mark.parametrize(("algorithm", "fewer_updates"), [("dqn", ["updates_per_vector_step=1"]), ("pqn", [])])
def test_defaults_choose_a_rare_return_that_is_worth_more_than_a_sure_one(
    algorithm: Algorithm, fewer_updates: list[str]
) -> None:
    with registered(Lottery) as spec:
        options = ["steps=2000", "evaluate_every=2000", "selection_episodes=1", "hidden_sizes=32", "n_envs=4"]
        recipe = with_options(recipe_for(algorithm, spec, "lottery"), options + fewer_updates)
        trainee = build_trainee(recipe, 0)
        trainee.train()
        assert trainee.agent.greedy(np.zeros((1, 1), np.float32)) == 1
        trainee.close()
