"""Which channels' curves are steeper than any concave Hill curve, as far as a history tells."""

import numpy as np
from numpy.typing import NDArray

from polserve.training.tasks.adbudget.curves.best import Best
from polserve.training.tasks.adbudget.curves.minimising import Prediction
from polserve.training.tasks.adbudget.curves.regression import SalesModel

EVIDENCE = 9.0
"""Squared standard deviations by which a concave curve must explain the history worse: three standard errors."""


def steep_channels(model: SalesModel, best: Best) -> NDArray[np.bool_]:
    """Tell, for each channel, whether no concave Hill curve explains the history nearly as well as the best one.

    Such a curve is S-shaped, or soon saturated, as logistic ones are. Plans for concave curves can be solved for; those
    for steeper ones are searched for, and may leave channels out. So none is taken that the history does not ask for.
    """
    slopes = model.curves(best.parameters).slope
    found = np.zeros(model.n, np.bool_)
    for index in np.flatnonzero(slopes > 1):
        prior = model.concave(np.arange(model.n) == index)
        concave, _ = model.fit(best.observed, np.clip(best.parameters, prior.low, prior.high), prior)
        found[index] = _misfit(concave, best) - _misfit(best.prediction, best) > EVIDENCE
    return found


def _misfit(prediction: Prediction, best: Best) -> float:
    """Sum of the squared residuals, in standard deviations of the noise."""
    residual = (prediction.values - best.observed.values) * best.observed.weights
    return float(residual @ residual)
