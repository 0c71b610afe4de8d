"""The best plan there is, found without the environment and certified without trusting the solver.

With concave responses, linear adstock and one budget this is a convex program. The Frank-Wolfe gap of any plan bounds
what it falls short of the optimum (Frank and Wolfe 1956; Jaggi 2013): a bad solution cannot pass for a good one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polserve.training.tasks.adbudget.contexts import Context
from polserve.training.tasks.adbudget.curves.response import Floats
from polserve.training.tasks.adbudget.plans.interior import SMALLEST_MONEY, best_spends


@dataclass(frozen=True, slots=True)
class Plan:
    """Spends for every day, what they sell, and how much better any other plan could be."""

    spends: Floats  # (days, channels), money
    sales: float
    gap: float
    """Sales that the best plan may have more, at most."""

    @property
    def relative_gap(self) -> float:
        """The gap to the sales; 0 where there are none to be made."""
        return self.gap / self.sales if self.sales > 0 else 0.0


class Problem:
    """Sales of a plan, and their gradient, as functions of its spends (days, channels)."""

    def __init__(self, context: Context) -> None:
        self._response = context.response
        self._demand = context.day_demand
        days = np.arange(context.horizon_days)
        age = days[:, None] - days[None, :]
        retention = self._response.retention[:, None, None]
        # (channels, days, days): the share of a day's spend in the adstock of the same and later days.
        self._carry = np.where(age >= 0, (1 - retention) * retention ** np.maximum(age, 0), 0.0)
        self._initial = self._response.retention ** (days[:, None] + 1.0) * context.initial_adstock
        self.caps = np.broadcast_to(np.array(context.caps), self._initial.shape)
        self.budget = context.budget

    def sales(self, spends: Floats) -> float:
        """Sales over the horizon."""
        return float(self._demand @ self._response.sales(self._adstock(spends)).sum(axis=1))

    def gradient(self, spends: Floats) -> Floats:
        """Compute the derivative of the sales by each spend (days, channels)."""
        marginal = self._demand[:, None] * self._response.marginal_sales(self._adstock(spends))
        return np.asarray(np.einsum("cts,tc->sc", self._carry, marginal))

    def best_response(self, gradient: Floats) -> Floats:
        """Feasible plan (days, channels) that is best where sales are linear with this gradient: a knapsack."""
        order = np.argsort(-gradient, axis=None)
        caps = self.caps.ravel()[order]
        before = np.concatenate([[0.0], np.cumsum(caps)[:-1]])
        filled = np.clip(self.budget - before, 0.0, caps) * (gradient.ravel()[order] > 0)
        plan = np.empty(gradient.size)
        plan[order] = filled
        return np.asarray(plan.reshape(gradient.shape))

    def gap(self, spends: Floats) -> float:
        """No feasible plan sells more than `sales(spends)` plus this."""
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
    return [certified(*each) for each in zip(contexts, best_spends(contexts), strict=True)]


def certified(context: Context, spends: Floats) -> Plan:
    """Make of the spends a plan that keeps to the caps and the budget, with what it sells and its gap."""
    problem = Problem(context)
    spends = np.clip(spends, 0.0, problem.caps)
    spends *= min(1.0, problem.budget / max(spends.sum(), SMALLEST_MONEY))
    return Plan(spends, problem.sales(spends), problem.gap(spends))


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
    for demand in context.day_demand:
        for index in range(len(context.channels)):
            sales = demand * response.sales(np.repeat(levels[:, None], len(context.channels), axis=1))[:, index]
            sales[levels > context.caps[index]] = -np.inf
            value = np.array([np.max(value[: k + 1] + sales[k::-1]) for k in range(grid + 1)])
    return float(value[-1])
