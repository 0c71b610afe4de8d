"""The best plan there is, found without the environment and certified without trusting the solver.

With concave responses, linear adstock and one budget this is a convex program. The Frank-Wolfe gap of any plan bounds
what it falls short of the optimum (Frank and Wolfe 1956; Jaggi 2013): a bad solution cannot pass for a good one. With
S-shaped responses the gap is to the bound of `pricing`, which holds for every plan.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polserve.training.tasks.adbudget.contexts import Context
from polserve.training.tasks.adbudget.curves.response import Floats
from polserve.training.tasks.adbudget.plans.global_search import search
from polserve.training.tasks.adbudget.plans.interior import SMALLEST_MONEY, best_spends


@dataclass(frozen=True, slots=True)
class Plan:
    """Spends for every day, what they sell, and how much better any other plan could be."""

    spends: Floats  # (days, channels), money
    sales: float
    gap: float
    """Worth that the best plan may have more, at most."""
    worth: float
    """Sales, less what the target asks of the money that is spent; the sales where there is no target."""

    @property
    def relative_gap(self) -> float:
        """The gap to the worth; 0 where there is none to be made."""
        return self.gap / self.worth if self.worth > 0 else 0.0


class Problem:
    """Sales of one plan, and their gradient, as functions of its spends (days, channels).

    Computed otherwise than in `ascent.Slopes`, by matrices over all days in place of one day after the other, so that
    no fault there certifies itself; a test compares the two.
    """

    def __init__(self, context: Context) -> None:
        self._response = context.response
        self._demand = context.channel_demand
        days = np.arange(context.horizon_days)
        age = days[:, None] - days[None, :] - self._response.lag_days[:, None, None]
        retention = self._response.retention[:, None, None]
        # (channels, days, days): the share of a day's spend in the adstock of the same and later days.
        self._carry = np.where(age >= 0, (1 - retention) * retention ** np.maximum(age, 0), 0.0)
        self._initial = _carried(context)
        self._target = context.target_marginal
        self.caps = np.broadcast_to(np.array(context.caps), self._initial.shape)
        self.budget = context.budget

    def sales(self, spends: Floats) -> float:
        """Sales over the horizon."""
        return float((self._demand * self._response.sales(self._adstock(spends))).sum())

    def worth(self, spends: Floats) -> float:
        """Sales over the horizon, less what the target asks of the money."""
        return self.sales(spends) - self._target * float(spends.sum())

    def gradient(self, spends: Floats) -> Floats:
        """Compute the derivative of the worth by each spend (days, channels)."""
        marginal = self._demand * self._response.marginal_sales(self._adstock(spends))
        return np.asarray(np.einsum("cts,tc->sc", self._carry, marginal) - self._target)

    def best_response(self, gradient: Floats) -> Floats:
        """Feasible plan (days, channels) that is best where the worth is linear with this gradient: a knapsack."""
        order = np.argsort(-gradient, axis=None)
        caps = self.caps.ravel()[order]
        before = np.concatenate([[0.0], np.cumsum(caps)[:-1]])
        filled = np.clip(self.budget - before, 0.0, caps) * (gradient.ravel()[order] > 0)
        plan = np.empty(gradient.size)
        plan[order] = filled
        return np.asarray(plan.reshape(gradient.shape))

    def gap(self, spends: Floats) -> float:
        """Where curves are concave, no feasible plan is worth more than `worth(spends)` plus this."""
        gradient = self.gradient(spends)
        return float((gradient * (self.best_response(gradient) - spends)).sum())

    def _adstock(self, spends: Floats) -> Floats:
        return np.asarray(np.maximum(np.einsum("cts,sc->tc", self._carry, spends) + self._initial, 0.0))


def even_plan(problem: Problem) -> Floats:
    """Budget in equal parts over days and channels, as far as the caps allow."""
    return np.asarray(np.minimum(problem.budget / problem.caps.size, problem.caps))


def solve(context: Context) -> Plan:
    """Find the best plan of a context."""
    return solve_all([context])[0]


def solve_all(contexts: Sequence[Context]) -> list[Plan]:
    """Find the best plan of each context."""
    concave = [index for index, context in enumerate(contexts) if context.is_concave]
    bent = [index for index, context in enumerate(contexts) if not context.is_concave]
    found = dict(zip(concave, best_spends([contexts[index] for index in concave]), strict=True))
    plans = {index: certified(contexts[index], spends) for index, spends in found.items()}
    for index, (spends, bound) in zip(bent, search([contexts[index] for index in bent]), strict=True):
        plans[index] = certified(contexts[index], spends, bound)
    return [plans[index] for index in range(len(contexts))]


def certified(context: Context, spends: Floats, bound: float | None = None) -> Plan:
    """Make of the spends a plan that keeps to the caps and the budget, with what it sells and its gap.

    `bound` is that of `global_search.search`; without it, the curves must be concave.
    """
    problem = Problem(context)
    spends = np.clip(spends, 0.0, problem.caps)
    spends *= min(1.0, problem.budget / max(spends.sum(), SMALLEST_MONEY))
    worth = problem.worth(spends)
    gap = problem.gap(spends) if bound is None else max(bound + sold_before(context) - worth, 0.0)
    return Plan(spends, problem.sales(spends), gap, worth)


def sold_before(context: Context) -> float:
    """Sales on the days of the horizon on which no spend of it acts yet, for each channel's lag."""
    days, lag = np.arange(context.horizon_days), context.response.lag_days
    sold = context.channel_demand * context.response.sales(_carried(context))
    return float(sold[days[:, None] < lag].sum())


def _carried(context: Context) -> Floats:
    """Adstock (days, channels) that the past spends leave on the days of the horizon."""
    carried = np.zeros((context.horizon_days, len(context.channels)))
    days = np.arange(context.horizon_days)
    for index, (channel, spends) in enumerate(zip(context.channels, context.past_spends, strict=True)):
        age = days[:, None] + 1 + np.arange(len(spends)) - channel.lag_days
        kept = np.where(age >= 0, channel.retention ** np.maximum(age, 0), 0.0)
        carried[:, index] = (1 - channel.retention) * (kept @ np.array(spends))
    return carried


def solve_by_dynamic_programming(context: Context, grid: int = 400) -> float:
    """Sales of the best plan on a grid of budgets, for one channel or more whose spends have no carry-over.

    Raises:
        ValueError: a channel has retention above 0.
    """
    response = context.response
    if response.retention.any():
        raise ValueError(f"dynamic programming here needs channels of retention 0, got {response.retention}")
    levels = np.linspace(0.0, context.budget, grid + 1)
    value = np.zeros(grid + 1)  # best sales of the days and channels seen so far, by money spent at most
    for demand in context.day_demand:  # as long as nothing drifts
        for index in range(len(context.channels)):
            sales = demand * response.sales(np.repeat(levels[:, None], len(context.channels), axis=1))[:, index]
            sales[levels > context.caps[index]] = -np.inf
            value = np.array([np.max(value[: k + 1] + sales[k::-1]) for k in range(grid + 1)])
    return float(value[-1])
