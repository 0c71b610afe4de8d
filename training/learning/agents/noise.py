"""Noise that explores continuous actions: independent from one step to the next, or for many steps alike."""

import numpy as np
import torch
from numpy.typing import NDArray


class CorrelatedNoise:
    """Standard normal noise whose neighbouring steps are alike, over all times up to a longest.

    It is a sum of processes that forget within 1, 2, 4, ... steps, in equal parts, and so falls with the frequency as
    pink noise does (Eberhard et al. 2023, who found it the best default: independent noise goes nowhere where inertia
    averages it out, and one slow process alone finds little in between).
    """

    def __init__(self, n_components: int, longest: int) -> None:
        """Have so many components for each environment; with `longest` 1 all steps are independent."""
        times = 2.0 ** np.arange(int(np.log2(longest)) + 1)
        self._kept = np.where(times > 1, np.exp(-1 / times), 0.0)
        self._added = np.sqrt(1 - self._kept**2)
        self._n_components = n_components
        self._parts: NDArray[np.float64] = np.zeros((0, n_components, len(times)))

    def draw(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Noise (n, k) of the next step of n environments; a first step draws as any later one would."""
        fresh = rng.standard_normal((n, *self._parts.shape[1:]))
        self._parts = self._kept * self._parts + self._added * fresh if len(self._parts) == n else fresh
        return np.asarray(self._parts.sum(axis=2) / np.sqrt(self._parts.shape[2]))

    def draw_uniform(self, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Numbers (n, k) between -1 and 1, each equally likely, as much alike from step to step as the noise."""
        if self._parts.shape[2] == 1:
            return rng.uniform(-1, 1, (n, self._n_components))
        return np.asarray(2 * torch.special.ndtr(torch.from_numpy(self.draw(n, rng))) - 1)
