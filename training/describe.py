"""Names and units of what environments emit and accept, for the spec of their policies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym


@dataclass(frozen=True, slots=True)
class Description:
    """What an environment's spaces do not say."""

    components: tuple[tuple[str, str], ...] = ()
    """(name, unit) of each component of the observation."""
    labels: tuple[str, ...] = ()
    """Of each discrete action."""


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
}


def describe(environment_id: str, env: gym.Env[Any, Any]) -> Description:
    """The description of a known environment, else what `env.metadata` says.

    Atari games name their actions. Any environment may say it itself: `metadata["observation_components"]`, a list of
    [name, unit], and `metadata["action_labels"]`, a list of names.
    """
    if environment_id in _KNOWN:
        return _KNOWN[environment_id]
    meanings = getattr(env.unwrapped, "get_action_meanings", None)
    if meanings is not None:  # an Atari game
        return Description(labels=tuple(name.lower() for name in meanings()))
    metadata = env.unwrapped.metadata
    components = tuple((str(name), str(unit)) for name, unit in metadata.get("observation_components", ()))
    return Description(components, tuple(str(label) for label in metadata.get("action_labels", ())))
