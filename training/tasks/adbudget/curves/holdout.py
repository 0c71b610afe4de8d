"""How well a fit foretells days that it has not seen, beside a naive forecast."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polserve.training.tasks.adbudget.contexts import DAYS_A_WEEK
from polserve.training.tasks.adbudget.curves.best import find_best
from polserve.training.tasks.adbudget.curves.lift import LiftTest
from polserve.training.tasks.adbudget.curves.regression import SalesModel
from polserve.training.tasks.adbudget.curves.response import Floats
from polserve.training.tasks.adbudget.curves.shapes import steep_channels
from polserve.training.tasks.adbudget.history.history import History

PARTS_OF_HISTORY = 6
"""One of as many parts is held out, if it is no longer or shorter than the next two."""
LEAST_DAYS = 14
MOST_DAYS = 56
NAIVE_WEEKS = 4


@dataclass(frozen=True, slots=True)
class Holdout:
    """Errors on the last days of a history, in parts of what was sold on them."""

    days: int
    error: float
    """Of the fit to the days before: the sum of the absolute errors, to the sum of the sales; nan if that is 0."""
    naive_error: float
    """Of a forecast that each day sells what its weekday sold on the mean of the four weeks before."""
    forecast: Floats  # (days,)

    def statement(self) -> str:
        """Sentence on both errors."""
        if math.isnan(self.error):
            return f"nothing was sold on the last {self.days} days: no forecast can be held against them"
        direction = "less than" if self.error < self.naive_error else "NOT less than"
        return (
            f"held out, the last {self.days} days are foretold with an error of {self.error:.1%}, {direction} the "
            f"{self.naive_error:.1%} of a naive forecast (each weekday's mean of the {NAIVE_WEEKS} weeks before)"
        )


def validate(history: History, rng: np.random.Generator, lift_tests: Sequence[LiftTest] = ()) -> Holdout:
    """Fit to all but the last days, and forecast those by their spends and events."""
    days = int(np.clip(len(history.sales) // PARTS_OF_HISTORY, LEAST_DAYS, MOST_DAYS))
    model = SalesModel(history, lift_tests, days)
    is_steep = steep_channels(model, find_best(model, rng))
    best = find_best(model, rng, model.concave(~is_steep))
    forecast = best.prediction.values[: len(history.sales)][-days:] * model.mean_sales
    actual, before = history.sales[-days:], history.sales[-days - NAIVE_WEEKS * DAYS_A_WEEK : -days]
    week = before.reshape(NAIVE_WEEKS, DAYS_A_WEEK).mean(axis=0)
    naive = np.resize(week, days)
    sold = float(actual.sum())
    error, naive_error = (
        float(np.abs(each - actual).sum() / sold) if sold > 0 else math.nan for each in (forecast, naive)
    )
    return Holdout(days, error, naive_error, forecast)
