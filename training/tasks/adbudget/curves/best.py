"""What explains a history best, and how much noise that leaves."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from polserve.training.tasks.adbudget.curves.minimising import Observed, Prediction, Prior
from polserve.training.tasks.adbudget.curves.regression import SalesModel
from polserve.training.tasks.adbudget.curves.response import Floats
from polserve.training.tasks.adbudget.curves.signs import correlation

FIRST_NOISE = 0.1
"""Of the noise, in mean sales, before anything is known of it."""
NOISE_FLOOR = 0.1
"""Of mean sales: noise grows with the expected sales above it."""
LEAST_NOISE = 1e-3
"""Of the noise, in expected sales: no history is exact."""
PASSES = 2
SURPRISE = 4.0
"""Standard deviations of the noise, beyond which a day counts for less (Huber 1964)."""
ALIKE = 0.8
"""Correlation of two channels' spends, above which each may have the effect of the other."""
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
    observed: Observed
    """The history's sales and the lift tests, with weights by that noise."""
    prior: Prior
    rivals: tuple[Prediction, ...] = ()
    """Other explanations that are nearly as good: where spends move alike, the curves of two channels exchanged."""

    @property
    def parameters(self) -> Floats:
        """Parameters of the sales model."""
        return self.prediction.parameters


def find_best(model: SalesModel, rng: np.random.Generator, prior: Prior | None = None) -> Best:
    """Find what explains the history best by a prior; days that nothing explains count for less."""
    prior = prior or model.prior
    sales = model.history.sales / model.mean_sales
    first = model.observed(sales, np.full(len(sales), FIRST_NOISE))
    best = min((model.fit(first, start, prior) for start in model.starts(prior, rng)), key=lambda fit: fit[1])[0]
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
        best = model.fit(model.observed(sales, deviation), best, prior)[0]
    observed = model.observed(sales, deviation)
    return Best(best, deviation, surprise, observed, prior, _rivals(model, observed, best, prior))


def _rivals(model: SalesModel, observed: Observed, best: Prediction, prior: Prior) -> tuple[Prediction, ...]:
    """Look for other explanations, from the best one with the curves of two channels exchanged that move alike."""
    rivals = []
    for one, other in combinations(range(model.n), 2):
        if correlation(*model.history.spends[:, [one, other]].T) > ALIKE:
            columns = np.arange(4) * model.n
            exchanged = best.parameters.copy()
            exchanged[[columns + one, columns + other]] = exchanged[[columns + other, columns + one]]
            rivals.append(model.fit(observed, exchanged, prior)[0])
    return tuple(rivals)
