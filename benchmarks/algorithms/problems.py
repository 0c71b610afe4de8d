"""Environments of the comparison: as they are, and with observations in other units."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from polserve.training.environments.making import EnvironmentSpec

Units = Literal["own", "moved"]
"""The environment's own observations, or those times `FACTOR` and moved."""
UNITS: tuple[Units, ...] = ("own", "moved")
FACTOR, SHIFT = 1_000.0, 5_000.0
"""What observations in other units are: the environment's own times the factor, plus the shift."""
DISCRETE = ("dqn", "pqn")
CONTINUOUS = ("td3", "sac", "ddpg")


@dataclass(frozen=True, slots=True)
class Problem:
    """An environment, and for how long each algorithm learns in it."""

    id: str
    algorithms: tuple[str, ...]
    steps: int
    """Environment steps that are learned from."""
    goal: float
    """Return that counts as solved: Gymnasium's threshold, or where there is none, what is said beside it."""
    random: float
    """Mean return of random actions over 100 episodes, from which scores are counted."""

    def score(self, mean_return: float) -> float:
        """Return as a score: 0 is that of random actions, 1 is the goal."""
        return (mean_return - self.random) / (self.goal - self.random)

    def environment(self, units: Units) -> EnvironmentSpec:
        """Environment in these units."""
        if units == "own":
            return EnvironmentSpec(self.id)
        return EnvironmentSpec(f"moved-{self.id}", maker=partial(Moved, self.id))


class Moved(gym.ObservationWrapper[NDArray[np.float32], Any, NDArray[Any]]):
    """An environment whose observations are a thousand times as large, and moved.

    No wrapper that a graph knows: an algorithm meets it as an environment in other units.
    """

    def __init__(self, environment_id: str, **kwargs: Any) -> None:
        super().__init__(gym.make(environment_id, **kwargs))
        shape = self.env.observation_space.shape
        self.observation_space = Box(-np.inf, np.inf, shape, np.float32)

    def observation(self, observation: NDArray[Any]) -> NDArray[np.float32]:
        """Scale and move."""
        return (observation * FACTOR + SHIFT).astype(np.float32)


PROBLEMS: Mapping[str, Problem] = {
    problem.id: problem
    for problem in (
        Problem("CartPole-v1", DISCRETE, 50_000, 475.0, 23.0),
        Problem("Acrobot-v1", DISCRETE, 50_000, -100.0, -498.2),
        Problem("MountainCar-v0", DISCRETE, 100_000, -110.0, -200.0),
        Problem("LunarLander-v3", DISCRETE, 100_000, 200.0, -186.5),
        Problem("Pendulum-v1", CONTINUOUS, 10_000, -160.0, -1_199.9),  # about what tuned runs reach
        Problem("MountainCarContinuous-v0", CONTINUOUS, 20_000, 90.0, -32.2),
        Problem("LunarLanderContinuous-v3", CONTINUOUS, 30_000, 200.0, -208.4),
        Problem("HalfCheetah-v5", CONTINUOUS, 30_000, 4_800.0, -284.9),
    )
}
