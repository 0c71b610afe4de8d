"""Budgets being spent, several side by side: what is left, what carries over, what was sold. In numpy, with no loop."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polserve.protos.shared.names import BUDGET_COMPONENTS, spent_component
from polserve.training.errors import require
from polserve.training.tasks.adbudget.contexts import DAYS_A_WEEK, HISTORY_DAYS, Context
from polserve.training.tasks.adbudget.curves.response import Channel, Floats, Response


def component_names(channels: Sequence[str], history_days: int = HISTORY_DAYS) -> list[str]:
    """Names of the observation's components: those of `BUDGET_COMPONENTS`, then each channel's recent spends."""
    return [
        *BUDGET_COMPONENTS,
        *(spent_component(channel, ago) for channel in channels for ago in range(1, history_days + 1)),
    ]


def affordable(wanted: Floats, remaining: Floats) -> Floats:
    """Spends (n, channels) of at least 0, scaled down where their sum would exceed what is `remaining` (n,)."""
    wanted = np.maximum(wanted, 0.0)
    total = wanted.sum(axis=-1)
    scale = np.divide(remaining, total, out=np.ones_like(total), where=total > remaining)
    return np.asarray(wanted * scale[..., None])


class Campaigns:
    """n budgets over channels of the same names; each has a day, and may have curves, of its own."""

    def __init__(self, channels: Sequence[Channel], n: int, max_horizon_days: int) -> None:
        """Nothing is to be spent until `begin`."""
        self.response = Response.repeated(channels, n)
        self.max_horizon_days = max_horizon_days
        self.day = np.zeros(n, np.int64)
        self.horizon_days = np.ones(n, np.int64)
        self.first_weekday = np.zeros(n, np.int64)
        self.week = np.ones((n, DAYS_A_WEEK))  # demand by weekday
        self.budget = np.zeros(n)
        self.remaining = np.zeros(n)
        self.demand = np.ones((n, max_horizon_days))
        self.caps = np.zeros((n, len(channels)))
        self.drift = np.ones((n, max_horizon_days, len(channels)))
        self.adstock = np.zeros((n, len(channels)))
        """Of all spends, whether or not they act yet."""
        self.acting_adstock = np.zeros((n, len(channels)))
        """Of the spends that act: those of the lag's days are left out."""
        self.target_marginal = np.zeros(n)
        self.spent = np.zeros((n, len(channels), HISTORY_DAYS))  # newest day first

    @classmethod
    def of(cls, contexts: Sequence[Context]) -> "Campaigns":
        """One campaign for each context; all have the same channels."""
        first = contexts[0]
        longest = max(context.horizon_days for context in contexts)
        campaigns = cls(first.channels, len(contexts), longest)
        for index, context in enumerate(contexts):
            campaigns.begin(index, context)
        return campaigns

    def begin(self, index: int, context: Context) -> None:
        """Campaign `index` begins with its day 0.

        Raises:
            InvalidOption: the context has channels of other names, or a longer horizon.
        """
        days = context.horizon_days
        require(context.names == self.response.names, "channels", str(self.response.names), context.names)
        require(days <= self.max_horizon_days, "horizon", f"at most {self.max_horizon_days} days", days)
        self.response.put(index, context.channels)
        self.day[index] = 0
        self.horizon_days[index] = days
        self.first_weekday[index] = context.first_weekday
        self.week[index] = context.weekday_demand
        self.budget[index] = self.remaining[index] = context.budget
        self.demand[index] = 1.0
        self.demand[index, :days] = context.demand
        self.caps[index] = context.caps
        self.drift[index] = 1.0
        if context.drift:
            self.drift[index, :days] = context.drift
        self.target_marginal[index] = context.target_marginal
        self.adstock[index] = context.initial_adstock
        self.acting_adstock[index] = context.acting_adstock
        self.spent[index] = 0.0
        for channel, spends in enumerate(context.past_spends):
            known = spends[:HISTORY_DAYS]
            self.spent[index, channel, : len(known)] = known

    @property
    def weekday(self) -> NDArray[np.int64]:
        """Weekday of the present day (n,), 0 for Monday."""
        return np.asarray((self.first_weekday + self.day) % DAYS_A_WEEK)

    @property
    def is_over(self) -> NDArray[np.bool_]:
        """Which campaigns have no day left."""
        return np.asarray(self.day >= self.horizon_days)

    def observe(self) -> NDArray[np.float32]:
        """Observation (n, 6 + channels * history) of each campaign; `component_names` names its components."""
        n = len(self.day)
        head = (self.day, self.horizon_days, self.budget, self.remaining, self.today(), self.weekday)
        observation = np.empty((n, len(BUDGET_COMPONENTS) + self.spent[0].size), np.float32)
        observation[:, : len(BUDGET_COMPONENTS)] = np.stack(head, axis=1)
        observation[:, len(BUDGET_COMPONENTS) :] = self.spent.reshape(n, -1)
        return observation

    def today(self) -> Floats:
        """Demand of the present day (n,), to an ordinary day of its weekday; 1 where no day is left."""
        day = np.minimum(self.day, self.max_horizon_days - 1)
        return np.where(self.is_over, 1.0, self.demand[np.arange(len(day)), day])

    def spend(self, wanted: Floats) -> Floats:
        """Spend `wanted` (n, channels), as far as caps and budgets allow, and end the day; return its sales (n,).

        Campaigns that are over sell nothing.

        Raises:
            InvalidOption: a number is not finite.
        """
        require(bool(np.isfinite(wanted).all()), "spends", "finite numbers", wanted)
        spends = affordable(np.minimum(wanted, self.caps), self.remaining)
        spends[self.is_over] = 0.0
        self.remaining = np.maximum(self.remaining - spends.sum(axis=1), 0.0)
        self.spent[:, :, 1:] = self.spent[:, :, :-1]
        self.spent[:, :, 0] = spends
        retention, lag = self.response.retention, self.response.lag_days
        acting = np.take_along_axis(self.spent, lag[:, :, None], axis=2)[:, :, 0] if lag.any() else spends
        self.adstock = retention * self.adstock + (1 - retention) * spends
        self.acting_adstock = retention * self.acting_adstock + (1 - retention) * acting
        each = np.arange(len(self.day))
        drift = self.drift[each, np.minimum(self.day, self.max_horizon_days - 1)]
        sold = (self.response.sales(self.acting_adstock) * drift).sum(axis=1)
        sales = self.week[each, self.weekday] * self.today() * sold
        sales[self.is_over] = 0.0
        self.day = self.day + 1
        return np.asarray(sales)
