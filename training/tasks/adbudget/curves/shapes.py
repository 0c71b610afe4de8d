"""Which channels' curves are steeper than any concave Hill curve, as far as a history tells."""

import numpy as np
from numpy.typing import NDArray

from polserve.training.tasks.adbudget.curves.best import Best
from polserve.training.tasks.adbudget.curves.minimising import Prediction
from polserve.training.tasks.adbudget.curves.regression import SalesModel

EVIDENCE = 14.0
"""Squared standard deviations by which concave curves must explain the history worse: three standard errors, of noise
that is widened by a quarter as that of the intervals is."""


def steep_channels(model: SalesModel, best: Best) -> NDArray[np.bool_]:
    """Tell which channels (channels,) cannot be concave, if the history is to be explained nearly as well as by `best`.

    A steep curve is S-shaped, or soon saturated, as logistic ones are. Plans for concave curves can be solved for, and
    those for steep ones are searched for. So channels are concave as long as that explains the history; where it does
    not, the one that helps most is let go, and so on.
    """
    least = _misfit(best.prediction, best)
    found = np.zeros(model.n, np.bool_)
    misfit = _concave_misfit(model, best, found)
    while misfit - least > EVIDENCE and not found.all():
        others = np.flatnonzero(~found)
        misfits = [_concave_misfit(model, best, found | (np.arange(model.n) == index)) for index in others]
        misfit = min(misfits)
        found[others[misfits.index(misfit)]] = True
    return found


def _concave_misfit(model: SalesModel, best: Best, is_steep: NDArray[np.bool_]) -> float:
    """Misfit of the best explanation in which all channels are concave but those that are steep."""
    prior = model.concave(~is_steep)
    concave, _ = model.fit(best.observed, np.clip(best.parameters, prior.low, prior.high), prior)
    return _misfit(concave, best)


def _misfit(prediction: Prediction, best: Best) -> float:
    """Sum of the squared residuals, in standard deviations of the noise."""
    residual = best.observed.whiten(prediction.values - best.observed.values)
    return float(residual @ residual)
