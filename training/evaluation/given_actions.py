"""Actions that a function of the user's own gives: those of the environment, or refused before it is stepped."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from numpy.typing import NDArray

from polserve.training.environments.spaces import short
from polserve.training.errors import InvalidOption

ROUNDING = 1e-6
"""Part of a bound by which an action may be beyond it: that of float32's rounding."""


def checked_actions(name: str, given: object, n: int, space: gym.Space[Any]) -> NDArray[Any]:
    """Return the actions for n observations, as the environment takes them.

    Args:
        name: of the function, for errors.
        given: what the function returned.
        n: number of observations that it was asked about.
        space: of one action.

    Raises:
        InvalidOption: these are no actions of the space, or not one for each observation.
    """
    try:
        actions = np.asarray(given)
    except ValueError:  # lists of different lengths
        actions = np.asarray(None)
    shape = (n, *(space.shape or ()))
    if actions.shape != shape or actions.dtype.kind not in "biuf":
        got = f"an array of {actions.dtype} of shape {actions.shape}"
        raise InvalidOption(f"policy {name}: expected actions of shape {shape}, one for each observation, got {got}")
    is_inside = _are_inside(actions, space)
    if not is_inside.all():
        odd = actions[~is_inside.reshape(n, -1).all(axis=1)][0]
        raise InvalidOption(f"policy {name}: expected actions in {short(space)}, got {odd.tolist()}")
    return actions if isinstance(space, Box) else actions.astype(np.int64)


def _are_inside(actions: NDArray[Any], space: gym.Space[Any]) -> NDArray[np.bool_]:
    """Whether each number is one of the space."""
    match space:
        case Discrete():
            low, high = space.start, space.start + space.n - 1
        case MultiDiscrete():
            low, high = space.start, space.start + space.nvec - 1
        case MultiBinary():
            low, high = 0, 1
        case Box():
            reach = [ROUNDING * np.maximum(1.0, np.abs(bound)) for bound in (space.low, space.high)]
            low, high = space.low - reach[0], space.high + reach[1]
        case _:
            return np.ones(actions.shape, np.bool_)
    is_number = np.isfinite(actions) if isinstance(space, Box) else actions == np.rint(actions)
    return np.asarray(is_number & (actions >= low) & (actions <= high))
