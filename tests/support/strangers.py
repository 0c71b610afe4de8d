"""Environments with the habits that public reports tell of."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import wrappers
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
from numpy.typing import NDArray

from polserve.training.environments.making import EnvironmentSpec

Floats = NDArray[np.float32]


class Line(gym.Env[Any, Any]):
    """A point on a line, honest in everything; it ends where it left."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it
    observation_space: gym.Space[Any] = Box(-10.0, 10.0, (2,), np.float32)
    action_space: gym.Space[Any] = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        super().reset(seed=seed, options=options)
        self.steps = 0
        self.x = self.np_random.uniform(-3, 3)
        return self.look(), self.tell()

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.steps += 1
        self.x += 0.1 if np.sum(action) > 0 else -0.1
        return self.look(), self.earn(), self.is_over(), False, self.tell()

    def look(self) -> Any:
        return np.array([self.x, abs(self.x)], np.float32)

    def earn(self) -> Any:
        return -abs(self.x)

    def is_over(self) -> Any:
        return False

    def tell(self) -> Any:
        return {}


class OldStep(Line):
    def step(self, action: Any) -> Any:
        return super().step(action)[:4]


class Exits(Line):
    def step(self, action: Any) -> Any:  # noqa: ARG002 - as Gymnasium declares it
        raise SystemExit(3)


class WritesInto(Line):
    """Each step writes into the array that the reset gave."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        self.seen, info = super().reset(seed=seed, options=options)
        return self.seen, info

    def step(self, action: Any) -> Any:
        self.seen[:], *rest = super().step(action)
        return self.seen, *rest


class OldReset(Line):
    def reset(self) -> Any:  # type: ignore[override]
        return super().reset()


class NoOptions(Line):
    def reset(self, seed: int | None = None) -> Any:  # type: ignore[override]
        return super().reset(seed=seed)


class NoInfo(Line):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=seed, options=options)[0]


class OldStepOutside(gym.Wrapper[Any, Any, Any, Any]):
    def step(self, action: Any) -> Any:
        return super().step(action)[:4]


class Unseeded(Line):
    """Its observations come from a generator that no seed reaches."""

    def look(self) -> Floats:
        return np.random.default_rng().normal(size=2).astype(np.float32)


class BreaksLater(Line):
    """Its motor stops after 30 steps."""

    def step(self, action: Any) -> Any:
        if self.steps == 30:
            raise RuntimeError("the motor\nis hot")
        return super().step(action)


class Sensor(Line):
    """Its second sensor fails after 30 steps."""

    metadata = {"render_modes": [], "observation_components": [["place", "m"], ["distance", "m"]]}  # noqa: RUF012

    def look(self) -> Floats:
        return np.array([self.x, np.nan if self.steps > 30 else 0.0], np.float32)


class Labelled(Line):
    metadata = {"render_modes": [], "action_labels": ["far left", "left", "stay", "right", "far right"]}  # noqa: RUF012
    action_space = Discrete(5)


class Three(gym.ActionWrapper[Any, Any, Any]):
    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.action_space = Discrete(3)

    def action(self, action: Any) -> np.int64:
        return np.int64(2 * action)


class ThreeNamed(Three):
    metadata = {"render_modes": [], "action_labels": ["far left", "stay", "far right"]}  # noqa: RUF012


class Swapped(gym.ActionWrapper[Any, Any, Any]):
    """The same space, and another meaning."""

    def action(self, action: Any) -> np.int64:
        return np.int64(4 - action)


class InParts(Line):
    metadata = {"render_modes": [], "observation_components": [["speed", "m/s"], ["lamp", ""], ["gear", ""]]}  # noqa: RUF012
    observation_space = Dict({"speed": Box(-1, 1, (2,)), "gear": Discrete(2), "lamp": MultiBinary(1)})

    def look(self) -> dict[str, Any]:
        return {"speed": np.zeros(2, np.float32), "gear": np.int64(1), "lamp": np.zeros(1, np.int8)}


class OwnStatistics(gym.ObservationWrapper[Any, Any, Any]):
    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.seen = wrappers.utils.RunningMeanStd(shape=(2,))  # type: ignore[no-untyped-call]

    def observation(self, observation: Any) -> Any:
        return observation - self.seen.mean


@contextmanager
def registered(make: Callable[..., Any], **options: Any) -> Iterator[EnvironmentSpec]:
    """Gymnasium knows the environment as Odd-v0."""
    gym.register("Odd-v0", make, **{"max_episode_steps": 20, **options})
    try:
        yield EnvironmentSpec("Odd-v0")
    finally:
        del gym.registry["Odd-v0"]


def like(name: str, value: Any, base: type[Line] = Line) -> type[Line]:
    """A line of which one method gives `value`, or one space is it."""
    return type("Like", (base,), {name: value if isinstance(value, gym.Space) else lambda _self: value})
