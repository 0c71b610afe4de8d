"""Which actions are tried: epsilon-greedy, for one step or for as long as a draw says."""

import numpy as np
from numpy.typing import NDArray

from polserve.training.learning.hyperparameters import ExplorationConfig

LONGEST_REPEAT = 10_000
"""Steps; a draw from a heavy tail may say more."""


class Exploration:
    """Random actions among the greedy ones, for environments that are stepped together."""

    def __init__(self, config: ExplorationConfig, n_actions: int, start: int = 0) -> None:
        """Actions are `start` to `start + n_actions - 1`."""
        self._config = config
        self._n_actions = n_actions
        self._start = start
        self._left = np.zeros(0, np.int64)
        self._repeated = np.zeros(0, np.int64)

    def choose(self, greedy: NDArray[np.int64], step: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Actions (n,) to take at environment step `step` where `greedy` (n,) are the best ones."""
        n, exponent = len(greedy), self._config.repeat_exponent
        is_random = rng.random(n) < self._config.epsilon(step)
        drawn = rng.integers(self._n_actions, size=n) + self._start
        if exponent is None:
            return np.where(is_random, drawn, greedy)
        if len(self._left) != n:
            self._left, self._repeated = np.zeros(n, np.int64), np.zeros(n, np.int64)
        begins = np.flatnonzero(is_random & (self._left == 0))
        self._repeated[begins] = drawn[begins]
        lengths = np.minimum(rng.zipf(exponent, size=len(begins)), LONGEST_REPEAT)
        self._left[begins] = np.where(begins < n * self._config.repeat_share, lengths, 1)
        is_repeating = self._left > 0
        self._left[is_repeating] -= 1
        return np.where(is_repeating, self._repeated, greedy)

    def figures(self, step: int) -> dict[str, float]:
        """Epsilon at `step`, by metric path."""
        return {"charts/epsilon": self._config.epsilon(step)}
