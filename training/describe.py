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
    """
    if environment_id in _KNOWN:
        return _KNOWN[environment_id]
    meanings = getattr(env.unwrapped, "get_action_meanings", None)
    if meanings is not None:  # an Atari game
        return Description(labels=tuple(name.lower() for name in meanings()))
    metadata = env.unwrapped.metadata
    components = tuple((str(name), str(unit)) for name, unit in metadata.get("observation_components", ()))
    return Description(
        components,
        tuple(str(label) for label in metadata.get("action_labels", ())),
        tuple((str(name), str(unit)) for name, unit in metadata.get("action_components", ())),
    )
