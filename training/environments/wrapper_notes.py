"""What the wrappers around an environment mean for a policy's callers, and for its returns."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import gymnasium as gym
from gymnasium.spaces import Box, Dict, Tuple
from gymnasium.wrappers import FlattenObservation, FrameStackObservation

from polserve.training.environments.beneath import Beneath
from polserve.training.environments.making import EnvironmentSpec
from polserve.training.environments.rewards import reward_changers, reward_scalers
from polserve.training.environments.wrappers import (
    changes_actions,
    changes_observations,
    layers,
    makes_observations,
)


def on_rewards(spec: EnvironmentSpec, env: gym.Env[Any, Any]) -> list[str]:
    """Sentences on which rewards a return is the sum of."""
    notes = []
    if scalers := reward_scalers(env):
        name = type(scalers[0]).__name__
        notes.append(f"{spec.id}: returns are of the rewards beneath {name}; learning sees those that it makes")
    if changers := reward_changers(env):
        notes.append(f"{spec.id}: returns are of the rewards as {', '.join(changers)} makes them")
    return notes


def client_wrappers(spec: EnvironmentSpec, env: gym.Env[Any, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Wrappers whose work on observations, and on actions, the policy's callers do."""
    chain = layers(env)
    in_graph = next((layer.above for layer in chain if isinstance(layer, Beneath)), ())
    pairs = [(inner, layer) for inner, layer in pairwise(chain) if isinstance(layer, gym.Wrapper)]
    before = [
        type(layer).__name__
        for inner, layer in pairs
        if not (spec.frames and isinstance(layer, FrameStackObservation))
        and not any(layer is known for known in in_graph)
        and (changes_observations(layer, inner) or makes_observations(layer))
    ]
    return tuple(before), tuple(type(layer).__name__ for inner, layer in pairs if changes_actions(layer, inner))


def on_wrappers(
    spec: EnvironmentSpec, env: gym.Env[Any, Any], before: Sequence[str], after: Sequence[str]
) -> list[str]:
    """Sentences on what the graph does as the wrappers do, and what callers of the policy have to do."""
    notes = []
    flattening = [layer for layer in layers(env) if type(layer) is FlattenObservation]
    if any(_has_image(layer.env.observation_space) for layer in flattening):
        notes.append("FlattenObservation lays images out as numbers in a row: they are neither convolved nor scaled")
    if spec.graph_wrappers:
        names = ", ".join(spec.graph_wrappers)
        notes.append(f"the graph does what {names} does to observations: its callers send them as they are beneath")
    if before:
        notes.append(f"the policy takes what {', '.join(before)} makes of an observation: its callers do the same")
    if after:
        notes.append(f"the policy answers with what {', '.join(after)} takes for an action: its callers do the same")
    return notes


def _has_image(space: gym.Space[Any]) -> bool:
    if isinstance(space, (Dict, Tuple)):
        return any(map(_has_image, space.spaces.values() if isinstance(space, Dict) else space.spaces))
    return isinstance(space, Box) and len(space.shape) > 1
