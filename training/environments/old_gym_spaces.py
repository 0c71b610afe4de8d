"""Spaces of the unmaintained gym as Gymnasium's."""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from polserve.training.errors import UnsupportedEnvironment


def converted(space: Any, environment_id: str, place: str) -> gymnasium.Space[Any]:
    """Space of Gymnasium with the same members as one of gym.

    Raises:
        UnsupportedEnvironment: Gymnasium has none; `place` says where it was.
    """
    if isinstance(space, gymnasium.Space):
        return space
    kind = next((base.__name__ for base in type(space).__mro__ if base.__module__.startswith("gym.spaces")), "")
    if kind == "Dict":
        parts = {key: converted(part, environment_id, f"{place}[{key!r}]") for key, part in space.spaces.items()}
        return Dict(parts)
    if kind == "Tuple":
        return Tuple(converted(part, environment_id, f"{place}[{i}]") for i, part in enumerate(space.spaces))
    if kind not in _MADE_BY:
        got = type(space).__name__ if space is not None else "none"
        raise UnsupportedEnvironment(
            f"{environment_id}: {place}: expected a Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple of gym, "
            f"got {got}; wrap the environment, or move it to Gymnasium"
        )
    return _MADE_BY[kind](space)


_MADE_BY: Mapping[str, Callable[[Any], gymnasium.Space[Any]]] = {
    "Box": lambda space: Box(space.low, space.high, space.shape, space.dtype),
    "Discrete": lambda space: Discrete(int(space.n), start=int(getattr(space, "start", 0))),
    "MultiDiscrete": lambda space: MultiDiscrete(np.asarray(space.nvec)),
    "MultiBinary": lambda space: MultiBinary(space.n),
}
"""By the name of gym's class."""
