"""Which actions are tried: epsilon-greedy, for one step or for as long as a draw says."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.errors import require
from training.schedules import linear

LONGEST_REPEAT = 10_000
"""Steps; a draw from a heavy tail may say more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplorationConfig:
    """How often a random action is tried, and for how long; steps are environment steps."""

    epsilon_start: float = 1.0
    """Probability of a random action at step 0."""
    epsilon_end: float = 0.05
    """Probability of a random action from `epsilon_steps` on."""
    epsilon_steps: int = 10_000
    """Steps over which epsilon falls linearly."""
    repeat_exponent: float | None = None
    """A random action is repeated n times with probability in proportion to n to the power of minus this, which must
    be above 1 (Dabney et al. 2021, who take 2); None for once. It finds goals that single steps never reach."""

    def __post_init__(self) -> None:
        """Check the ranges; raises InvalidOption."""
        require(self.epsilon_steps >= 1, "epsilon_steps", "at least 1", self.epsilon_steps)
        for name in ("epsilon_start", "epsilon_end"):
            require(0 <= getattr(self, name) <= 1, name, "a number from 0 to 1", getattr(self, name))
        exponent = self.repeat_exponent
        require(exponent is None or exponent > 1, "repeat_exponent", "a number above 1", exponent)

    def epsilon(self, step: int) -> float:
        """The probability of a random action at environment step `step`."""
        return linear(step, self.epsilon_start, self.epsilon_end, self.epsilon_steps)


class Exploration:
    """Random actions among the greedy ones, for environments that are stepped together."""

    def __init__(self, config: ExplorationConfig, n_actions: int) -> None:
        self._config = config
        self._n_actions = n_actions
        self._left = np.zeros(0, np.int64)
        self._repeated = np.zeros(0, np.int64)

    def choose(self, greedy: NDArray[np.int64], step: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """The actions (n,) to take at environment step `step` where `greedy` (n,) are the best ones."""
        n, exponent = len(greedy), self._config.repeat_exponent
        is_random = rng.random(n) < self._config.epsilon(step)
        drawn = rng.integers(self._n_actions, size=n)
        if exponent is None:
            return np.where(is_random, drawn, greedy)
        if len(self._left) != n:
            self._left, self._repeated = np.zeros(n, np.int64), np.zeros(n, np.int64)
        begins = is_random & (self._left == 0)
        self._repeated[begins] = drawn[begins]
        self._left[begins] = np.minimum(rng.zipf(exponent, size=int(begins.sum())), LONGEST_REPEAT)
        is_repeating = self._left > 0
        self._left[is_repeating] -= 1
        return np.where(is_repeating, self._repeated, greedy)

    def figures(self, step: int) -> dict[str, float]:
        """Epsilon at `step`, by metric path."""
        return {"charts/epsilon": self._config.epsilon(step)}
