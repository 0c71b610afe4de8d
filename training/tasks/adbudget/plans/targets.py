"""A return on ad spend to keep to, as the least marginal return that is worth spending: one price for all channels.

Sales less a price of the money, at their best, are the most sales for what is spent. The higher the price, the less is
spent and the more each unit of money returns on average. So the price at which the plans of ample budgets return just
the target says how far to go; smaller budgets stay above it where curves are concave.
"""

from dataclasses import dataclass, replace

import numpy as np

from polserve.training.errors import InvalidOption, require
from polserve.training.tasks.adbudget.accounts import Account
from polserve.training.tasks.adbudget.contexts import Context
from polserve.training.tasks.adbudget.plans.interior import best_spends
from polserve.training.tasks.adbudget.plans.optimum import Problem
from polserve.training.tasks.adbudget.plans.pricing import Pricing

CONTEXTS = 16
BISECTIONS = 20
COARSE_CELLS = 250
"""Cells of the adstock of S-shaped curves: no bound is asked for here."""


@dataclass(frozen=True, slots=True)
class Returned:
    """What plans returned for what they spent, over several contexts together."""

    spent: float
    returned: float
    """Sales beyond those that come without any spend."""

    @property
    def on_spend(self) -> float:
        """Return on ad spend; infinite where nothing was spent."""
        return self.returned / self.spent if self.spent > 0 else float("inf")


def ample_contexts(account: Account) -> list[Context]:
    """Contexts of an account's own curves whose caps alone limit the spends."""
    known = replace(account, ensemble=(), drift=0.0, daily_budget=(account.daily_budget[1],) * 2)
    contexts = known.draw_many(np.random.default_rng(0), CONTEXTS)
    return [replace(context, budget=sum(context.caps) * context.horizon_days) for context in contexts]


def returned(contexts: list[Context]) -> Returned:
    """Add up what the best plans of the contexts return, each for its own target; their budgets are ample."""
    if contexts[0].is_concave:
        plans = np.stack(best_spends(contexts))
    else:  # budgets that never bind leave each channel to itself, which the target prices as money's price would
        plans = Pricing(contexts, COARSE_CELLS).at(np.zeros(len(contexts))).spends.swapaxes(1, 2)
    total = Returned(0.0, 0.0)
    for context, spends in zip(contexts, plans, strict=True):
        problem = Problem(context)
        gained = problem.sales(spends) - problem.sales(np.zeros_like(spends))
        total = Returned(total.spent + float(spends.sum()), total.returned + gained)
    return total


def marginal_for_roas(account: Account, roas: float) -> float:
    """Least marginal return at which the account's best plans return `roas` for each unit of money.

    Raises:
        InvalidOption: it is no positive number, or more than the curves can return.
    """
    require(0 < roas < float("inf"), "target_roas", "a number above 0", roas)
    contexts = ample_contexts(account)

    def at(marginal: float) -> Returned:
        return returned([replace(context, target_marginal=marginal) for context in contexts])

    dearest = at(roas)
    if dearest.spent <= 1e-6 * sum(context.budget for context in contexts):
        raise InvalidOption(
            f"target_roas: expected what these curves can return within {account.horizon_days} days, got {roas:g}: not "
            "even the first unit of money returns as much; lower the target, or check the units of spends and returns"
        )
    if at(0.0).on_spend >= roas:
        return 0.0
    low, high = 0.0, roas
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if at(middle).on_spend >= roas else (middle, high)
    return high
