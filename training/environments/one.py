"""The only environment of a run: it is closed while an evaluation plays in another, and made anew after that."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


class OneEnv(VectorWrapper[Array, Array, Array, Array, Array]):
    """One environment to learn in, where no second one may exist beside it: a simulator on a port, or a robot."""

    def __init__(self, make_envs: Callable[[int], VectorEnv[Array, Array, Array]]) -> None:
        """`make_envs` makes the environment, each time that it is closed and used again."""
        super().__init__(make_envs(1))
        self._make_envs = make_envs
        self._is_ending = False
        self._first: tuple[Array, dict[str, Any]] | None = None
        self.is_suspended = False
        """Whether it is closed until it is used again."""

    def suspend(self) -> None:
        """Close the environment, so that another can be made."""
        if not self.is_suspended:
            self.env.close()
            self.is_suspended = True

    def resume(self, seed: int) -> None:
        """Begin the episode that follows one that is over: the next step answers with its first observation."""
        self._first = self.reset(seed=[seed])

    def end_episode(self) -> None:
        """Cut the episode off at the next step, as a time limit does; `suspend` is to follow."""
        self._is_ending = True

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin an episode, in an environment that is made anew where it was closed."""
        self._first, self._is_ending = None, False
        if self.is_suspended:
            self.env = self._make_envs(1)
            self.is_suspended = False
        reset: Any = self.env.reset  # whose type has one seed; ours take one for each environment
        observation, info = reset(seed=seed, options=options)
        return observation, info

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Step; after `resume`, answer with the first observation, as where an environment resets by itself."""
        if self._first is not None:
            (observation, info), self._first = self._first, None
            return observation, np.zeros(1), np.zeros(1, np.bool_), np.zeros(1, np.bool_), info
        observation, reward, terminated, truncated, info = self.env.step(actions)
        return observation, reward, terminated, truncated | (~terminated if self._is_ending else False), info

    def close(self, **kwargs: Any) -> None:
        """Close the environment, if that is not done."""
        if not self.is_suspended:
            super().close(**kwargs)
