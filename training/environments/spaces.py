"""What agents need of an environment's spaces, and for any other space a wrapper that helps."""

from collections.abc import Iterable, Iterator
from math import prod
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from numpy.typing import NDArray

from polserve.training.errors import UnsupportedEnvironment

Floats: TypeAlias = NDArray[np.float32]

CARRIED = ("float32", "float64", "uint8", "int32", "int64", "bool")
"""Dtypes of observations, in a policy version and on the wire."""
WIDER = {"int8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int64", "float16": "float32"}
"""What holds every value of a dtype that is not carried."""
MOST_COMBINATIONS = 4096
"""Most combinations of an action's parts that one Discrete can number and a network can value."""
OBSERVED = "a Box of numbers, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of them"
HOW_TO_WRAP = "docs/own-environment.md shows how to register a wrapped one"

NARROW = (
    "float32, in which networks compute, has fewer than two numbers between a low and its high; wrap it in a "
    f"TransformAction, or: gymnasium.wrappers.RescaleAction(env, -1.0, 1.0); {HOW_TO_WRAP}"
)
"""What to do about bounds that float32 cannot tell apart."""


def carried(space: Box) -> Box:
    """Space itself, or where no policy version carries its dtype one of the next wider dtype."""
    if space.dtype.name not in WIDER:
        return space
    wider = np.dtype(WIDER[space.dtype.name])
    return Box(space.low.astype(wider), space.high.astype(wider), space.shape, wider)


def observation_box(space: gym.Space[Any], environment_id: str) -> Box:
    """Space of the observations that a policy version carries.

    Raises:
        UnsupportedEnvironment: it can carry none of them.
    """
    if isinstance(space, Box) and carried(space).dtype.name in CARRIED and space.low.size:
        return carried(space)
    raise UnsupportedEnvironment(
        f"{environment_id}: expected observations in {OBSERVED}, got {short(space)}; {_observation_remedy(space)}"
    )


def discrete_actions(space: gym.Space[Any], environment_id: str) -> Discrete:
    """Space itself, which must be a Discrete.

    Raises:
        UnsupportedEnvironment: the space is another.
    """
    if isinstance(space, Discrete):
        return space
    raise UnsupportedEnvironment(
        f"{environment_id}: DQN needs actions in Discrete(n), got {short(space)}; {_discrete_remedy(space)}"
    )


def continuous_actions(space: gym.Space[Any], environment_id: str) -> Box:
    """Space itself, which must be a Box of one axis with finite bounds.

    Raises:
        UnsupportedEnvironment: the space is another.
    """
    if isinstance(space, Box) and _is_continuous(space):
        return space
    raise UnsupportedEnvironment(
        f"{environment_id}: DDPG, TD3 and SAC need actions in a Box (k,) of floats, finite, low < high in float32; "
        f"got {short(space)}; {_continuous_remedy(space)}"
    )


def float32_bounds(space: Box) -> tuple[Floats, Floats]:
    """Lowest and the highest float32 within the bounds, which float64 may state between two of them."""
    with np.errstate(over="ignore"):  # a bound beyond float32 becomes infinite, and its neighbour is the largest
        low, high = space.low.astype(np.float32), space.high.astype(np.float32)
    low = np.where(low < space.low, np.nextafter(low, np.float32(np.inf)), low)
    high = np.where(high > space.high, np.nextafter(high, np.float32(-np.inf)), high)
    return low, high


def component_bounds(box: Box) -> tuple[list[float], list[float]]:
    """Lowest and highest value, one for all components when they agree, else one each (flattened)."""
    low, high = np.asarray(box.low, np.float64).ravel(), np.asarray(box.high, np.float64).ravel()
    if low.size and (low == low[0]).all() and (high == high[0]).all():
        return [float(low[0])], [float(high[0])]
    return low.tolist(), high.tolist()


def flat_size(space: gym.Space[Any]) -> int | None:
    """Numbers that a space is flattened to; None where Gymnasium cannot flatten it to a fixed number of them."""
    try:
        return int(gym.spaces.flatdim(space))
    except (NotImplementedError, ValueError):
        return None


def short(space: object) -> str:
    """Space in one line."""
    text = " ".join(str(space).split())
    return text if len(text) <= 160 else f"{text[:157]}..."  # noqa: PLR2004 - characters that are still read


def _is_continuous(space: Box) -> bool:
    is_fine = len(space.shape) == 1 and space.low.size > 0 and space.is_bounded() and space.dtype.kind == "f"
    return is_fine and bool(np.less(*float32_bounds(space)).all())


