"""The best rule that a person could run: every day, equal marginal returns of all channels, by their response curves.

What a unit of money brings today is what it adds to the adstocks of today and of the days to come, each at that day's
expected demand and within the horizon. The rule spends up to where that is the same for all channels, at the price at
which such days, one after the other, spend all that is left: a column of a spreadsheet for each channel, a row for each
day left, and a goal seek for the price.
"""

import numpy as np

from polserve.training.tasks.adbudget.accounts import Account
from polserve.training.tasks.adbudget.campaigns import Campaigns
from polserve.training.tasks.adbudget.contexts import DAYS_A_WEEK
from polserve.training.tasks.adbudget.curves.response import Channel, Floats, Response

POINTS = 2000
"""Adstocks at which a channel's marginal return is tabled."""
MOST_HALVES = 200.0
"""Greatest adstock of the table, in half saturations."""
BISECTIONS = 20
PRICE_RANGE = 1e-5, 1e3
"""Least and greatest price of money, to what the channels' first half saturations bring on average."""
SMALLEST_WEIGHT = 1e-12
"""What is divided by, on a day whose spend would act beyond the horizon."""


class MarginalRule:
    """Rule for campaigns that are taken to be an account's."""

    def __init__(self, account: Account, *, weighs_carry_over: bool = True) -> None:
        """Take the curves and the expected demand of an account.

        Where it `weighs_carry_over`, a day's demand is the mean over the days on which its spend acts; otherwise it is
        the day's own, which is exact where every day spends something on every channel.
        """
        self._response = Response(account.channels)
        self._levels = [_Levels(channel) for channel in account.channels]
        self._week = np.array(account.weekday_demand)
        self._mean_event = account.mean_event
        self._weighs_carry_over = weighs_carry_over
        bring = np.array([channel.sales_max / channel.half_saturation for channel in account.channels]) / 2
        self._scale = float(bring.mean())

    def __call__(self, campaigns: Campaigns) -> Floats:
        """Spends (n, channels) of the present day."""
        weight = self._weight(self._demand(campaigns))
        low, high = (np.full(len(campaigns.day), np.log(self._scale * factor)) for factor in PRICE_RANGE)
        low = np.maximum(low, np.log(np.maximum(campaigns.target_marginal, SMALLEST_WEIGHT)))
        high = np.maximum(high, low)
        is_enough = self._spends(campaigns, weight, np.exp(low)).sum(axis=(1, 2)) <= campaigns.remaining
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            is_dear = self._spends(campaigns, weight, np.exp(middle)).sum(axis=(1, 2)) <= campaigns.remaining
            low = np.where(is_dear | is_enough, low, middle)
            high = np.where(is_dear, middle, high)
        return self._spends(campaigns, weight, np.exp(np.where(is_enough, low, high)))[:, 0]

    def _demand(self, campaigns: Campaigns) -> Floats:
        """Demand (n, days ahead) of today, as known, and of later days, as expected; 0 beyond the horizon."""
        ahead = np.arange(int((campaigns.horizon_days - campaigns.day).max(initial=1)))
        demand = self._week[(campaigns.weekday[:, None] + ahead) % DAYS_A_WEEK] * self._mean_event
        demand[:, 0] *= campaigns.today() / self._mean_event
        return np.where(campaigns.day[:, None] + ahead < campaigns.horizon_days[:, None], demand, 0.0)

    def _weight(self, demand: Floats) -> Floats:
        """Demand (n, days, channels) that each day's spend meets."""
        days = demand.shape[1]
        lag, kept = self._response.lag_days, self._response.retention
        acting = np.arange(days)[:, None] + lag
        met = np.where(acting < days, demand[:, np.minimum(acting, days - 1)], 0.0)
        later = np.concatenate([met[:, 1:], np.zeros_like(met[:, :1])], axis=1)
        if not self._weighs_carry_over:
            return np.where(later > 0, met, (1 - kept) * met)  # what the last day leaves over sells nothing
        weight, following = np.empty_like(met), np.zeros_like(met[:, 0])
        for day in reversed(range(days)):
            following = weight[:, day] = (1 - kept) * met[:, day] + kept * following
        return weight

    def _adstock(self, campaigns: Campaigns) -> Floats:
        """Adstock (n, channels) of the known spends: how much they really carry over, nobody sees."""
        kept = self._response.retention[:, None]
        weights = (1 - kept) * kept ** np.arange(campaigns.spent.shape[2])
        return np.asarray((campaigns.spent * weights).sum(axis=2))

    def _spends(self, campaigns: Campaigns, weight: Floats, price: Floats) -> Floats:
        """Spends (n, days ahead, channels) where a unit of money must bring `price` (n,)."""
        kept, adstock = self._response.retention, self._adstock(campaigns)
        asked = price[:, None, None] / np.maximum(weight, SMALLEST_WEIGHT)
        spends = np.stack([levels.at(asked[:, :, index]) for index, levels in enumerate(self._levels)], axis=2)
        spends /= 1 - kept
        lost = kept / (1 - kept)
        for day in range(weight.shape[1]):
            spend = np.minimum(np.maximum(spends[:, day] - lost * adstock, 0.0), campaigns.caps)
            adstock = kept * adstock + (1 - kept) * spend
            spends[:, day] = spend
        return np.asarray(spends)


class _Levels:
    """Adstock that is worth holding where a unit of it must bring a price a day."""

    def __init__(self, channel: Channel) -> None:
        """Table the curve where it is concave and, if it is S-shaped, where it brings most for its adstock."""
        adstock = channel.half_saturation * MOST_HALVES * np.linspace(1e-3, 1, POINTS) ** 3
        response = Response([channel])
        marginal = response.marginal_sales(adstock[:, None])[:, 0]
        is_worth = marginal <= response.sales(adstock[:, None])[:, 0] / adstock * (1 + 1e-9)
        self._prices, self._adstocks = marginal[is_worth][::-1], adstock[is_worth][::-1]

    def at(self, price: Floats) -> Floats:
        """Adstocks (...) for the prices (...)."""
        return np.where(price > self._prices[-1], 0.0, np.interp(price, self._prices, self._adstocks))
