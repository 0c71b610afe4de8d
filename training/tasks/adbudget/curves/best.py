"""What explains a history best, and how much noise that leaves."""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from polserve.training.tasks.adbudget.curves.minimising import Observed, Prediction, Prior
from polserve.training.tasks.adbudget.curves.persistence import Noise, Persistence, find_persistence
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
    noise: Noise
    """The noise of the history's sales."""
    persistence: Persistence
    """What the noise keeps from day to day, as far as the history tells."""
    surprise: Floats
    """What each day (days,) sold beyond the fit, in standard deviations of an ordinary day."""
    observed: Observed
    """The history's sales and the lift tests, with that noise."""
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
    noise = Noise(np.full(len(sales), FIRST_NOISE), model.follows(np.ones(len(sales), np.bool_)))
    first = model.observed(sales, noise)
    best = min((model.fit(first, start, prior) for start in model.starts(prior, rng)), key=lambda fit: fit[1])[0]
    for _ in range(PASSES):
        expected = best.values[: len(sales)]
        level = np.maximum(expected, NOISE_FLOOR)
        relative = (sales - expected) / level
        ordinary = max(NORMAL * float(np.median(np.abs(relative[model.is_fitted]))), LEAST_NOISE)
        surprise = relative / ordinary
        doubt = np.maximum(np.abs(surprise) / SURPRISE, 1.0)
        follows = model.follows(doubt <= 1)
        noise, persistence = _find_noise(model, best, prior, replace(noise, deviation=level * doubt, follows=follows))
        best = model.fit(model.observed(sales, noise), best, prior)[0]
    observed = model.observed(sales, noise)
    return Best(best, noise, persistence, surprise, observed, prior, _rivals(model, observed, best, prior))


def _find_noise(model: SalesModel, best: Prediction, prior: Prior, noise: Noise) -> tuple[Noise, Persistence]:
    """Find the size and the persistence of the noise, the first to a `noise` of any size, by the residuals of a fit."""
    days = len(model.history.sales)
    residual = model.history.sales / model.mean_sales - best.values[:days]
    sized = _size(model, noise, residual)
    scaled = best.derivatives[:days] / sized.deviation[:, None]
    persistence = find_persistence(
        residual / sized.deviation, scaled, prior.deviation**-2, model.is_fitted, noise.follows
    )
    return _size(model, replace(noise, kept=persistence.mean), residual), persistence


def _size(model: SalesModel, noise: Noise, residual: Floats) -> Noise:
    """Scale the deviation of a noise to what is new in a residual (days,)."""
    new = noise.innovations(residual)[model.is_fitted]
    degrees = max(len(new) - len(model.prior.mean), len(new) // 2)
    return replace(noise, deviation=max(float(np.sqrt((new**2).sum() / degrees)), LEAST_NOISE) * noise.deviation)


def _rivals(model: SalesModel, observed: Observed, best: Prediction, prior: Prior) -> tuple[Prediction, ...]:
    """Look for other explanations, from the best one with the curves of two channels exchanged that move alike."""
    rivals = []
    for one, other in combinations(range(model.n), 2):
        if correlation(*model.history.spends[model.known][:, [one, other]].T) > ALIKE:
            columns = np.arange(4) * model.n
            exchanged = best.parameters.copy()
            exchanged[[columns + one, columns + other]] = exchanged[[columns + other, columns + one]]
            rivals.append(model.fit(observed, exchanged, prior)[0])
    return tuple(rivals)
