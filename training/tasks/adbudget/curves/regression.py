"""Sales as a function of spends, demand and parameters, its derivatives, and the parameters that explain a history.

On each day, with the adstock A_i and the saturation h_i of channel i,

    sales = week * events * (base * slow + slow^coupling * sum_i effect_i * h_i(A_i) / h_i(mean spend)),

where `slow` is trend times season. With a coupling of 1, demand moves what advertising sells as it moves all other
sales; with 0, it moves those alone. A history hardly tells, so the coupling is a parameter like the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import expit

from polserve.training.tasks.adbudget.contexts import DAYS_A_WEEK
from polserve.training.tasks.adbudget.curves.demand import SEASON_LEAST_DAYS, make_design
from polserve.training.tasks.adbudget.curves.lift import LiftRows, LiftTest
from polserve.training.tasks.adbudget.curves.minimising import Observed, Prediction, Prior, minimise
from polserve.training.tasks.adbudget.curves.persistence import Noise
from polserve.training.tasks.adbudget.curves.response import Channel, Floats
from polserve.training.tasks.adbudget.history.history import History

RETENTION = (0.4, 0.3, 0.0, 0.95)
"""Prior mean, standard deviation and range, as of the next ones: Meridian has all of 0 to 1, uniformly."""
LOG_HALF_SATURATION = (0.2, 1.0, float(np.log(0.05)), float(np.log(20.0)))
"""To the channel's mean spend on the days that it was used."""
SLOPE = (1.0, 0.8, 0.4, 5.0)
"""Exponent of the Hill curve: S-shaped above 1, as Robyn's mostly are; a logistic curve looks like one of about 1.4."""
CONCAVE_SLOPE = (0.9, 0.2, 0.4, 1.0)
"""Exponent of a concave Hill curve, as in Meridian and PyMC-Marketing."""
EFFECT = (0.2, 0.5, 0.0, 10.0)
"""Sales at a steady mean spend, to the account's mean sales."""
BASE = (0.5, 0.5, 0.0, 10.0)
"""Sales without any spend, to mean sales."""
COUPLING = (0.5, 0.5, 0.0, 1.0)
BEFORE = (1.0, 0.5, 0.0, 3.0)
"""Spends before the history, as a multiple of its first days': an export rarely begins where an account does."""
SHARED = (BASE, COUPLING, BEFORE)
"""Priors of the parameters that are one for all channels."""
STARTS = 3
SETTLING_DAYS = 14
"""First days of a history, which what was spent before them moves: they are not fitted."""
FIRST_DAYS = 14
"""Days of a history whose mean spend stands for those before it."""
TODAY_DAYS = 28
"""Last days of a history, whose trend counts as today's."""
SETTLED_LEAST_DAYS = 120
"""A shorter history cannot spare them."""


@dataclass(frozen=True, slots=True)
class Curves:
    """Parameters of the channels' curves; each array is (channels,) or (members, channels)."""

    retention: Floats
    log_half: Floats
    slope: Floats
    effect: Floats


@dataclass(frozen=True, slots=True)
class Terms:
    """What the parameters make of a history's days."""

    fast: Floats  # (days,), weekday times events
    slow: Floats  # (days,), trend times season
    coupled: Floats  # (days,), slow^coupling
    base: float
    sold: Floats  # (days, channels), by each channel at a demand of 1
    log_adstock: Floats  # (days, channels), in half saturations; 0 where nothing was spent yet
    share: Floats  # (days, channels), of the most sales

    @property
    def sales(self) -> Floats:
        """Expected sales (days,), in mean sales."""
        return np.asarray(self.fast * (self.base * self.slow + self.coupled * self.sold.sum(axis=1)))


