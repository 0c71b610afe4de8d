"""The size of discounted returns, by which rewards are brought to one that networks learn at."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from polserve.training.learning.moments import Moments
from polserve.training.learning.transitions import VectorStep

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDING = float(np.finfo(np.float32).eps)
"""Deviation relative to the mean up to which it is that of the rounding of equal rewards in float32."""
LARGEST = float(np.finfo(np.float32).max)
"""Largest factor: rewards are float32 numbers, and so is what they are multiplied by."""


class DiscountedSums:
    """Discounted sums of the rewards of each environment, as they come in; an episode's begins at 0."""

    def __init__(self, n_envs: int, discount: float) -> None:
        self._discount = discount
        self._sums: NDArray[np.float64] = np.zeros(n_envs)

    def add(self, step: VectorStep) -> "NDArray[np.float64]":
        """Take in one step of every environment; return the sums of those whose step is real."""
        self._sums = np.where(step.is_real, self._discount * self._sums + step.reward_t, 0.0)
        sums = self._sums[step.is_real]
        self._sums[step.is_over] = 0.0
        return sums

    def begin(self) -> None:
        """Begin new episodes everywhere."""
        self._sums[:] = 0.0


class ReturnSpread:
    """Running standard deviation of the discounted sums of rewards, as they come in (Engstrom et al. 2020).

    Of all environments together.
    """

    def __init__(self, n_envs: int, discount: float) -> None:
        self._sums = DiscountedSums(n_envs, discount)
        self._moments = Moments(0.0, 0.0, 0.0)

    def add(self, step: VectorStep) -> None:
        """Take in one step of every environment."""
        sums = self._sums.add(step)
        if not len(sums):
            return
        n = float(len(sums))
        self._moments = self._moments.joined(Moments(n, float(sums.mean()), float(sums.var()) * n))

    @property
    def factor(self) -> float:
        """Factor that makes rewards ones whose returns have a standard deviation of 1; 1 where all are alike."""
        moments = self._moments
        deviation = np.sqrt(moments.squares / moments.count) if moments.count else 0.0
        return min(float(1 / deviation), LARGEST) if deviation > ROUNDING * abs(moments.mean) else 1.0

    def for_update(self) -> float:
        """Return the factor for an update that is due."""
        return self.factor

    def state(self) -> dict[str, Any]:
        """Everything that `load_state` needs; episodes that are going on are not."""
        return asdict(self._moments)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave, with new episodes."""
        self._moments = Moments(float(state["count"]), state["mean"], state["squares"])
        self._sums.begin()
