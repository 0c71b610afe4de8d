"""Observations on which an imported policy is compared with the original: met in its environment, or drawn."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from polserve.training.environments.layouts import layout_of
from polserve.training.environments.making import EnvironmentSpec, make_vec
from polserve.training.evaluation.episodes import random_actions
from polserve.training.learning.collector import ChooseActions

ENVS = 8
"""Environments that are played side by side, unless fewer may exist."""
EXPLORED = 0.1
"""Part of the actions that are drawn, so that more is seen than the policy's own path."""
UNBOUNDED = 1e6
"""A bound of floats beyond this one says no more than that there is none."""
FIRST_SEED = 0


def met(environment: EnvironmentSpec, choose_actions: ChooseActions, n: int, most_envs: int = ENVS) -> NDArray[Any]:
    """Play until `n` observations (n, *shape) were met; some actions are random."""
    rng = np.random.default_rng(FIRST_SEED)
    envs = make_vec(environment, min(n, ENVS, most_envs), is_seeded_singly=True)
    try:
        at_random = random_actions(envs.single_action_space, FIRST_SEED)
        observation, _ = envs.reset(seed=FIRST_SEED)
        seen = [np.array(observation)]
        while len(seen) * envs.num_envs < n:
            actions = np.array(choose_actions(seen[-1]))
            is_drawn = rng.random(len(actions)) < EXPLORED
            actions[is_drawn] = at_random(seen[-1])[is_drawn]
            observation, *_ = envs.step(actions)
            seen.append(np.array(observation))
    finally:
        envs.close()
    return np.concatenate(seen)[:n]


def drawn(space: gym.Space[Any], n: int) -> NDArray[Any]:
    """Draw `n` observations (n, *shape) from a space, laid out as a version carries them."""
    batched = batch_space(_narrowed(space), n)
    batched.seed(FIRST_SEED)
    layout = layout_of(space)
    return np.asarray(batched.sample()) if layout is None else layout.flatten(batched.sample(), _as_array)


def _as_array(value: object, _place: str) -> NDArray[Any]:
    return np.asarray(value)


def _narrowed(space: gym.Space[Any]) -> gym.Space[Any]:
    """Space without bounds that are only the largest floats: a draw between those would be of no use."""
    if isinstance(space, Dict):
        return Dict({key: _narrowed(part) for key, part in space.spaces.items()})
    if not isinstance(space, Box) or space.dtype.kind != "f":
        return space
    low = np.where(space.low < -UNBOUNDED, -np.inf, space.low)
    high = np.where(space.high > UNBOUNDED, np.inf, space.high)
    return Box(low.astype(space.dtype), high.astype(space.dtype), space.shape, space.dtype)