class SalesModel:
    """Parameters in one vector: per channel retention, log half saturation, slope, effect; `SHARED` ones; demand."""

    def __init__(self, history: History, lift_tests: Sequence[LiftTest] = (), held_out_days: int = 0) -> None:
        """Model a history whose last `held_out_days` are foretold and not known: nothing is fitted or scaled by them.

        NOTE: where a channel, or all sales, begin in those days alone, their mean is the unit all the same.
        """
        self.history = history
        self.n = len(history.channels)
        self.design = make_design(history)
        self.known = slice(0, len(history.sales) - held_out_days)
        self.used = tuple(_used(spend, spend[self.known]) for spend in history.spends.T)
        self.mean_spend = np.array([spend.mean() for spend in self.used])
        self.mean_sales = float(history.sales[self.known].mean() or history.sales.mean())
        self.lift_tests = tuple(lift_tests)
        self.lift = LiftRows(lift_tests, history.channels, history.spends, self.mean_spend, self.mean_sales)
        self._spends = history.spends / self.mean_spend
        self._first_spend = self._spends[:FIRST_DAYS].mean(axis=0)
        self._slow = self.design.slow
        self._fast = self.design.of("weekday", "events")
        ones = np.ones(self.n)
        rows = [[value * ones for value in kind] for kind in (RETENTION, LOG_HALF_SATURATION, SLOPE, EFFECT)]
        of_demand = (np.zeros_like(self.design.deviation), self.design.deviation)
        demand = (*of_demand, np.full_like(of_demand[0], -10.0), np.full_like(of_demand[0], 10.0))
        self.prior = Prior(*(
            np.concatenate([*(row[index] for row in rows), [shared[index] for shared in SHARED], demand[index]])
            for index in range(4)
        ))  # fmt: skip
        days = np.arange(len(history.sales))
        settling = SETTLING_DAYS if len(days) >= SETTLED_LEAST_DAYS else 0
        self.is_fitted = (days >= settling) & (days < self.known.stop)

    def concave(self, which: NDArray[np.bool_]) -> Prior:
        """Return the prior by which the channels of `which` (channels,) have concave curves, and the others any."""
        known = [np.array(each) for each in (self.prior.mean, self.prior.deviation, self.prior.low, self.prior.high)]
        for numbers, value in zip(known, CONCAVE_SLOPE, strict=True):
            self.curves(numbers).slope[which] = value  # a view
        return Prior(*known)

    @staticmethod
    def starts(prior: Prior, rng: np.random.Generator) -> list[Floats]:
        """Where to begin: one in the middle of the prior, the others around it."""
        spread = prior.deviation * 0.5
        return [prior.mean, *(prior.mean + spread * rng.uniform(-1, 1, (STARTS - 1, len(spread))))]

    def predict(self, parameters: Floats) -> Prediction:
        """Predict sales (days,), and what each lift test finds, in mean sales."""
        terms = self.terms(parameters)
        sales, derivatives = terms.sales, self.derivatives(parameters, terms)
        if not self.lift_tests:
            return Prediction(parameters, sales, derivatives)
        own = np.arange(4)[:, None] * self.n + self.lift.index  # (4, tests), where a test's channel has its parameters
        rows = np.zeros((len(self.lift_tests), len(parameters)))
        rows[np.arange(len(rows)), own] = self.lift.derivatives(*parameters[own])
        lifts = self.lift.predict(*parameters[own])
        return Prediction(parameters, np.concatenate([sales, lifts]), np.concatenate([derivatives, rows]))

    def observed(self, sales: Floats, noise: Noise, lift_noise: Floats | float = 0.0) -> Observed:
        """Put together what is fitted: `sales` (days,), in mean sales, with their noise, and lift tests.

        `lift_noise` (tests,), in standard errors, is added to what tests found.
        """
        lifts = self.lift.sales_change + lift_noise / self.lift.weights
        own, eve = noise.weights
        return Observed(
            np.concatenate([sales, lifts]),
            np.concatenate([self.is_fitted * own, self.lift.weights]),
            np.concatenate([self.is_fitted * eve, np.zeros_like(lifts)]),
        )

    def follows(self, is_ordinary: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell which days (days,) are fitted and ordinary, as the day before is."""
        known = self.is_fitted & is_ordinary
        return np.asarray(known & np.roll(known, 1) & (np.arange(len(known)) > 0))

    def fit(self, observed: Observed, start: Floats | Prediction, prior: Prior) -> tuple[Prediction, float]:
        """Find the parameters that explain best what was observed; return what they predict, and the cost."""
        if not isinstance(start, Prediction):
            start = self.predict(np.clip(start, prior.low, prior.high))
        return minimise(self.predict, observed, start, prior)

    def lifts(self, parameters: Floats) -> Floats:
        """Predict what each lift test finds (members, tests), in mean sales, by `parameters` (members, all)."""
        own = np.arange(4)[:, None] * self.n + self.lift.index
        return np.stack([self.lift.predict(*member[own]) for member in parameters])

    def curves(self, parameters: Floats) -> Curves:
        """Parameters of the channels' curves among `parameters` (..., all)."""
        return Curves(*(parameters[..., index * self.n : (index + 1) * self.n] for index in range(4)))

    def shared(self, parameters: Floats) -> Floats:
        """Values of `SHARED` in `parameters` (all,): base, coupling and spends before the history."""
        return parameters[4 * self.n : 4 * self.n + len(SHARED)]

    def weights(self, parameters: Floats) -> Floats:
        """Weights of the design's columns in `parameters` (all,)."""
        return parameters[4 * self.n + len(SHARED) :]

    def terms(self, parameters: Floats) -> Terms:
        """Compute what the parameters make of the history's days."""
        curves, weights = self.curves(parameters), self.weights(parameters)
        base, coupling, before = self.shared(parameters)
        columns = self.design.columns
        slow = columns[:, self._slow] @ weights[self._slow]
        adstock = self._adstock(curves.retention, before)
        is_spent = adstock > 0
        log_adstock = np.log(np.where(is_spent, adstock, 1.0)) - np.where(is_spent, curves.log_half, 0.0)
        share = np.where(is_spent, expit(curves.slope * log_adstock), 0.0)
        return Terms(
            fast=np.exp(columns[:, self._fast] @ weights[self._fast]),
            slow=np.exp(slow),
            coupled=np.exp(coupling * slow),
            base=float(base),
            sold=curves.effect * share / share_at_mean(curves),
            log_adstock=log_adstock,
            share=share,
        )

    def derivatives(self, parameters: Floats, terms: Terms) -> Floats:
        """Compute the derivatives (days, parameters) of the expected sales, in mean sales."""
        curves = self.curves(parameters)
        _, coupling, before = self.shared(parameters)
        at_mean = share_at_mean(curves)
        moved = (terms.fast * terms.coupled)[:, None]
        rest = 1 - terms.share
        adstock = np.exp(terms.log_adstock + curves.log_half)
        by_adstock = terms.sold * curves.slope * rest / adstock
        by_retention = by_adstock * self._adstock_change(curves.retention, before)
        kept = curves.retention ** np.arange(1, len(adstock) + 1)[:, None]  # of what was spent before the first day
        by_before = moved[:, 0] * (by_adstock * kept * self._first_spend).sum(axis=1)
        by_half = terms.sold * curves.slope * (terms.share - at_mean)
        by_slope = terms.sold * (rest * terms.log_adstock + (1 - at_mean) * curves.log_half)
        by_channel = np.concatenate([by_retention, by_half, by_slope, terms.share / at_mean], axis=1) * moved
        of_base, of_channels = terms.fast * terms.slow, moved[:, 0] * terms.sold.sum(axis=1)
        by_slow = terms.base * of_base + coupling * of_channels
        by_demand = self.design.columns * terms.sales[:, None]
        by_demand[:, self._slow] = self.design.columns[:, self._slow] * by_slow[:, None]
        return np.column_stack([by_channel, of_base, of_channels * np.log(terms.slow), by_before, by_demand])

    def scale(self, parameters: Floats, terms: Terms) -> float:
        """Sales that a channel of effect 1 brings at its mean spend, on a day of average demand without events."""
        return float(terms.coupled.mean() * self._week(parameters).mean() * self.mean_sales)

    def level_today(self, parameters: Floats) -> float:
        """Compute how many times as much advertising sells today as on a day of average demand.

        Today is the trend of the last days, and the season's mean over a year.
        """
        _, coupling, _ = self.shared(parameters)
        columns, weights = self.design.columns, self.weights(parameters)
        of_trend, of_season = self.design.of("trend"), self.design.of("season")
        trend = coupling * (columns[:, of_trend] @ weights[of_trend])
        season = coupling * (columns[:, of_season] @ weights[of_season])
        of_year = np.exp(season[-SEASON_LEAST_DAYS:]).mean()
        return float(np.exp(trend[-TODAY_DAYS:]).mean() * of_year / np.exp(trend + season).mean())

    def base_sales(self, parameters: Floats, terms: Terms) -> float:
        """Sales a day without any spend, on a day of average demand without events."""
        return float(terms.base * terms.slow.mean() * self._week(parameters).mean() * self.mean_sales)

    def demand(self, parameters: Floats) -> Floats:
        """Trend, season and events of each day (days,), without weekdays."""
        columns = self.design.of("trend", "season", "events")
        return np.asarray(np.exp(self.design.columns[:, columns] @ self.weights(parameters)[columns]))

    def weekday(self, parameters: Floats) -> tuple[float, ...]:
        """Demand by weekday, of mean 1."""
        week = self._week(parameters)
        return tuple((week / week.mean()).tolist())

    def channels(self, parameters: Floats) -> tuple[Channel, ...]:
        """Channels that the parameters describe, on a day of average demand."""
        curves, scale = self.curves(parameters), self.scale(parameters, self.terms(parameters))
        most = np.maximum(curves.effect / share_at_mean(curves), 1e-9) * scale
        return tuple(
            Channel(
                name=name,
                retention=float(curves.retention[i]),
                half_saturation=float(np.exp(curves.log_half[i]) * self.mean_spend[i]),
                slope=float(curves.slope[i]),
                sales_max=float(most[i]),
            )
            for i, name in enumerate(self.history.channels)
        )

    def _week(self, parameters: Floats) -> Floats:
        """Factors of Monday to Sunday."""
        index = self.design.of("weekday")
        first = np.array([np.flatnonzero(self.history.weekday == day)[0] for day in range(DAYS_A_WEEK)])
        return np.asarray(np.exp(self.design.columns[np.ix_(first, index)] @ self.weights(parameters)[index]))

    def _adstock(self, retention: Floats, before: float) -> Floats:
        """Compute the adstock (days, channels), in mean spends, of spends that were `before` times the first ones."""
        return np.maximum(_carried((1 - retention) * self._spends, retention, before * self._first_spend), 0.0)

    def _adstock_change(self, retention: Floats, before: float) -> Floats:
        """Compute the derivative of the adstock (days, channels), in mean spends, by each channel's retention."""
        eve = np.concatenate([before * self._first_spend[None], self._adstock(retention, before)[:-1]])
        return _carried(eve - self._spends, retention, np.zeros_like(retention))


def _used(spend: Floats, known: Floats) -> Floats:
    """Spends of a channel on those of the `known` days that it was used; on such of all days where none is known."""
    return known[known > 0] if known.any() else spend[spend > 0]


def _carried(added: Floats, retention: Floats, before: Floats) -> Floats:
    """Sum, on each day (days, channels), of what is kept of the day before and what is `added`.

    `before` (channels,) is the sum on the eve of the first day.
    """
    columns = zip(retention, added.T, before, strict=True)
    return np.column_stack([lfilter([1.0], [1.0, -kept], each, zi=[kept * eve])[0] for kept, each, eve in columns])


def share_at_mean(curves: Curves) -> Floats:
    """Share of the most sales at a steady mean spend, by channel."""
    return np.asarray(1 / (1 + np.exp(curves.slope * curves.log_half)))
