"""Names and units of what environments emit and accept, for the spec of their policies."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any

import gymnasium as gym
from gymnasium import wrappers
from gymnasium.spaces import Discrete

from polserve.protos.shared.layout import Layout
from polserve.training.environments.beneath import Beneath, Tap
from polserve.training.environments.components import Pairs, laid_out, parts, told_components, told_labels, told_pairs
from polserve.training.environments.faults import raised
from polserve.training.environments.old_gym import OldGym
from polserve.training.environments.wrappers import changes_actions, changes_observations, layers
from polserve.training.errors import UnsupportedEnvironment


@dataclass(frozen=True, slots=True)
class Description:
    """What an environment's spaces do not say."""

    components: Pairs = ()
    """(name, unit) of each component of the observation."""
    labels: tuple[str, ...] = ()
    """Name of each discrete action."""
    action_components: Pairs = ()
    """(name, unit) of each component of a continuous action."""
    left_out: tuple[str, ...] = ()
    """Why names that the environment tells are not here, a sentence each."""


_CLASSIC = "gymnasium.envs.classic_control."
_OLD_CLASSIC = "gym.envs.classic_control."
_KNOWN: Mapping[str, Description] = {
    "cartpole:CartPoleEnv": Description(
        components=(
            ("cart position", "m"),
            ("cart velocity", "m/s"),
            ("pole angle", "rad"),
            ("pole angular velocity", "rad/s"),
        ),
        labels=("push left", "push right"),
    ),
    "mountain_car:MountainCarEnv": Description(
        components=(("car position", "m"), ("car velocity", "m/step")),
        labels=("accelerate left", "coast", "accelerate right"),
    ),
    "pendulum:PendulumEnv": Description(
        components=(("cosine of the angle", ""), ("sine of the angle", ""), ("angular velocity", "rad/s")),
        action_components=(("torque", "N m"),),
    ),
}
"""By module and class: an id may be given to another environment, and an environment another id."""


def describe(environment_id: str, env: gym.Env[Any, Any]) -> Description:
    """Names and units that are known of an environment or told by it, as far as they hold for what wrappers make of it.

    Atari games name their actions. Any environment may say it itself: `metadata["observation_components"]`, a list of
    [name, unit], `metadata["action_labels"]`, a list of names, and `metadata["action_components"]`, as the first. So
    may a wrapper that changes what observations or actions mean.

    Raises:
        UnsupportedEnvironment: the metadata is not of that form, or of another length than the space.
    """
    innermost, *_ = chain = layers(env)
    description = _innermost(environment_id, innermost)
    at_taps: dict[Tap, Description] = {}
    for inner, layer in pairwise(chain):
        if isinstance(layer, Tap):
            at_taps[layer] = description
        if isinstance(layer, Beneath):
            description = _beneath(description, at_taps[layer.tap])
        else:
            description = _through(environment_id, description, inner, layer)
    n = prod(env.observation_space.shape or ())
    return description if len(description.components) == n else replace(description, components=())


def _innermost(environment_id: str, env: gym.Env[Any, Any]) -> Description:
    kind = type(env.old.unwrapped if isinstance(env, OldGym) else env)
    module = kind.__module__.removeprefix(_OLD_CLASSIC).removeprefix(_CLASSIC)
    known = _KNOWN.get(f"{module}:{kind.__qualname__}")
    if known is not None:
        return known
    meanings = getattr(env, "get_action_meanings", None)
    if callable(meanings) and isinstance(env.action_space, Discrete):
        try:
            named = meanings()
        except Exception as error:
            raise raised(environment_id, "get_action_meanings", error) from error
        labels = tuple(str(name).lower() for name in named) if isinstance(named, (list, tuple)) else ()
        if len(labels) == env.action_space.n:
            return Description(labels=labels)  # an Atari game
    return _told(environment_id, Description(), env, {})


def _beneath(description: Description, at_tap: Description) -> Description:
    """Names of observations as beneath the wrappers that are in the graph, and of actions as outside of them."""
    of_actions = [reason for reason in description.left_out if not reason.startswith("observation_components")]
    left_out = dict.fromkeys((*at_tap.left_out, *of_actions))
    return replace(description, components=at_tap.components, left_out=tuple(left_out))


def _through(
    environment_id: str, description: Description, inner: gym.Env[Any, Any], layer: gym.Env[Any, Any]
) -> Description:
    """Names as they hold after a layer, which may tell its own."""
    if type(layer) is wrappers.FlattenObservation and not description.components:
        components = tuple((part.name, "") for part in parts(inner.observation_space))
        description = replace(description, components=components)
    layout = getattr(layer, "layout", None)  # of the checks around any environment
    if isinstance(layout, Layout) and layout.is_composite:
        description = replace(description, components=laid_out(description.components, layout))
    if changes_observations(layer, inner):
        is_ours = type(layer) is wrappers.FrameStackObservation and hasattr(inner, "layout")  # around the checks
        if is_ours and "observation_components" not in inner.metadata:
            description = replace(description, components=())  # names that nobody told are not missed
        description = _observed_through(description, layer)
    if changes_actions(layer, inner):
        description = _acted_through(description, layer)
    return _told(environment_id, description, layer, inner.metadata)


def _told(
    environment_id: str, description: Description, env: gym.Env[Any, Any], inherited: Mapping[str, Any]
) -> Description:
    """Names that the environment's metadata tells, where they are not only `inherited`, in place of the others."""
    if not isinstance(env.metadata, Mapping):
        got = type(env.metadata).__name__
        raise UnsupportedEnvironment(f"{environment_id}: metadata: expected a dict, got {got}; write metadata = {{}}")
    told = {key: value for key, value in env.metadata.items() if value is not inherited.get(key)}
    components = told_components(environment_id, env.observation_space, told.get("observation_components"))
    labels = told_labels(environment_id, env.action_space, told.get("action_labels"))
    n = prod(env.action_space.shape or ())
    action_components = told_pairs(environment_id, "action_components", told.get("action_components"), n)
    return Description(
        components or description.components,
        labels or description.labels,
        action_components or description.action_components,
        tuple(reason for reason in description.left_out if reason.split()[0] not in told),
    )


def _observed_through(description: Description, layer: gym.Env[Any, Any]) -> Description:
    if type(layer) is wrappers.RescaleObservation:
        return replace(description, components=tuple((name, "") for name, _ in description.components))
    units = dict(description.components)
    kept = [part.name for part in parts(layer.observation_space)]
    if type(layer) is wrappers.FilterObservation and units.keys() >= set(kept):
        return replace(description, components=tuple((name, units[name]) for name in kept))
    left_out = description.left_out + _reasons(layer, "observations", observation_components=units)
    return replace(description, components=(), left_out=left_out)


def _acted_through(description: Description, layer: gym.Env[Any, Any]) -> Description:
    if type(layer) is wrappers.RescaleAction:
        return replace(description, action_components=tuple((name, "") for name, _ in description.action_components))
    told = {"action_labels": description.labels, "action_components": description.action_components}
    left_out = description.left_out + _reasons(layer, "actions", **told)
    return replace(description, labels=(), action_components=(), left_out=left_out)


def _reasons(layer: gym.Env[Any, Any], what: str, **told: object) -> tuple[str, ...]:
    return tuple(
        f"{key} left out of the spec: {type(layer).__name__} changes the {what} that they name; "
        f"give the wrapped environment metadata[{key!r}] of its own"
        for key, names in told.items()
        if names
    )
