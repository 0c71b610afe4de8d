"""Whether rewards have told one behaviour from another, which is when there is something to learn."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from polserve.training.learning.transitions import VectorStep


class RewardSignal:
    """Counts the steps before two rewards differed, or an episode ended by itself where each step is rewarded.

    Until then, as in MountainCar before its goal was reached once, all that was tried is worth the same: whoever stops
    exploring then may never find more.
    """

    def __init__(self) -> None:
        self._low, self._high = np.inf, -np.inf
        self._has_ended = False
        self.waited = 0
        """Environment steps without a signal, until the first one."""

    @property
    def is_found(self) -> bool:
        """Whether there was one."""
        return self._low < self._high or (self._has_ended and self._high != 0)

    def add(self, step: VectorStep) -> None:
        """Take in one step of every environment."""
        if self.is_found or not step.is_real.any():
            return
        rewards = step.reward_t[step.is_real]
        self._low = min(self._low, float(rewards.min()))
        self._high = max(self._high, float(rewards.max()))
        self._has_ended |= bool((step.is_terminated & step.is_real).any())
        if not self.is_found:
            self.waited += len(rewards)

    def state(self) -> dict[str, Any]:
        """Everything that `load_state` needs."""
        return {"low": self._low, "high": self._high, "has_ended": self._has_ended, "waited": self.waited}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._low, self._high, self._has_ended = state["low"], state["high"], state["has_ended"]
        self.waited = state["waited"]
