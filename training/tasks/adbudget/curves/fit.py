"""Response curves from a history, with how far they can be trusted.

Sales are fitted by least squares with weak priors, beside trend, season, weekday, events and prices. Then they are
fitted again, to sales with other noise around other priors' means (randomise-then-optimise: Bardsley et al. 2014);
the noise persists from day to day as far as the history tells. Where those fits disagree, the history does not say
what the curve is, and the fit says so. Intervals are of curves of any slope; the curves that are planned with are
concave, unless the history asks for steeper ones.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import count

import numpy as np
from numpy.typing import NDArray

from polserve.training.tasks.adbudget.accounts import Account, rounded
from polserve.training.tasks.adbudget.curves.bands import Band, bands, curve_of
from polserve.training.tasks.adbudget.curves.best import SURPRISE, Best, find_best
from polserve.training.tasks.adbudget.curves.curve import Curve
from polserve.training.tasks.adbudget.curves.decomposition import Decomposition, decompose
from polserve.training.tasks.adbudget.curves.demand import SEASON_LEAST_DAYS
from polserve.training.tasks.adbudget.curves.holdout import Holdout, validate
from polserve.training.tasks.adbudget.curves.lift import LiftTest
from polserve.training.tasks.adbudget.curves.regression import TODAY_DAYS, SalesModel
from polserve.training.tasks.adbudget.curves.response import Channel, Floats
from polserve.training.tasks.adbudget.curves.shapes import steep_channels
from polserve.training.tasks.adbudget.curves.signs import read_signs
from polserve.training.tasks.adbudget.history.history import History

MEMBERS = 100
"""Fits that the intervals are made of."""
WORLDS = 20
"""Members of the ensemble, in whose worlds a policy is played."""
ALONE = 30
"""Fits to the history without its lift tests, to see whether the tests contradict it."""
FEWEST_MEMBERS = 20
"""Fewer tell too little of an interval to say that a curve leaves it."""
WIDENING = 1.25
"""Times the noise that was seen: without it, intervals are too narrow."""
NO_CHANCE = 6.0
"""Standard deviations of an ordinary day's noise, which no day has by chance."""
MOST_SURPRISES = 5
SAID_LEVEL = 0.05
"""Least change of what advertising sells, from an average day of a history to today, that is worth a sentence."""


@dataclass(frozen=True, slots=True)
class Fit:
    """What was learned of an account."""

    channels: tuple[Channel, ...]
    """The channels on a day of average demand."""
    base_sales: float
    """Sales a day without any spend, on an average weekday."""
    weekday_demand: tuple[float, ...]
    r_squared: float
    ensemble: tuple[tuple[Channel, ...], ...]
    """The channels as some of the fits with other noise have them, on a day of average demand."""
    level: float
    """What advertising sells today, by the trend of the last days, as a multiple of a day of average demand."""
    ensemble_levels: tuple[float, ...]
    """The level of today by each member of the ensemble."""
    members_today: tuple[tuple[Channel, ...], ...]
    """The channels by each of the fits that the intervals are made of, of any slope, at its own level of today."""
    curves: tuple[Curve, ...]
    daily_spend: tuple[float, float]
    """5th and 95th percentile of the account's spend on the days that it spent."""
    history: History
    """What it was fitted to."""
    expected: Floats  # (days,)
    """Sales of the history's days by the fit."""
    decomposition: Decomposition
    holdout: Holdout
    """Errors on the last days, by a fit to those before."""
    surprises: tuple[tuple[date, float], ...]
    """Days that nothing explains, and their sales to the fitted ones, the most surprising first."""
    earlier_today: tuple[tuple[Channel, ...], ...] = ()
    """The channels at today's level by fits to all but the last days: the one to plan with, then those of its
    intervals; () where there are none (`earlier.with_earlier`)."""

    @property
    def channels_today(self) -> tuple[Channel, ...]:
        """The channels at today's level, which plans are made for."""
        return at_level(self.channels, self.level)

    @property
    def ensemble_today(self) -> tuple[tuple[Channel, ...], ...]:
        """The channels as some of the fits with other noise have them, each at its own level of today."""
        return tuple(map(at_level, self.ensemble, self.ensemble_levels))

    def statement(self) -> list[str]:
        """Sentences on what can be said of each channel, of forecasts, surprising days, and today's level."""
        said = [curve.statement() for curve in self.curves]
        if len(self.history.sales) < SEASON_LEAST_DAYS:
            said.append("the history is shorter than a year: its season, if it has one, is fitted as a trend")
        said.append(self.holdout.statement())
        low, high = np.quantile([self.level, *self.ensemble_levels], (0.05, 0.95))
        if max(high - 1, 1 - low) >= SAID_LEVEL:
            said.append(
                f"plans and targets are for today's level: by the trend of the last {TODAY_DAYS} days, advertising "
                f"sells {self.level:.2f} times what it sells on a day of average demand ({low:.2f} to {high:.2f} by "
                "other fits)"
            )
        if self.surprises:
            days = ", ".join(f"{day} ({ratio:.1f} times the fit)" for day, ratio in self.surprises)
            said.append(
                f"days that nothing explains, and that count for less: {days}; a column `event` tells the fit why"
            )
        return said

    def account(self, horizon_days: int = 30) -> Account:
        """Today's channels, with budgets from half of the least daily spend that was seen to 1.5 times the greatest."""
        low, high = self.daily_spend
        account = Account(
            channels=self.channels_today,
            daily_budget=(rounded(max(0.5 * low, 0.05 * high)), rounded(1.5 * high)),
            horizon_days=horizon_days,
            weekday_demand=self.weekday_demand,
        )
        return replace(account, currency=self.history.currency) if self.history.currency else account


