"""A return on ad spend to keep to, as the least marginal return that is worth spending: one price for all channels.

Sales less a price of the money, at their best, are the most sales for what is spent. The higher the price, the less the
best plans spend and the more each unit of money returns on average, also where curves are S-shaped: nothing spent is
worth 0, so that what is spent returns its price at least. So the price at which the plans of ample budgets return just
the target says how far to go; smaller budgets stay above it where curves are concave.
"""

from dataclasses import dataclass, replace
from decimal import ROUND_FLOOR, Decimal

import numpy as np

from polserve.training.errors import InvalidOption
from polserve.training.tasks.adbudget.accounts import Account
from polserve.training.tasks.adbudget.contexts import Context
from polserve.training.tasks.adbudget.curves.response import Floats
from polserve.training.tasks.adbudget.plans.ascent import Slopes, climb
from polserve.training.tasks.adbudget.plans.interior import best_spends
from polserve.training.tasks.adbudget.plans.optimum import Problem
from polserve.training.tasks.adbudget.plans.pricing import Pricing

CONTEXTS = 16
BISECTIONS = 24
LEAST_SPENT = 0.01
"""Share of the greatest budgets that must be spent under a target: with less, a policy has nothing to learn."""
DIGITS = 3
"""Significant ones, of the greatest target that a refusal names."""


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
    plans = np.stack(best_spends(contexts)) if contexts[0].is_concave else _s_shaped_plans(contexts)
    total = Returned(0.0, 0.0)
    for context, spends in zip(contexts, plans, strict=True):
        problem = Problem(context)
        gained = problem.sales(spends) - problem.sales(np.zeros_like(spends))
        total = Returned(total.spent + float(spends.sum()), total.returned + gained)
    return total


def _s_shaped_plans(contexts: list[Context]) -> Floats:
    """Plans (n, days, channels) of ample budgets: what the target prices each channel at, climbed from.

    Budgets that never bind leave each channel to itself. One that is not worth its money is left out: the steps between
    the cells of the adstock may cost more than they bring, and a climb does not cross the foot of an S.
    """
    slopes = Slopes(contexts)
    plans = climb(slopes, Pricing(contexts).at(np.zeros(len(contexts))).spends.swapaxes(1, 2))
    for channel in range(plans.shape[2]):
        without = plans.copy()
        without[:, :, channel] = 0.0
        is_worthless = slopes.worth(without) >= slopes.worth(plans)
        plans = np.where(is_worthless[:, None, None], without, plans)
    return plans


class AmplePlans:
    """What the best plans of an account's ample budgets return, by the marginal return that is asked of them."""

    def __init__(self, account: Account) -> None:
        self._contexts = ample_contexts(account)
        self._least = LEAST_SPENT * account.daily_budget[1] * account.horizon_days * len(self._contexts)
        sales = sum(float((context.channel_demand @ context.response.sales_max).sum()) for context in self._contexts)
        self.most = sales / self._least
        """No plan that spends enough returns as much for each unit of money."""

    @property
    def have_room(self) -> bool:
        """Whether the caps allow as much as a policy must spend."""
        return sum(context.budget for context in self._contexts) >= self._least

    def at(self, marginal: float) -> Returned:
        """Add up what the plans return that spend as long as a unit of money returns `marginal`."""
        return returned([replace(context, target_marginal=marginal) for context in self._contexts])

    def is_enough(self, plans: Returned) -> bool:
        """Whether the plans spend as much as a policy must."""
        return plans.spent >= self._least

    def least_for(self, roas: float) -> float:
        """Least marginal return at which the plans return `roas` for each unit of money, or spend too little."""
        low, high = 0.0, min(roas, self.most)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            plans = self.at(middle)
            is_high = plans.on_spend >= roas or not self.is_enough(plans)
            low, high = (low, middle) if is_high else (middle, high)
        return high

    def greatest(self, above: float) -> float:
        """Greatest marginal return at which the plans spend enough, where at `above` they do not."""
        low, high = 0.0, min(above, self.most)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.is_enough(self.at(middle)) else (low, middle)
        return low


def marginal_for_roas(account: Account, roas: float) -> float:
    """Least marginal return at which the account's best plans return `roas`, above 0, for each unit of money.

    Raises:
        InvalidOption: the curves return less, or as much for next to no money alone, or the caps allow no more.
    """
    plans = AmplePlans(account)
    freely = plans.at(0.0)
    _require_room(plans, freely, "target_roas", account)
    if freely.on_spend >= roas:
        return 0.0
    marginal = plans.least_for(roas)
    reached = plans.at(marginal)
    if reached.on_spend < roas or not plans.is_enough(reached):
        most = plans.at(plans.greatest(marginal)).on_spend
        raise _refusal("target_roas", most, roas, account, "a unit of money returns on average")
    return marginal


def require_spending(account: Account, marginal: float) -> None:
    """Return if the best plans of ample budgets spend enough where a unit of money must return `marginal`.

    Raises:
        InvalidOption: they spend next to nothing, or the caps allow no more.
    """
    plans = AmplePlans(account)
    _require_room(plans, plans.at(0.0), "target_marginal", account)
    if marginal >= plans.most or not plans.is_enough(plans.at(marginal)):
        raise _refusal("target_marginal", plans.greatest(marginal), marginal, account, "the last unit of money returns")


def _require_room(plans: AmplePlans, freely: Returned, option: str, account: Account) -> None:
    """Raise InvalidOption where plans spend too little whatever is asked of them: those that spend `freely`."""
    if plans.is_enough(freely):
        return
    share = f"{100 * LEAST_SPENT:g} % of the greatest budgets"
    if not plans.have_room:
        raise InvalidOption(
            f"{option}: expected caps that let plans spend {share}, got cap_factor={account.cap_factor:g} for "
            f"{len(account.channels)} channels; give a greater cap_factor"
        )
    raise InvalidOption(
        f"{option}: expected curves whose best plans spend {share}, got ones by which spending is worth nothing; "
        "check the units of spends and returns"
    )


def _refusal(option: str, most: float, got: float, account: Account, what: str) -> InvalidOption:
    return InvalidOption(
        f"{option}: expected at most {rounded_down(most):g}, got {got:g}: within {account.horizon_days} days, {what} "
        f"no more in plans that spend {100 * LEAST_SPENT:g} % of the greatest budgets; lower the target, or check the "
        "units of spends and returns"
    )


def rounded_down(number: float) -> float:
    """Round a number to `DIGITS` significant digits, never up."""
    if number <= 0:
        return 0.0
    exact = Decimal(repr(float(number)))  # floats divided by a unit may come out below a whole number
    return float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - DIGITS + 1), ROUND_FLOOR))
