"""What the next unit of money a day returns on each channel, today and in the best plan for the same money.

Both are of steady spends: the derivative of the sales a day by the spend a day, once all that carries over has arrived.
The plan is the split that sells most if it goes on. No horizon ends, so that neither carry-over nor lag shortens it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from polserve.training.tasks.adbudget.accounts import Account
from polserve.training.tasks.adbudget.contexts import DAYS_A_WEEK, Context
from polserve.training.tasks.adbudget.curves.curve import Verdict
from polserve.training.tasks.adbudget.curves.fit import Fit
from polserve.training.tasks.adbudget.curves.regression import TODAY_DAYS
from polserve.training.tasks.adbudget.curves.response import Channel, Floats, Response
from polserve.training.tasks.adbudget.plans.optimum import solve

INTERVAL = (0.05, 0.95)
"""Quantiles of the other curves' values, between which a 90 % interval lies."""
SMALLEST_PART = 1e-6
"""Part of the money below which a plan's spend on a channel is none."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number by the curves that are planned with, and what other curves that may be true make of it."""

    value: float
    interval: tuple[float, float] | None
    """Ends of the 90 % interval; None where no other curve is known."""


@dataclass(frozen=True, slots=True)
class SteadySpend:
    """A steady daily spend on one channel."""

    money: float
    returned: Estimate | None
    """Sales that the next unit of money a day adds a day; None where nothing is spent, and no curve says."""
    is_extrapolated: bool
    """Whether the history never saw such a spend on a day."""


@dataclass(frozen=True, slots=True)
class ChannelMoney:
    """What is spent on one channel, what the plan spends, and what the next unit of money returns at each."""

    channel: str
    verdict: Verdict | None
    """What the history makes of the curve; None without a history."""
    today: SteadySpend | None
    """Mean of the history's last days; None without a history."""
    planned: SteadySpend
    before: Estimate | None = None
    """What the next unit returns at today's spend by fits without the last days; None where there are none."""

    @property
    def has_changed(self) -> bool:
        """Whether the last days moved the return at today's spend out of the interval that it had before."""
        if self.before is None or self.before.interval is None or self.today is None or self.today.returned is None:
            return False
        low, high = self.before.interval
        return not low <= self.today.returned.value <= high


@dataclass(frozen=True, slots=True)
class NextMoney:
    """The channels of an account, and what the plan's spends would bring in place of today's."""

    channels: tuple[ChannelMoney, ...]
    money: float
    """What the plan may spend a day."""
    gain: Estimate | None
    """Sales a day, less what the target asks of the money, that the plan has more than today.

    None without a history, and where neither spends anything."""
    agreeing_share: float
    """Share of the other possible curves by which the plan has more than today; 0 where there are none."""
    days: int
    """Last days of the history whose mean is today's spend; 0 without a history."""


def find_next_money(account: Account, fit: Fit | None) -> NextMoney:
    """Find the best steady plan of an account, and the marginal returns there and today.

    The plan spends what the last days of a history spent. Under a target it spends up to the greatest budget as long as
    the next unit returns the target; without a history, it spends up to the middle of the budgets.
    """
    others = account.ensemble if fit is None else fit.members_today
    if fit is None:
        return _without_history(account, others)
    today = fit.history.spends[-TODAY_DAYS:].mean(axis=0)
    money = account.daily_budget[1] if account.target_marginal else float(today.sum())
    planned = steady_plan(account, money)
    worth = [_worth(account, each, planned) - _worth(account, each, today) for each in (account.channels, *others)]
    gain = Estimate(worth[0], _interval(np.array(worth[1:]))) if today.any() or planned.any() else None
    seen = [curve.observed for curve in fit.curves]
    now, best = (_spends(account.channels, others, spends, seen) for spends in (today, planned))
    channels = tuple(
        ChannelMoney(curve.channel, curve.verdict, now[index], best[index], _before(fit, today, index))
        for index, curve in enumerate(fit.curves)
    )
    return NextMoney(
        channels,
        money,
        gain,
        float(np.mean(np.array(worth[1:]) > 0)) if others else 0.0,
        min(TODAY_DAYS, len(fit.history.sales)),
    )


def steady_plan(account: Account, money: float) -> Floats:
    """Spends a day (channels,) of at most `money` together that sell most, less the target's return, if they go on."""
    at_once = [replace(channel, retention=0.0, lag_days=0) for channel in account.channels]
    context = Context(
        channels=tuple(at_once),
        budget=money,
        caps=(account.cap_factor * money,) * len(at_once),
        first_weekday=0,
        demand=(1.0,),
        past_spends=((),) * len(at_once),
        weekday_demand=(1.0,) * DAYS_A_WEEK,
        target_marginal=account.target_marginal,
    )
    spends = solve(context).spends[0]
    return np.asarray(np.where(spends > SMALLEST_PART * money, spends, 0.0))


def _without_history(account: Account, others: Sequence[Sequence[Channel]]) -> NextMoney:
    low, high = account.daily_budget
    money = high if account.target_marginal else (low + high) / 2
    spends = _spends(account.channels, others, steady_plan(account, money), None)
    named = zip(account.channels, spends, strict=True)
    channels = tuple(ChannelMoney(channel.name, None, None, spend) for channel, spend in named)
    return NextMoney(channels, money, None, 0.0, 0)


def _worth(account: Account, channels: Sequence[Channel], spends: Floats) -> float:
    """Sales a day of steady spends (channels,), less what the target asks of them."""
    return float(Response(channels).sales(spends).sum() - account.target_marginal * spends.sum())


def _before(fit: Fit, today: Floats, index: int) -> Estimate | None:
    """Find what the next unit returned on a channel at today's spends (channels,), by fits without the last days."""
    if not fit.earlier_today or today[index] == 0:
        return None
    returned = np.array([Response(each).marginal_sales(today)[index] for each in fit.earlier_today])
    return Estimate(float(returned[0]), _interval(returned[1:]))


def _spends(
    channels: Sequence[Channel],
    others: Sequence[Sequence[Channel]],
    spends: Floats,
    seen: Sequence[tuple[float, float]] | None,
) -> list[SteadySpend]:
    """Find what the next unit of money returns at each of the spends (channels,); `seen` are those of single days."""
    returned = Response(channels).marginal_sales(spends)
    by_others = np.array([Response(each).marginal_sales(spends) for each in others])
    found = []
    for index, money in enumerate(spends.tolist()):
        interval = _interval(by_others[:, index]) if len(others) else None
        estimate = Estimate(float(returned[index]), interval) if money > 0 else None
        is_beyond = seen is not None and money > 0 and not seen[index][0] <= money <= seen[index][1]
        found.append(SteadySpend(money, estimate, is_beyond))
    return found


def _interval(values: Floats) -> tuple[float, float] | None:
    """Find the ends of the interval of some values; None where there are none."""
    if not values.size:
        return None
    low, high = np.quantile(values, INTERVAL)
    return float(low), float(high)
