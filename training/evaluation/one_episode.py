"""Environments that play one episode each: one that is over stands still until the others are, too."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import SyncVectorEnv
from numpy.typing import NDArray

from polserve.training.environments.checked import CheckedVec

BoolArray = NDArray[np.bool_]


class OneEpisode(gym.Wrapper[Any, Any, Any, Any]):
    """An environment that stands still once its episode is over; a reset with a seed begins another.

    What steps environments together resets each by itself where an episode ended, and goes on: an episode that nobody
    asked for, which takes time and may be at fault.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._last: Any = None
        """The last observation of the episode that is over; None before."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; without a seed, answer with the last observation where one is over."""
        if seed is None and self._last is not None:
            return self._last, {}
        self._last = None
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step; where the episode is over, pay nothing and change nothing."""
        if self._last is not None:
            return self._last, 0.0, False, False, {}
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            self._last = observation
        return observation, reward, terminated, truncated, info


class EpisodesTogether:
    """Environments stepped together, one episode of each, and the number of steps that they really made."""

    def __init__(self, envs: Any) -> None:
        """Take over `envs`: those that are stepped one by one will stand still; others are stepped on unheard."""
        self.envs = envs
        together = getattr(envs, "unwrapped", None)
        self._do_stand = isinstance(together, SyncVectorEnv)
        if isinstance(together, SyncVectorEnv):
            together.envs = [OneEpisode(env) for env in together.envs]
        self.is_over: BoolArray = np.zeros(envs.num_envs, np.bool_)
        """Whether the episode of each is over."""
        self._is_reset_next = self.is_over
        self.steps = 0
        """Steps made by all of them together, since they were made; a reset is none."""

    def reset(self, seed: int) -> Any:
        """Begin an episode in each, on this seed and those that follow; return the first observations."""
        self.is_over = np.zeros(self.envs.num_envs, np.bool_)
        self._is_reset_next = self.is_over
        observation, _ = self.envs.reset(seed=seed)
        return observation

    def step(self, actions: Any) -> tuple[Any, Any, dict[str, Any]]:
        """Step each whose episode goes on; return observations, rewards and info, which tell nothing of the others."""
        if isinstance(self.envs, CheckedVec):
            self.envs.is_unheard = self.is_over
        self.steps += int((~(self.is_over if self._do_stand else self._is_reset_next)).sum())
        observation, reward, terminated, truncated, info = self.envs.step(actions)
        self._is_reset_next = terminated | truncated
        self.is_over = self.is_over | self._is_reset_next
        return observation, reward, info
