"""Plans made better by small steps, many side by side: accelerated projected gradients (Beck and Teboulle 2009)."""

from collections.abc import Sequence

import numpy as np

from polserve.training.tasks.adbudget.contexts import Context
from polserve.training.tasks.adbudget.curves.response import Floats, Response
from polserve.training.tasks.adbudget.plans.interior import SMALLEST_MONEY

STEPS = 400
ENOUGH = 1e-7
"""Share of the worth that `PATIENCE` steps must gain, or no more are taken."""
PATIENCE = 50
BISECTIONS = 26


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
        self.caps = np.broadcast_to(np.minimum(caps, self.budget[:, None])[:, None], self._demand.shape)

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
        low = np.zeros(len(wanted))
        high = np.maximum(wanted.max(axis=(1, 2)), 0.0)
        is_fine = np.clip(wanted, 0, self.caps).sum(axis=(1, 2)) <= self.budget
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            is_enough = np.clip(wanted - middle[:, None, None], 0, self.caps).sum(axis=(1, 2)) <= self.budget
            low, high = np.where(is_enough, low, middle), np.where(is_enough, middle, high)
        shift = np.where(is_fine, 0.0, high)
        return np.clip(wanted - shift[:, None, None], 0, self.caps)

    def _adstock(self, spends: Floats) -> Floats:
        adstock, carried = np.empty_like(spends), self._initial
        for day in range(spends.shape[1]):
            carried = self._kept * carried + (1 - self._kept) * spends[:, day]
            adstock[:, day] = carried
        return adstock


def climb(slopes: Slopes, spends: Floats) -> Floats:
    """Make plans (n, days, channels) better until small steps gain nothing; none gets worse."""
    best = current = slopes.project(spends)
    worth = last = slopes.worth(best)
    ahead, momentum = best, 1.0
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
        ahead = np.where(chosen, best + (momentum - 1) / following * (best - current), best)
        current, momentum = best, following if is_better.all() else 1.0
        if count % PATIENCE == 0:
            if (worth - last <= ENOUGH * np.abs(worth)).all():
                break
            last = worth
    return best
