"""Wrappers whose work on observations a policy's graph does: which they are, and the environment beneath them.

The rule: from the outermost wrapper inwards, a wrapper goes into the graph if the graph can do exactly what it does to
observations. The first that it cannot do, and everything beneath that, stays outside: its callers do it. A wrapper that
normalises by what it has seen has to be in the graph, which else would lack its statistics. A stack of frames, where it
is the outermost of them, is the service's to keep, and the graph does what is beneath it to each frame.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import wrappers
from numpy.typing import NDArray

from polserve.training.environments.transforms import Transform, is_carried, transform_of, transformed
from polserve.training.environments.wrappers import layers, makes_observations
from polserve.training.errors import UnsupportedEnvironment

CLOSE = 1e-4
"""Largest difference, relative to the number, between a wrapper's observation and the graph's."""


class Tap(gym.Wrapper[Any, Any, Any, Any]):
    """A layer that changes nothing, and remembers the latest observation and reward that passed it."""

    keeps_meaning = True

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation: Any = None
        self.reward: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; remember its first observation."""
        result = self.env.reset(seed=seed, options=options)
        self.observation, self.reward = result[0], 0.0
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step; remember the observation and the reward."""
        result = self.env.step(action)
        self.observation, self.reward = result[:2]
        return result


class Beneath(gym.Wrapper[Any, Any, Any, Any]):
    """An environment that emits what it would without its outermost wrappers, which it keeps all the same.

    So whatever else a wrapper does, to rewards or actions, is done as before.
    """

    keeps_meaning = True

    def __init__(self, env: gym.Env[Any, Any], above: Sequence[gym.Wrapper[Any, Any, Any, Any]]) -> None:
        """`above` are the wrappers of `env` whose observations are passed by, from the innermost."""
        super().__init__(env)
        self.tap = Tap(above[0].env)
        above[0].env = self.tap
        self.above = tuple(above)
        self.observation_space = self.tap.observation_space
        self.outermost: Any = None
        """Latest observation of the outermost wrapper."""

    @property
    def frames(self) -> int:
        """Length of the stack of frames that is the outermost of the wrappers; 0 where none is."""
        return stack_length(self.above)

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """What the wrappers above do to observations, by the statistics that they have now."""
        found = (transform_of(layer, layer.env) for layer in self.above)  # a stack has none
        return tuple(transform for transform in found if transform is not None)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; return its first observation beneath the wrappers."""
        self.outermost, info = self.env.reset(seed=seed, options=options)
        return self.tap.observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step; return the observation beneath the wrappers."""
        self.outermost, *rest = self.env.step(action)
        return self.tap.observation, *rest


def graph_layers(env: gym.Env[Any, Any]) -> list[gym.Wrapper[Any, Any, Any, Any]]:
    """Wrappers of an environment that go into the graph of a policy trained there, from the innermost."""
    found: list[gym.Wrapper[Any, Any, Any, Any]] = []
    for layer in reversed(layers(env)):
        if not isinstance(layer, gym.Wrapper):
            break
        if makes_observations(layer):
            is_stack = not found and _is_stack(layer)
            if not is_stack and transform_of(layer, layer.env) is None:
                break
            found.append(layer)
    return found[::-1]


def stack_length(above: Sequence[gym.Wrapper[Any, Any, Any, Any]]) -> int:
    """Length of the stack of frames that is the last of these wrappers; 0 where it is none."""
    return int(above[-1].stack_size) if above and _is_stack(above[-1]) else 0  # type: ignore[attr-defined]


def beneath(environment_id: str, env: gym.Env[Any, Any], names: Sequence[str]) -> gym.Env[Any, Any]:
    """Environment beneath the wrappers of these names, from the innermost; as it is where it has none of them.

    Raises:
        UnsupportedEnvironment: it has others in their place.
    """
    above = graph_layers(env)
    if not above or not names:
        return env
    found = [type(layer).__name__ for layer in above]
    if found[-len(names) :] != list(names):
        raise UnsupportedEnvironment(
            f"{environment_id}: the policy's graph does what {', '.join(names)} does to observations, and the "
            f"environment has {', '.join(found)} in that place; play the environment that it was trained in, or one "
            "without them"
        )
    return Beneath(env, above[-len(names) :])


def check_does_the_same(environment_id: str, environment: Beneath) -> None:
    """Raise UnsupportedEnvironment where the wrappers make something else of the latest observation than the graph."""
    raw = np.asarray(environment.tap.observation)
    expected, given = transformed(environment.transforms, raw), np.asarray(environment.outermost)
    given = given[-1] if environment.frames else given
    if expected.shape == given.shape and _is_close(expected, given):
        return
    names = ", ".join(type(layer).__name__ for layer in environment.above)
    others = [type(layer).__name__ for layer in layers(environment.env) if _may_change(layer)]
    raise UnsupportedEnvironment(
        f"{environment_id}: observations are others than {names} makes of them: a wrapper around changes them too "
        f"({', '.join(others) or 'none that is known'}); derive it from gymnasium.ObservationWrapper, and put it "
        f"beneath {names}"
    )


def _is_stack(layer: gym.Wrapper[Any, Any, Any, Any]) -> bool:
    """Whether a wrapper stacks frames as the service does, the first of an episode filling the stack."""
    is_ours = type(layer) is wrappers.FrameStackObservation and layer.padding_type == "reset"
    return is_ours and is_carried(layer.env.observation_space)


def _is_close(expected: NDArray[Any], given: NDArray[Any]) -> bool:
    ours, theirs = expected.astype(np.float64), given.astype(np.float64)
    return bool((np.abs(ours - theirs) <= CLOSE * np.maximum(1.0, np.abs(theirs))).all())


def _may_change(layer: gym.Env[Any, Any]) -> bool:
    """Whether a wrapper may do more than Gymnasium's own to observations, without saying so."""
    quiet = (wrappers.TimeLimit, wrappers.OrderEnforcing, wrappers.RecordEpisodeStatistics, Tap)
    return isinstance(layer, gym.Wrapper) and not makes_observations(layer) and not isinstance(layer, quiet)
