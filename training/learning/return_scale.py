"""The constant factor that rewards are learned from times, where plain ones are too small or too large."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from polserve.training.learning.return_spread import DiscountedSums
from polserve.training.learning.transitions import VectorStep

SMALL, LARGE, LARGE_FOR_PQN = 0.1, 2_000.0, 500.0
"""Sizes of the largest discounted return between which rewards are learned from as they are.

In CartPole with rewards times a number, PQN learns well at 0.5 and 50, hardly at 0.05 and 500, not at all at 1,500: its
gradients are bounded, and its loss is not. DQN learns well at 1,500 and slowly at 5,000. FrozenLake has 1, LunarLander
up to 430 by DQN's exploration and 150 by PQN's, Taxi 470 and 280.
"""
AIM = 100.0
"""The factor is the greatest power of ten that keeps the largest discounted return within this."""
HIGHEST_EXPONENT = 30
"""The factor stays within float32, however small returns are."""


class ReturnScale:
    """A factor that is decided once, when the first update is due, from the largest discounted return until then.

    It is exactly 1 where returns are of a usual size. The largest one decides, and not their standard deviation, since
    that shrinks with how seldom a reward is paid: FrozenLake's reward of 1 has one of 0.04 at first. As long as all
    rewards were 0 it is 1 too, and is decided with the first update after one that was not.
    """

    def __init__(self, n_envs: int, discount: float, large: float = LARGE) -> None:
        """`large` is the largest size of returns that the agent learns well."""
        self._large = large
        self._sums = DiscountedSums(n_envs, discount)
        self._largest = 0.0
        self._decided: float | None = None

    def add(self, step: VectorStep) -> None:
        """Take in one step of every environment."""
        if self._decided is None:
            self._largest = max(self._largest, float(np.abs(self._sums.add(step)).max(initial=0.0)))

    def for_update(self) -> float:
        """Return the factor for an update that is due, and decide it if that can be told for the first time."""
        if self._decided is None and self._largest:
            self._decided = factor_for(self._largest, self._large)
        return self.factor

    @property
    def factor(self) -> float:
        """Factor that was decided; 1 before."""
        return 1.0 if self._decided is None else self._decided

    def keep(self, factor: float) -> None:
        """Stay with a factor that weights were learned with, whatever comes."""
        self._decided = factor

    def state(self) -> dict[str, Any]:
        """Everything that `load_state` needs; episodes that are going on are not."""
        return {"factor": self._decided, "largest": self._largest}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave, with new episodes."""
        self._decided, self._largest = state["factor"], state["largest"]
        self._sums.begin()


def factor_for(largest: float, large: float = LARGE) -> float:
    """Power of ten that brings the largest return to a size that is learned well; 1 where it is of a usual one."""
    if SMALL <= largest <= large:
        return 1.0
    return 10.0 ** min(HIGHEST_EXPONENT, math.floor(math.log10(AIM / largest)))