def fit_response(
    history: History,
    rng: np.random.Generator,
    members: int = MEMBERS,
    report: Callable[[int], None] | None = None,
    lift_tests: Sequence[LiftTest] = (),
) -> Fit:
    """Fit the response of sales to spends to a history, and again with `members` other noises.

    `report` counts the fits, of which there are as many as `count_fits` says.
    """
    model = SalesModel(history, lift_tests)
    counter = count(1)

    def count_one() -> None:
        if report is not None:
            report(next(counter))

    of_any_slope = find_best(model, rng)
    draws = fit_again(model, of_any_slope, members, rng, count_one)
    intervals = bands(model, draws)
    best, is_steep = find_planned(model, of_any_slope, intervals, members, rng)
    worlds = fit_again(model, best, min(members, WORLDS), rng, count_one)
    alone = _fits_alone(history, min(members, ALONE), rng, count_one) if lift_tests else draws
    terms = model.terms(best.parameters)
    used = history.spends.sum(axis=1)
    used = used[used > 0]
    expected = terms.sales * model.mean_sales
    return Fit(
        channels=model.channels(best.parameters),
        base_sales=model.base_sales(best.parameters, terms),
        weekday_demand=model.weekday(best.parameters),
        r_squared=_r_squared(history.sales, expected),
        ensemble=tuple(model.channels(world) for world in worlds),
        level=model.level_today(best.parameters),
        ensemble_levels=tuple(model.level_today(world) for world in worlds),
        members_today=tuple(at_level(model.channels(draw), model.level_today(draw)) for draw in draws),
        curves=_curves(model, best, intervals, model.lifts(alone), is_steep),
        daily_spend=(float(np.quantile(used, 0.05)), float(np.quantile(used, 0.95))),
        history=history,
        expected=expected,
        decomposition=decompose(model, best.parameters),
        holdout=validate(history, rng, lift_tests),
        surprises=_surprises(history, expected, best.surprise * model.is_fitted),
    )


def find_planned(
    model: SalesModel, of_any_slope: Best, intervals: Sequence[Band], members: int, rng: np.random.Generator
) -> tuple[Best, NDArray[np.bool_]]:
    """Find the curves to plan with, which are concave unless the history or the intervals ask for steeper ones.

    `members` is the number of fits that the intervals are made of.

    Returns:
        What explains the history best by such curves, and which channels (channels,) are steeper.
    """
    is_steep = steep_channels(model, of_any_slope)
    best = find_best(model, rng, model.concave(~is_steep))
    while members >= FEWEST_MEMBERS and (outside := _outside(model, best, intervals) & ~is_steep).any():
        is_steep |= outside
        best = find_best(model, rng, model.concave(~is_steep))
    return best, is_steep


