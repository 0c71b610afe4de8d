"""Steps of environments, and what agents learn from in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class VectorStep:
    """One step of n environments.

    `is_real` is False where an environment only began a new episode; then reward and action mean nothing.
    """

    observation_tm1: NDArray[Any]  # (n, *shape)
    action_tm1: NDArray[Any]  # (n,) int64, or (n, k) float32
    reward_t: NDArray[np.float32]  # (n,)
    is_terminated: NDArray[np.bool_]  # (n,) the episode reached a terminal state
    is_over: NDArray[np.bool_]  # (n,) the episode ended, by termination or truncation
    is_real: NDArray[np.bool_]  # (n,)


@dataclass(frozen=True, slots=True)
class Transitions:
    """n transitions over one or more steps.

    `discount_t` is what the value of `observation_t` counts for: gamma to the power of the steps taken, and 0 where
    the episode terminated. At a truncation it is not 0: the return goes on, although the episode does not.
    """

    observation_tm1: NDArray[Any]  # (n, *shape)
    action_tm1: NDArray[Any]  # (n,) int64, or (n, k) float32
    reward_t: NDArray[np.float32]  # (n,) discounted sum over the steps
    discount_t: NDArray[np.float32]  # (n,)
    observation_t: NDArray[Any]  # (n, *shape)


@dataclass(frozen=True, slots=True)
class Trajectories:
    """Consecutive steps of n environments, and the observations that they led to."""

    observation: NDArray[Any]  # (steps + 1, n, *shape); row t + 1 is what step t led to
    action_tm1: NDArray[Any]  # (steps, n)
    reward_t: NDArray[np.float32]  # (steps, n)
    is_terminated: NDArray[np.bool_]  # (steps, n)
    is_over: NDArray[np.bool_]  # (steps, n)
    is_real: NDArray[np.bool_]  # (steps, n)

    @classmethod
    def of(cls, steps: Sequence[VectorStep]) -> "Trajectories":
        """All steps but the last, which only says where the one before it led to."""

        def stack(name: str) -> NDArray[Any]:
            return np.stack([getattr(step, name) for step in steps[:-1]])

        names = ("action_tm1", "reward_t", "is_terminated", "is_over", "is_real")
        return cls(np.stack([step.observation_tm1 for step in steps]), **{name: stack(name) for name in names})


@dataclass(frozen=True, slots=True)
class Sampling:
    """What an algorithm wants to learn from."""

    batch_size: int
    n_step: int
    discount: float
    """gamma, per step."""
