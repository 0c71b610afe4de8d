"""Names and units of what environments emit and accept, for the spec of their policies."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import gymnasium as gym
from gymnasium.spaces import Discrete

from training.errors import UnsupportedEnvironment


@dataclass(frozen=True, slots=True)
class Description:
    """What an environment's spaces do not say."""

    components: tuple[tuple[str, str], ...] = ()
    """(name, unit) of each component of the observation."""
    labels: tuple[str, ...] = ()
    """Of each discrete action."""
    action_components: tuple[tuple[str, str], ...] = ()
    """(name, unit) of each component of a continuous action."""


_CART_POLE = Description(
    components=(
        ("cart position", "m"),
        ("cart velocity", "m/s"),
        ("pole angle", "rad"),
        ("pole angular velocity", "rad/s"),
    ),
    labels=("push left", "push right"),
)
_KNOWN: Mapping[str, Description] = {
    "CartPole-v0": _CART_POLE,
    "CartPole-v1": _CART_POLE,
    "MountainCar-v0": Description(
        components=(("car position", "m"), ("car velocity", "m/step")),
        labels=("accelerate left", "coast", "accelerate right"),
    ),
    "Pendulum-v1": Description(
        components=(("cosine of the angle", ""), ("sine of the angle", ""), ("angular velocity", "rad/s")),
        action_components=(("torque", "N m"),),
    ),
}


def describe(environment_id: str, env: gym.Env[Any, Any]) -> Description:
    """The description of a known environment, else what `env.metadata` says.

    Atari games name their actions. Any environment may say it itself: `metadata["observation_components"]`, a list of
    [name, unit], `metadata["action_labels"]`, a list of names, and `metadata["action_components"]`, as the first.

    Raises:
        UnsupportedEnvironment: the metadata is not of that form, or of another length than the space.
    """
    if environment_id in _KNOWN:
        return _KNOWN[environment_id]
    meanings = getattr(env.unwrapped, "get_action_meanings", None)
    if meanings is not None:  # an Atari game
        return Description(labels=tuple(name.lower() for name in meanings()))
    told = env.unwrapped
    return Description(
        _pairs(environment_id, told, "observation_components", prod(told.observation_space.shape or ())),
        _labels(environment_id, told),
        _pairs(environment_id, told, "action_components", prod(told.action_space.shape or ())),
    )


def _pairs(environment_id: str, env: gym.Env[Any, Any], key: str, n: int) -> tuple[tuple[str, str], ...]:
    """The [name, unit] of each of `n` components; none where the environment tells none."""
    told = env.metadata.get(key) or ()
    try:
        pairs = tuple((str(name), str(unit)) for name, unit in told)
    except (TypeError, ValueError):
        pairs = None
    if pairs is None or len(pairs) not in {0, n}:
        raise UnsupportedEnvironment(f"{environment_id}: metadata[{key!r}]: expected {n} of [name, unit], got {told!r}")
    return pairs


def _labels(environment_id: str, env: gym.Env[Any, Any]) -> tuple[str, ...]:
    """The name of each discrete action; none where the environment tells none."""
    told = env.metadata.get("action_labels") or ()
    n = int(env.action_space.n) if isinstance(env.action_space, Discrete) else 0
    if isinstance(told, str) or len(told) not in {0, n}:
        raise UnsupportedEnvironment(
            f"{environment_id}: metadata['action_labels']: expected the names of its {n} discrete actions, got {told!r}"
        )
    return tuple(map(str, told))
