"""Actions that a function of the user's own gives: those of the environment, or refused before it is stepped."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from numpy.typing import NDArray

from polserve.training.environments.spaces import short
from polserve.training.errors import InvalidOption

ROUNDING = 1e-6
"""Part of a bound, or of the range between both, by which an action may be beyond a bound: float32's rounding."""


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
    if not _is_whole(space):
        return actions
    return actions.astype(space.dtype if isinstance(space, Box) else np.int64)


def _is_whole(space: gym.Space[Any]) -> bool:
    """Whether the actions are whole numbers."""
    return not isinstance(space, Box) or np.dtype(space.dtype).kind in "iu"


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
            low, high = (space.low, space.high) if _is_whole(space) else _with_rounding(space)
        case _:
            return np.ones(actions.shape, np.bool_)
    is_number = actions == np.rint(actions) if _is_whole(space) else np.isfinite(actions)
    return np.asarray(is_number & (actions >= low) & (actions <= high))


def _with_rounding(space: Box) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bounds of a space, each farther by `ROUNDING`: where one is 0, the range tells the size of its numbers."""
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    with np.errstate(over="ignore"):  # of bounds that are the largest numbers
        width = np.where(np.isfinite(low) & np.isfinite(high), high - low, 0.0)
    return low - ROUNDING * np.maximum(np.abs(low), width), high + ROUNDING * np.maximum(np.abs(high), width)
