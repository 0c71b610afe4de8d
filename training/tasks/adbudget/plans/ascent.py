"""Plans made better by small steps, many side by side: accelerated projected gradients (Beck and Teboulle 2009)."""

from collections.abc import Sequence
from copy import copy

import numpy as np
from numpy.typing import NDArray

from polserve.training.tasks.adbudget.contexts import Context
from polserve.training.tasks.adbudget.curves.response import Floats, Response
from polserve.training.tasks.adbudget.plans.interior import SMALLEST_MONEY

STEPS = 400
ENOUGH = 4e-8
"""Share of the worth that `PATIENCE` steps must gain, or no more are taken."""
PATIENCE = 20
BISECTIONS = 50
ROUNDING = 1e-12
"""Share of a budget by which a plan may exceed it."""


class Slopes:
    """Worth of plans (n, days, channels), and its gradient: sales less what the targets ask of the money.

    For many plans at once and one day after the other, in time that grows with the days and not with their square.
    """

    def __init__(self, contexts: Sequence[Context]) -> None:
        """Contexts of one horizon and one number of channels."""
        self._response = Response.of_each([context.channels for context in contexts])
        self._kept = self._response.retention[:, 0]
        self._demand = np.array([context.spend_demand for context in contexts])
        self._initial = np.array([context.initial_adstock for context in contexts])
        self._target = np.array([context.target_marginal for context in contexts])
        self.budget = np.array([context.budget for context in contexts])
        caps = np.array([context.caps for context in contexts])
        is_earning = np.array([context.is_earning for context in contexts])
        self.caps = np.where(is_earning, np.minimum(caps, self.budget[:, None])[:, None], 0.0)

    def worth(self, spends: Floats) -> Floats:
        """Worth (n,) of each plan, but for what was earned before its first spend acts."""
        sold = (self._demand * self._response.sales(self._adstock(spends))).sum(axis=(1, 2))
        return np.asarray(sold - self._target * spends.sum(axis=(1, 2)))

    def gradient(self, spends: Floats) -> Floats:
        """Compute the derivative of the worth by each spend."""
        marginal = self._demand * self._response.marginal_sales(self._adstock(spends))
        gradient, later = np.empty_like(spends), np.zeros_like(spends[:, 0])
        for day in reversed(range(spends.shape[1])):
            later = marginal[:, day] + self._kept * later
            gradient[:, day] = (1 - self._kept) * later
        return np.asarray(gradient - self._target[:, None, None])

    def project(self, wanted: Floats) -> Floats:
        """Nearest plans that keep to the caps and the budgets."""
        spends = np.minimum(np.maximum(wanted, 0.0), self.caps)
        (over,) = np.nonzero(spends.sum(axis=(1, 2)) > self.budget)
        if over.size:
            spends[over] = _lowered(wanted[over], self.caps[over], self.budget[over])
        return np.asarray(spends)

    def of(self, rows: NDArray[np.intp]) -> "Slopes":
        """Choose some of the plans."""
        some = copy(self)
        some._response = self._response.of(rows)  # noqa: SLF001 - its own
        for name in ("_kept", "_demand", "_initial", "_target", "budget", "caps"):
            setattr(some, name, getattr(self, name)[rows])
        return some

    def _adstock(self, spends: Floats) -> Floats:
        adstock, carried = np.empty_like(spends), self._initial
        for day in range(spends.shape[1]):
            carried = self._kept * carried + (1 - self._kept) * spends[:, day]
            adstock[:, day] = carried
        return adstock


def _lowered(wanted: Floats, caps: Floats, budget: Floats) -> Floats:
    """Take one amount off what each plan wants, within 0 and the caps, so that the sum is the budget.

    By Newton's method, which ends exactly where no more spends reach a bound, within what is too little and too much.
    """
    low, high = np.zeros(len(wanted)), wanted.max(axis=(1, 2))
    shift, lowered = low, np.empty_like(wanted)
    rows = np.arange(len(wanted))  # of those that are not done
    for _ in range(BISECTIONS):
        left = wanted - shift[:, None, None]
        lowered[rows] = spends = np.minimum(np.maximum(left, 0.0), caps)
        excess = spends.sum(axis=(1, 2)) - budget
        (open_,) = np.nonzero(np.abs(excess) > ROUNDING * budget)
        if not open_.size:
            break
        low, high = np.where(excess > 0, shift, low), np.where(excess > 0, high, shift)
        between = (spends == left).sum(axis=(1, 2))
        following = shift + excess / np.maximum(between, 1)
        is_inside = (following > low) & (following < high) & (between > 0)
        shift = np.where(is_inside, following, (low + high) / 2)
        rows, wanted, caps, budget = rows[open_], wanted[open_], caps[open_], budget[open_]
        low, high, shift = low[open_], high[open_], shift[open_]
    return lowered


def climb(slopes: Slopes, spends: Floats) -> Floats:
    """Make plans (n, days, channels) better until small steps gain nothing; none gets worse.

    Each climbs as it would alone: it has its own step and momentum, and is left out of the arrays once it is done.
    """
    plans = slopes.project(spends)
    rows = np.arange(len(plans))  # of those that still climb
    best = current = ahead = plans
    worth = last = slopes.worth(best)
    momentum = np.ones(len(plans))
    step = 0.05 * slopes.budget / np.maximum(np.abs(slopes.gradient(best)).sum(axis=(1, 2)), SMALLEST_MONEY)
    for count in range(1, STEPS + 1):
        tried = slopes.project(ahead + step[:, None, None] * slopes.gradient(ahead))
        value = slopes.worth(tried)
        is_better = value > worth
        step = np.where(is_better, 1.1 * step, 0.5 * step)
        chosen = is_better[:, None, None]
        best = np.where(chosen, tried, best)
        worth = np.where(is_better, value, worth)
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = np.where(chosen, best + ((momentum - 1) / following)[:, None, None] * (best - current), best)
        current, momentum = best, np.where(is_better, following, 1.0)
        if count % PATIENCE == 0:
            plans[rows] = best
            (going,) = np.nonzero(worth - last > ENOUGH * np.abs(worth))
            if not going.size:
                break
            rows, slopes = rows[going], slopes.of(going)
            best, ahead, current = best[going], ahead[going], current[going]
            worth, momentum, step = worth[going], momentum[going], step[going]
            last = worth
    plans[rows] = best
    return plans
