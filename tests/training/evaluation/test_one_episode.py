"""Episodes of different lengths, played together: one that is over neither costs steps nor does harm."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv

from polserve.training.environments.checked import CheckedVec
from polserve.training.environments.making import EnvironmentSpec, VecEnv, make_vec
from polserve.training.evaluation.episodes import ObservationSample, play_together
from polserve.training.learning.scores import SelectionGames
from polserve.training.tasks.selection import mean_return

OBSERVED = Box(-1.0, 1.0, (1,), np.float32)
LENGTHS = "tests/Lengths-v0"


class Lengths(gym.Env[Any, Any]):
    """Episode i of an environment with seed s takes 2 steps if s is even, 20 if it is odd; a second one is at fault."""

    observation_space, action_space = OBSERVED, Discrete(2)
    steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        assert options is None
        if seed is None:
            raise RuntimeError("another episode")
        self.left = 20 if seed % 2 else 2
        return self._observed(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action in self.action_space
        Lengths.steps += 1
        self.left -= 1
        return self._observed(), 1.0, self.left == 0, False, {}

    def _observed(self) -> Any:
        return np.array([self.left / 20], np.float32)


class AtOnce(VectorEnv[Any, Any, Any]):
    """Environments of one program, all of them stepped at each step; the first ends at once and then answers NaN."""

    def __init__(self, n: int) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.num_envs = n
        self.single_observation_space, self.single_action_space = OBSERVED, Discrete(2)
        self.observation_space = Box(-1.0, 1.0, (n, 1), np.float32)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        assert seed is not None
        assert options is None
        self.t = 0
        return np.zeros((self.num_envs, 1), np.float32), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        assert len(actions) == self.num_envs
        self.t += 1
        observation, reward = np.zeros((self.num_envs, 1), np.float32), np.ones(self.num_envs)
        if self.t > 1:
            observation[0], reward[0] = np.nan, np.nan
        ended = np.full(self.num_envs, self.t == 5)
        ended[0] = self.t == 1
        return observation, reward, ended, np.zeros(self.num_envs, np.bool_), {}


@pytest.fixture(autouse=True)
def _is_registered() -> Iterator[None]:
    gym.register(LENGTHS, lambda **_: Lengths())
    Lengths.steps = 0
    yield
    gym.registry.pop(LENGTHS)


def envs(n: int) -> VecEnv:
    return make_vec(EnvironmentSpec(LENGTHS), n)


def stay(observations: Any) -> Any:
    return np.zeros(len(observations), np.int64)


def test_an_environment_whose_episode_is_over_is_neither_stepped_nor_reset() -> None:
    steps: list[int] = []
    played = play_together(stay, envs, 4, 0, count=steps.append)
    assert [(game.episode_return, game.length) for game in played] == [(2, 2), (20, 20)] * 2
    assert steps == [Lengths.steps] == [44]


def test_the_same_environments_play_again() -> None:
    assert len(play_together(stay, envs, 130, 0)) == 130


def test_the_steps_of_a_selection_are_those_that_were_made() -> None:
    score = mean_return(envs, SelectionGames(0, 30, 1_000), stay)
    assert score.steps == Lengths.steps == 15 * 22


def test_a_selection_says_how_many_of_its_games_are_over() -> None:
    heard: list[float] = []
    mean_return(envs, SelectionGames(0, 30, 1_000, heard.append), stay)
    assert heard == sorted(heard)
    assert len(heard) > 30
    assert heard[-1] == 30


def test_a_sample_of_observations_takes_none_of_an_episode_that_is_over() -> None:
    sample = ObservationSample(stay, 100, np.random.default_rng(0))
    play_together(sample, envs, 2, 0)
    assert len(sample.observations()) == 22


def test_environments_that_are_stepped_at_once_count_all_steps_and_are_checked_where_they_go_on() -> None:
    steps: list[int] = []
    played = play_together(stay, lambda n: CheckedVec(AtOnce(n), "tests/AtOnce-v0"), 3, 0, count=steps.append)
    assert [game.episode_return for game in played] == [1, 5, 5]
    assert steps == [5 + 5 + 4], "the first made four steps, and a reset in between"
