"""A check that what a policy answers is an action of its space."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from numpy.typing import NDArray

from polserve.protos.shared.golden import TOLERANCE
from polserve.training.errors import ImportRefused


def check_within(where: str, space: gym.Space[Any], actions: NDArray[Any], remedy: str) -> None:
    """Check that actions (n, ...) are ones of their space.

    Raises:
        ImportRefused: one is not, or is no number.
    """
    if not isinstance(space, Box):
        _check_choices(where, space, actions, remedy)
        return
    if not np.isfinite(actions).all():
        raise ImportRefused(f"{where}: expected actions that are numbers, got NaN or infinite ones")
    slack = TOLERANCE * (space.high.astype(np.float64) - space.low)
    if ((actions < space.low - slack) | (actions > space.high + slack)).any():
        raise ImportRefused(
            f"{where}: expected actions within {space.low.tolist()} and {space.high.tolist()}, got "
            f"{actions.min():.4g} to {actions.max():.4g}; {remedy}"
        )


def _check_choices(where: str, space: gym.Space[Any], actions: NDArray[Any], remedy: str) -> None:
    if isinstance(space, (Discrete, MultiDiscrete)):
        low = np.asarray(space.start)
        high = low + (space.n if isinstance(space, Discrete) else space.nvec) - 1
    else:
        low, high = np.asarray(0), np.asarray(1)  # MultiBinary
    if ((actions < low) | (actions > high)).any():
        got = f"{actions.min()} to {actions.max()}"
        raise ImportRefused(f"{where}: expected actions from {low} to {high}, got {got}; {remedy}")
