"""Between which values targets may lie, by the rewards that were learned from."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

ALLOWED = 2.0
"""Bounds as a multiple of the extreme returns. At 1 they would level the values of states that return nearly the most
there is, as a pole that is held: one of ten seeds of the CartPole preset then did not end at 500 within 200,000 steps,
and takes 64,000 now."""


class ReturnBounds:
    """Twice the least and the greatest return that rewards so far allow: as if the extreme ones were paid for ever.

    Bootstrapped targets beyond them are errors of the network, which would otherwise feed on themselves until values
    diverge (van Hasselt et al. 2018). An episode may end at any time, so that 0 is always within them.
    """

    def __init__(self, discount: float, n_step: int) -> None:
        """`discount` of a step, and the steps whose rewards are summed; without a discount there are no bounds."""
        left = 1 - discount**n_step
        self._times = ALLOWED / left if left > 0 else math.inf
        self._low = self._high = 0.0

    def keep(self, target: Tensor, reward_t: NDArray[np.float32]) -> Tensor:
        """Take in discounted sums of rewards (n,), and keep targets of any shape within the bounds."""
        self._low = min(self._low, float(reward_t.min()))
        self._high = max(self._high, float(reward_t.max()))
        if math.isinf(self._times):
            return target
        return target.clamp(self._low * self._times, self._high * self._times)

    def lift(self) -> None:
        """Have no bounds from now on: weights from elsewhere may know of rewards that were not met here."""
        self._low, self._high = -math.inf, math.inf

    def state(self) -> dict[str, float]:
        """Everything that `load_state` needs."""
        return {"low": self._low, "high": self._high}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Go on from what `state` gave."""
        self._low, self._high = state["low"], state["high"]
