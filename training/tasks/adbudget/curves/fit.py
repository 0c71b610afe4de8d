"""Response curves from a history, with how far they can be trusted.

Sales are a weekday factor times what is sold anyway and what each channel brings. The curves are fitted by least
squares, and again to histories that a bootstrap of the residuals makes: where those fits disagree, the data do not say
what the curve is, and the fit says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from polserve.training.tasks.adbudget.accounts import Account
from polserve.training.tasks.adbudget.curves.regression import SalesModel
from polserve.training.tasks.adbudget.curves.response import Channel, Floats, Response
from polserve.training.tasks.adbudget.history.history import History

MEMBERS = 20
"""Histories of the bootstrap."""
BLOCK_DAYS = 7
"""Residuals of neighbouring days resemble each other, and are drawn together."""
WIDEST = 0.5
"""A curve is identified where its 90 % interval at the mean spend is at most this wide, to its middle."""
QUANTILES = (0.05, 0.95)
LEAST_VARIATION = 0.1
"""A channel whose spend varies less looks like sales that come anyway."""
MOST_CORRELATION = 0.95
"""Greatest correlation of two channels' spends that can still be told apart."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Sales a day that a steady daily spend of one channel brings."""

    channel: str
    spends: Floats  # (points,), money a day
    sales: Floats  # (points,)
    low: Floats  # (points,) of the 90 % interval
    high: Floats  # (points,)
    observed: tuple[float, float]
    """Least and greatest spend on the days that the channel was used: beyond it, the curve is an extrapolation."""
    relative_width: float
    """Width of the interval at the mean spend, to its middle."""
    variation: float
    """Standard deviation of the spend over all days, to its mean."""
    twin: str = ""
    """A channel whose spends move as this one's do, so that nothing tells the two apart."""

    @property
    def is_identified(self) -> bool:
        """Whether the history says what the curve is."""
        return self.relative_width <= WIDEST and self.variation >= LEAST_VARIATION and not self.twin


@dataclass(frozen=True, slots=True)
class Fit:
    """What was learned of an account."""

    channels: tuple[Channel, ...]
    base_sales: float
    """Sales a day without any spend, on an average weekday."""
    weekday_demand: tuple[float, ...]
    r_squared: float
    ensemble: tuple[tuple[Channel, ...], ...]
    """The channels as each bootstrap history has them."""
    curves: tuple[Curve, ...]
    daily_spend: tuple[float, float]
    """5th and 95th percentile of the account's spend on the days that it spent."""
    history: History
    """What it was fitted to."""
    expected: Floats  # (days,)
    """Sales of the history's days by the fit."""

    def statement(self) -> list[str]:
        """Sentences on what can be said of each channel, and what cannot."""
        return [_statement(curve) for curve in self.curves]

    def account(self, horizon_days: int = 30) -> Account:
        """Budgets from half of the least daily spends that were seen to half as much again as the greatest."""
        low, high = self.daily_spend
        account = Account(
            channels=self.channels,
            daily_budget=(round(max(0.5 * low, 0.05 * high), 2), round(1.5 * high, 2)),
            horizon_days=horizon_days,
            weekday_demand=self.weekday_demand,
        )
        return replace(account, currency=self.history.currency) if self.history.currency else account


def fit_response(
    history: History,
    rng: np.random.Generator,
    members: int = MEMBERS,
    report: Callable[[int], None] | None = None,
) -> Fit:
    """Fit the response of sales to spends to a history and to `members` bootstrap ones; `report` counts them."""
    model = SalesModel(history)
    best = min((model.fit(history.sales, start) for start in model.starts(rng)), key=lambda fitted: fitted[1])[0]
    expected = model.sales(best)
    residual = history.sales - expected
    ratio = 1 + residual / np.maximum(expected, 1e-9)
    members_of = []
    for done in range(members):
        again = expected * _blocks(ratio, rng)
        members_of.append(model.channels(model.fit(again, best)[0]))
        if report is not None:
            report(done + 1)
    channels = model.channels(best)
    used = history.spends.sum(axis=1)
    used = used[used > 0]
    return Fit(
        channels=channels,
        base_sales=model.base(best),
        weekday_demand=model.weekday(best),
        r_squared=float(1 - (residual**2).sum() / ((history.sales - history.sales.mean()) ** 2).sum()),
        ensemble=tuple(members_of),
        curves=tuple(_curve(history, index, channels, members_of) for index in range(len(channels))),
        daily_spend=(float(np.quantile(used, 0.05)), float(np.quantile(used, 0.95))),
        history=history,
        expected=expected,
    )


def _blocks(ratio: Floats, rng: np.random.Generator) -> Floats:
    """Draw as many ratios, in blocks of neighbouring days."""
    count = -(-len(ratio) // BLOCK_DAYS)
    starts = rng.integers(0, len(ratio) - BLOCK_DAYS + 1, count)
    return np.concatenate([ratio[start : start + BLOCK_DAYS] for start in starts])[: len(ratio)]


def _curve(history: History, index: int, channels: Sequence[Channel], ensemble: Sequence[Sequence[Channel]]) -> Curve:
    used = history.spends[:, index][history.spends[:, index] > 0]
    spends = np.linspace(0, 1.5 * used.max(), 60)

    def sales_at(channel: Channel, at: Floats) -> Floats:
        return np.asarray(Response([channel]).sales(at[:, None])[:, 0])

    drawn = np.stack([sales_at(member[index], spends) for member in ensemble])
    middle = np.array([sales_at(member[index], np.array([used.mean()]))[0] for member in ensemble])
    low, high = np.quantile(middle, QUANTILES)
    return Curve(
        channel=channels[index].name,
        spends=spends,
        sales=sales_at(channels[index], spends),
        low=np.quantile(drawn, QUANTILES[0], axis=0),
        high=np.quantile(drawn, QUANTILES[1], axis=0),
        observed=(float(used.min()), float(used.max())),
        relative_width=float((high - low) / max(np.median(middle), 1e-9)),
        variation=float(history.spends[:, index].std() / history.spends[:, index].mean()),
        twin=_twin(history, index),
    )


def _twin(history: History, index: int) -> str:
    """Channel that is hardest to tell from channel `index`, if it cannot be."""
    spends = history.spends
    for other, name in enumerate(history.channels):
        own, its = (spends[:, which] - spends[:, which].mean() for which in (index, other))
        if other != index and own @ its > MOST_CORRELATION * np.sqrt((own @ own) * (its @ its)):
            return name
    return ""


def _statement(curve: Curve) -> str:
    low, high = curve.observed
    seen = f"observed from {low:,.0f} to {high:,.0f} a day; beyond that the curve is an extrapolation"
    if curve.is_identified:
        return f"{curve.channel}: identified, 90 % interval at the mean spend {curve.relative_width:.0%} wide; {seen}"
    reason = f"the 90 % interval at the mean spend is {curve.relative_width:.0%} wide"
    if curve.variation < LEAST_VARIATION:
        reason = f"its spend varies by {curve.variation:.0%} only, which looks like sales that come anyway"
    elif curve.twin:
        reason = f"its spend moves as that of {curve.twin} does"
    return (
        f"{curve.channel}: NOT identified by this history: {reason}; vary its spend from week to week before trusting "
        f"its curve; {seen}"
    )