def _observation_remedy(space: gym.Space[Any]) -> str:
    if isinstance(space, Box):
        if not space.low.size:
            return "give at least one number to learn from"
        return f"wrap it: gymnasium.wrappers.DtypeObservation(env, np.float32); {HOW_TO_WRAP}"
    unusable = list(_unusable(space, ""))
    if not unusable:
        return f"wrap it: gymnasium.wrappers.FlattenObservation(env); {HOW_TO_WRAP}"
    remedy = (
        f"give the numbers of it that matter as a Box of one shape, in a gymnasium.ObservationWrapper; {HOW_TO_WRAP}"
    )
    if not isinstance(space, (Dict, Tuple)):
        return remedy
    if kept := [key for key, part in _inner(space) if not any(_unusable(part, ""))]:
        remedy = f"leave that out: gymnasium.wrappers.FilterObservation(env, {kept}), or {remedy}"
    named = ", ".join(f"{path!r} ({type(part).__name__})" for path, part in unusable)
    return f"no agent can use {named}; {remedy}"


def _inner(space: gym.Space[Any]) -> Iterable[tuple[Any, gym.Space[Any]]]:
    """Keys and spaces of the parts of a Dict or a Tuple; none of any other."""
    if isinstance(space, Dict):
        return space.spaces.items()
    return enumerate(space.spaces) if isinstance(space, Tuple) else ()


def _unusable(space: gym.Space[Any], path: str) -> Iterator[tuple[str, gym.Space[Any]]]:
    """Yield the path and the space of each part that cannot be flattened to a fixed number of numbers."""
    if isinstance(space, (Dict, Tuple)):
        for key, part in _inner(space):
            yield from _unusable(part, f"{path}.{key}" if path else str(key))
    elif flat_size(space) is None:
        yield path, space


def _discrete_remedy(space: gym.Space[Any]) -> str:
    if isinstance(space, Box):
        advice = "train with --algo td3 or --algo sac"
        return advice if _is_continuous(space) else f"{advice}: {_continuous_remedy(space)}"
    if isinstance(space, (MultiDiscrete, MultiBinary)):
        sizes = np.asarray(space.nvec) if isinstance(space, MultiDiscrete) else np.full(space.shape, 2)
        starts = np.asarray(space.start) if isinstance(space, MultiDiscrete) else np.zeros(space.shape, int)
        n = prod(sizes.ravel().tolist())
        if n <= MOST_COMBINATIONS:
            parts = f"np.array(np.unravel_index(action, {tuple(sizes.ravel().tolist())}))"
            shaped = parts if sizes.ndim == 1 else f"{parts}.reshape({sizes.shape})"
            return _transformed(f"{shaped} + {starts.tolist()}" if starts.any() else shaped, f"Discrete({n})", "")
        return f"its {n:,} combinations are too many for one Discrete: leave few of them, in a gymnasium.ActionWrapper"
    return "number the actions to choose from, in a gymnasium.ActionWrapper with Discrete(n)"


def _continuous_remedy(space: gym.Space[Any]) -> str:
    if isinstance(space, Discrete):
        return "train with --algo dqn"
    if not isinstance(space, Box):
        return f"train with --algo dqn: {_discrete_remedy(space)}"
    shape, dtype = tuple(space.shape), "" if space.dtype == np.float32 else f", dtype=np.{space.dtype.name}"
    low, high = "env.action_space.low", "env.action_space.high"
    if not space.is_bounded():
        return _transformed("action", f"Box(-1.0, 1.0, {shape})", ", with the bounds that make sense there")
    if space.dtype.kind != "f":
        rounded = f"np.rint(action).astype(np.{space.dtype.name})"
        return _transformed(rounded, f"Box({low}.astype(np.float32), {high}.astype(np.float32))", "")
    if len(shape) != 1:
        return _transformed(f"action.reshape({shape})", f"Box({low}.ravel(), {high}.ravel(){dtype})", "")
    has_one_value = not (space.low < space.high).all() or not space.low.size
    return (
        "leave out the components that have one value only, in a gymnasium.ActionWrapper" if has_one_value else NARROW
    )


def _transformed(action: str, space: str, more: str) -> str:
    return f"wrap it: gymnasium.wrappers.TransformAction(env, lambda action: {action}, {space}){more}; {HOW_TO_WRAP}"