def count_fits(members: int, lift_tests: Sequence[LiftTest]) -> int:
    """Count the fits that `fit_response` makes."""
    return members + min(members, WORLDS) + (min(members, ALONE) if lift_tests else 0)


def fit_again(
    model: SalesModel, best: Best, members: int, rng: np.random.Generator, report: Callable[[], None]
) -> Floats:
    """Fit as often as there are members to other noise, around other means of the prior.

    Returns:
        The parameters (members, all) of each fit; `report` is called after each.
    """
    sales = model.history.sales / model.mean_sales
    residual = sales - best.prediction.values[: len(sales)]
    draws = []
    for _ in range(members):
        noise = replace(best.noise, kept=best.persistence.draw(rng))
        drawn = WIDENING * noise.draw(residual, model.is_fitted, rng)
        found = WIDENING * rng.normal(size=len(model.lift_tests))
        observed = model.observed(sales + drawn, noise, found)
        prior = best.prior.draw(rng, WIDENING)
        again = [model.fit(observed, start, prior) for start in (best.prediction, *best.rivals)]
        draws.append(min(again, key=lambda fit: fit[1])[0].parameters)
        report()
    return np.stack(draws)


def _fits_alone(history: History, members: int, rng: np.random.Generator, report: Callable[[], None]) -> Floats:
    """Fit a history without its lift tests; return the parameters (members, all) of fits to other noise."""
    model = SalesModel(history)
    return fit_again(model, find_best(model, rng), members, rng, report)


def at_level(channels: Sequence[Channel], level: float) -> tuple[Channel, ...]:
    """Channels that sell `level` times as much."""
    return tuple(replace(channel, sales_max=level * channel.sales_max) for channel in channels)


def _r_squared(sales: Floats, expected: Floats) -> float:
    """Share of the sales' variance that a fit explains; 0 where they never vary."""
    spread = ((sales - sales.mean()) ** 2).sum()
    return float(1 - ((sales - expected) ** 2).sum() / spread) if spread > 0 else 0.0


def _surprises(history: History, expected: Floats, surprise: Floats) -> tuple[tuple[date, float], ...]:
    """Days that are too far from the fit for chance; `surprise` (days,) is 0 on those that were not fitted."""
    order = np.argsort(-np.abs(surprise))[:MOST_SURPRISES]
    days = [int(day) for day in order if abs(surprise[day]) > NO_CHANCE and expected[day] > 0]
    return tuple((history.first_day + timedelta(days=day), float(history.sales[day] / expected[day])) for day in days)


def _outside(model: SalesModel, best: Best, intervals: Sequence[Band]) -> NDArray[np.bool_]:
    """Tell which channels' best curves (channels,) leave their intervals."""
    curves = [curve_of(model, best.parameters, index, band) for index, band in enumerate(intervals)]
    return np.array([not band.holds(curve) for band, curve in zip(intervals, curves, strict=True)])


def _curves(
    model: SalesModel, best: Best, intervals: Sequence[Band], alone: Floats, is_steep: NDArray[np.bool_]
) -> tuple[Curve, ...]:
    """Describe the curves; `alone` (members, tests) is what lift tests find by fits to the history alone."""
    history = model.history
    demand, surplus = model.demand(best.parameters), np.clip(best.surprise, -SURPRISE, SURPRISE)
    foretold = best.prediction.values[len(history.sales) :]  # of the lift tests
    return tuple(
        Curve(
            channel=name,
            spends=band.spends,
            sales=curve_of(model, best.parameters, index, band),
            low=band.low,
            high=band.high,
            observed=band.observed,
            mean_spend=band.mean_spend,
            at_mean=band.at_mean,
            signs=read_signs(history, index, demand, surplus),
            lift=model.lift.evidence(index, foretold, alone),
            is_steep=bool(is_steep[index]),
        )
        for index, (name, band) in enumerate(zip(history.channels, intervals, strict=True))
    )
