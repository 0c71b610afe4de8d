"""The rewards that an environment pays, beneath wrappers that scale them by what they have seen.

Learning sees the scaled ones. What is reported, as the return of an episode, is of those paid, since no two runs scale
alike.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import wrappers

from polserve.training.environments.beneath import Tap
from polserve.training.environments.wrappers import KEEPS_MEANING, layers

PAID_REWARD = "polserve_paid_reward"
"""Key in a step's info of the reward that was paid, where the step's own is scaled."""


class PaidRewards(gym.Wrapper[Any, Any, Any, Any]):
    """An environment with scaled rewards that tells those paid in the info of each step."""

    keeps_meaning = True

    def __init__(self, env: gym.Env[Any, Any], scaling: gym.Wrapper[Any, Any, Any, Any]) -> None:
        """`scaling` is the innermost of the wrappers of `env` that scale rewards."""
        super().__init__(env)
        self._tap = Tap(scaling.env)
        scaling.env = self._tap

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and tell the reward that was paid."""
        *result, info = self.env.step(action)
        return (*result, {**(info or {}), PAID_REWARD: float(np.asarray(self._tap.reward).item())})


def with_paid_rewards(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Environment as it is, or telling the rewards beneath wrappers that scale them by what they have seen."""
    scaling = reward_scalers(env)
    return PaidRewards(env, scaling[0]) if scaling else env


def reward_scalers(env: gym.Env[Any, Any]) -> list[gym.Wrapper[Any, Any, Any, Any]]:
    """Wrappers that scale rewards by what they have seen, from the innermost."""
    return [layer for layer in layers(env) if isinstance(layer, gym.Wrapper) and _scales(layer)]


def reward_changers(env: gym.Env[Any, Any]) -> list[str]:
    """Names of wrappers that change the rewards that are reported, from the innermost."""
    names = []
    for layer in layers(env):
        if isinstance(layer, gym.Wrapper) and _scales(layer):
            break  # what is reported is paid beneath it
        if isinstance(layer, gym.RewardWrapper) and not hasattr(layer, KEEPS_MEANING):
            names.append(type(layer).__name__)
    return names


def paid(rewards: Any, info: Mapping[str, Any]) -> Any:
    """Rewards that were paid in a step: one, or (n,) of environments stepped together."""
    return info.get(PAID_REWARD, rewards)


def _scales(layer: gym.Wrapper[Any, Any, Any, Any]) -> bool:
    return isinstance(layer, wrappers.NormalizeReward) or "return_rms" in vars(layer)
