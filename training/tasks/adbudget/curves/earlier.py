"""What a history said of the curves before its last days, to see what those changed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

import numpy as np

from polserve.training.tasks.adbudget.curves.bands import bands
from polserve.training.tasks.adbudget.curves.best import find_best
from polserve.training.tasks.adbudget.curves.fit import Fit, at_level, find_planned, fit_again
from polserve.training.tasks.adbudget.curves.lift import LiftTest
from polserve.training.tasks.adbudget.curves.regression import TODAY_DAYS, SalesModel

MEMBERS = 40
"""Fits to other noise that the earlier intervals are made of."""
LEAST_DAYS = 60
"""Days before the last ones; fewer tell nothing that could have changed."""


def has_earlier(days: int) -> bool:
    """Whether a history of as many days has enough of them before its last ones."""
    return days - TODAY_DAYS >= LEAST_DAYS


def with_earlier(
    fit: Fit,
    lift_tests: Sequence[LiftTest],
    rng: np.random.Generator,
    report: Callable[[int], None],
    members: int = MEMBERS,
) -> Fit:
    """Fit the history without its last days; the fit with what those fits say of the channels at today's level.

    Trend and season go on as the days before have them. What those fits say owes nothing to the last days' sales and
    spends. `report` counts the fits, of which there are `members`.
    """
    model = SalesModel(fit.history, lift_tests, TODAY_DAYS)
    counter = count(1)
    of_any_slope = find_best(model, rng)
    draws = fit_again(model, of_any_slope, members, rng, lambda: report(next(counter)))
    best, _ = find_planned(model, of_any_slope, bands(model, draws), members, rng)
    earlier = [at_level(model.channels(found), model.level_today(found)) for found in (best.parameters, *draws)]
    return replace(fit, earlier_today=tuple(earlier))
