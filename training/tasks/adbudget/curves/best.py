"""What explains a history best, and how much noise that leaves."""

from dataclasses import dataclass

import numpy as np

from polserve.training.tasks.adbudget.curves.minimising import Prediction
from polserve.training.tasks.adbudget.curves.regression import SalesModel
from polserve.training.tasks.adbudget.curves.response import Floats

FIRST_NOISE = 0.1
"""Of the noise, in mean sales, before anything is known of it."""
NOISE_FLOOR = 0.1
"""Of mean sales: noise grows with the expected sales above it."""
LEAST_NOISE = 1e-3
"""Of the noise, in expected sales: no history is exact."""
PASSES = 2
SURPRISE = 4.0
"""Standard deviations of the noise, beyond which a day counts for less (Huber 1964)."""
NORMAL = 1.4826
"""Standard deviation of a normal variable, to the median of its size."""


@dataclass(frozen=True, slots=True)
class Best:
    """The parameters that explain a history best."""

    prediction: Prediction
    deviation: Floats
    """Standard deviation of each day's noise (days,), in mean sales."""
    surprise: Floats
    """What each day (days,) sold beyond the fit, in standard deviations of an ordinary day."""

    @property
    def parameters(self) -> Floats:
        """Parameters of the sales model."""
        return self.prediction.parameters


def find_best(model: SalesModel, rng: np.random.Generator) -> Best:
    """Find what explains the history best; days that nothing explains count for less."""
    sales = model.history.sales / model.mean_sales
    first = model.observed(sales, np.full(len(sales), FIRST_NOISE))
    best = min((model.fit(first, start, model.prior) for start in model.starts(rng)), key=lambda fit: fit[1])[0]
    deviation = surprise = np.ones(len(sales))
    for _ in range(PASSES):
        expected = best.values[: len(sales)]
        level = np.maximum(expected, NOISE_FLOOR)
        relative = (sales - expected) / level
        ordinary = max(NORMAL * float(np.median(np.abs(relative[model.is_fitted]))), LEAST_NOISE)
        surprise = relative / ordinary
        doubt = np.maximum(np.abs(surprise) / SURPRISE, 1.0)
        counted = (relative / doubt)[model.is_fitted]
        degrees = max(len(counted) - len(best.parameters), len(counted) // 2)
        deviation = max(float(np.sqrt((counted**2).sum() / degrees)), LEAST_NOISE) * level * doubt
        best = model.fit(model.observed(sales, deviation), best, model.prior)[0]
    return Best(best, deviation, surprise)
