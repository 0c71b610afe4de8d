"""The wrappers around an environment: what each makes of its observations and actions, and what it remembers."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import wrappers

from polserve.training.errors import UnsupportedEnvironment

SAME_OBSERVATIONS: tuple[type, ...] = (
    wrappers.FlattenObservation,
    wrappers.ReshapeObservation,
    wrappers.DtypeObservation,
    wrappers.DelayObservation,
)
"""Wrappers after which the numbers mean what they meant, in their order."""
SAME_ACTIONS: tuple[type, ...] = (wrappers.ClipAction, wrappers.StickyAction)
"""Wrappers after which actions mean what they meant."""
STATISTICS = ("obs_rms", "ob_rms")
"""Attributes of wrappers that normalise observations, here and in the libraries before."""
HOW = "docs/own-environment.md names those"
"""Where to learn which wrappers a graph can do."""
KEEPS_MEANING = "keeps_meaning"
"""The attribute of a wrapper of ours that changes neither."""


def layers(env: gym.Env[Any, Any]) -> list[gym.Env[Any, Any]]:
    """Environment itself, and each wrapper around it, outwards."""
    found = [env]
    while isinstance(found[-1], gym.Wrapper):
        found.append(found[-1].env)
    return found[::-1]


def changes_observations(layer: gym.Env[Any, Any], inner: gym.Env[Any, Any]) -> bool:
    """Whether an observation means something else after the layer than before it, as far as can be told."""
    if type(layer) in SAME_OBSERVATIONS or hasattr(layer, KEEPS_MEANING):
        return False
    return isinstance(layer, gym.ObservationWrapper) or layer.observation_space != inner.observation_space


def makes_observations(layer: gym.Wrapper[Any, Any, Any, Any]) -> bool:
    """Whether a wrapper emits other observations than what it wraps, if only in their shape, dtype or time."""
    if hasattr(layer, KEEPS_MEANING):
        return False
    kinds = (gym.ObservationWrapper, wrappers.MaxAndSkipObservation)
    return isinstance(layer, kinds) or layer.observation_space != layer.env.observation_space


def changes_actions(layer: gym.Env[Any, Any], inner: gym.Env[Any, Any]) -> bool:
    """Whether an action means something else to the layer than to what it wraps, as far as can be told."""
    if type(layer) in SAME_ACTIONS or hasattr(layer, KEEPS_MEANING):
        return False
    return isinstance(layer, gym.ActionWrapper) or layer.action_space != inner.action_space


def step_limit(env: gym.Env[Any, Any]) -> int | None:
    """Find the number of steps after which a wrapper truncates an episode; None where none does."""
    limits = [layer._max_episode_steps for layer in layers(env) if isinstance(layer, wrappers.TimeLimit)]  # noqa: SLF001
    return min(limits) if limits else None


def check_keeps_no_statistics(environment_id: str, env: object, is_in_graph: Sequence[object] = ()) -> None:
    """Raise UnsupportedEnvironment where a layer of an environment, or of a vector one, normalises by what it has seen.

    Such statistics are a part of the policy, and the exported graph would lack them, but for the layers that are in it.
    """
    around: list[str] = []
    layer: object | None = env
    while layer is not None:
        if not any(layer is known for known in is_in_graph):
            if any(name in vars(layer) for name in STATISTICS) or _normalises(layer):
                raise _lost_statistics(environment_id, layer, around)
            if isinstance(layer, gym.Wrapper) and makes_observations(layer):
                around.append(type(layer).__name__)
        layer = vars(layer).get("env")


def _lost_statistics(environment_id: str, layer: object, around: Sequence[str]) -> UnsupportedEnvironment:
    name = type(layer).__name__
    lost = f"{environment_id}: {name} normalises observations by statistics of what it has seen, "
    if type(layer) is not wrappers.NormalizeObservation:
        return UnsupportedEnvironment(
            f"{lost}which the exported graph would lack; use gymnasium.wrappers.NormalizeObservation, which the graph "
            "can do"
        )
    if around:
        return UnsupportedEnvironment(
            f"{lost}and {around[-1]} around it transforms them in a way that cannot be put into the exported graph; "
            f"put {around[-1]} beneath {name}, or use a wrapper that the graph can do ({HOW})"
        )
    return UnsupportedEnvironment(f"{lost}which the policy's graph lacks; play the environment without it")


def _normalises(layer: object) -> bool:
    """Whether the layer holds a running mean of observations, by whatever name."""
    shape = getattr(getattr(layer, "observation_space", None), "shape", None)
    means = [value.mean for value in vars(layer).values() if "RunningMeanStd" in type(value).__name__]
    return bool(shape) and any(np.shape(mean) == shape for mean in means)
