"""Environments that write into arrays: into the actions that they take, and into the observations that they gave."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from polserve.training.environments.checked import CheckedVec
from polserve.training.environments.making import EnvironmentSpec, make_env, make_vec
from polserve.training.errors import FaultyEnvironment
from polserve.training.learning.collector import Collector

SPACE = Box(-1, 1, (2,), np.float32)


class Motor(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """Scales its action where it is, and shows one array that it counts up."""

    observation_space = Box(0, 100, (1,), np.float32)
    action_space = SPACE

    def __init__(self, lives: Any = 3) -> None:
        self.lives = lives

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed, options=options)
        self.seen = np.zeros(1, np.float32)
        return self.seen, {"lives": self.lives}

    def step(self, action: NDArray[np.float32]) -> Any:
        action *= 10
        self.seen += 1
        return self.seen, 0.0, False, False, {"lives": self.lives}


class Motors(VectorEnv[Any, Any, Any]):
    """As many of them, stepped together, that scale all actions where they are."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - as Gymnasium has it
    num_envs = 3
    single_observation_space = Box(0, 1, (1,), np.float32)
    observation_space = batch_space(single_observation_space, num_envs)

    def __init__(self, actions: gym.Space[Any]) -> None:
        self.single_action_space = actions
        self.action_space = batch_space(actions, self.num_envs)

    def reset(self, **_: Any) -> Any:
        return np.zeros((3, 1), np.float32), {}

    def step(self, actions: NDArray[Any]) -> Any:
        actions *= 10
        return np.zeros((3, 1), np.float32), np.zeros(3), np.zeros(3, np.bool_), np.zeros(3, np.bool_), {}


def test_the_replay_keeps_the_action_that_was_chosen() -> None:
    collector = Collector(make_vec(EnvironmentSpec("motor", maker=Motor), 3), [1, 2, 3])
    step = collector.step(lambda _: np.full((3, 2), 0.5, np.float32))
    assert (step.action_tm1 == 0.5).all()


@pytest.mark.parametrize(
    ("space", "chosen"), [(SPACE, np.full((3, 2), 0.5, np.float32)), (Discrete(4), np.array([1, 2, 3]))]
)
def test_so_it_does_where_a_vector_environment_takes_them(space: gym.Space[Any], chosen: NDArray[Any]) -> None:
    collector = Collector(CheckedVec(Motors(space), "Motors-v0"), [1])
    step = collector.step(lambda _: chosen.copy())
    assert np.array_equal(step.action_tm1, chosen)


def test_a_stack_of_frames_holds_what_each_was_when_it_was_shown() -> None:
    env = make_env(EnvironmentSpec("motor", maker=Motor, frames=3))
    stacks = [env.reset(seed=0)[0]]
    stacks += [env.step(np.zeros(2, np.float32))[0] for _ in range(3)]
    assert [np.ravel(stack).tolist() for stack in stacks] == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]]


@pytest.mark.parametrize("lives", [None, [3, 2], "full", {"left": 1}, np.nan])
def test_lives_that_are_no_number_are_refused_only_where_they_are_learned_from(lives: Any) -> None:
    envs = make_vec(EnvironmentSpec("motor", {"lives": lives}, maker=Motor), 3)
    collector = Collector(envs, [1, 2, 3])
    assert not collector.step(lambda _: np.zeros((3, 2), np.float32)).is_terminated.any()
    with pytest.raises(FaultyEnvironment, match=r'info\["lives"\] is .*; expected a number: .*is_terminal=false'):
        Collector(envs, [1, 2, 3], is_life_terminal=True)
