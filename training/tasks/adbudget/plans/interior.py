"""The best plans of many contexts at once, by a primal-dual interior-point method (Nocedal and Wright 2006, ch. 19).

Sales are a sum over the adstocks of single days, and a spend is the difference of two days' adstocks. So each Newton
step is a tridiagonal system, which LAPACK solves for all contexts and channels together, in a time linear in the days.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solveh_banded

from polserve.training.tasks.adbudget.contexts import Context, alike
from polserve.training.tasks.adbudget.curves.response import Floats, Response

TOLERANCE = 1e-9
"""Part of the sales that the plans may miss, by the method's own account."""
MOST_STEPS = 60
"""Twenty are usual."""
CENTRING = 0.1
"""What a step leaves of the mean product of a slack and its price."""
TO_THE_BOUNDARY = 0.99
"""Share of the way to the nearest bound that a step may go."""
SMALLEST_MONEY = 1e-9
"""What is divided by, in place of no budget or no cap at all."""


@dataclass(frozen=True, slots=True)
class _Point:
    """An iterate; arrays are (n, days, channels), or (n, 1, 1)."""

    spends: Floats
    adstock: Floats  # money
    floor_price: Floats
    """What it would bring to lower the bound 0, per spend."""
    cap_price: Floats
    price: Floats
    """What one more unit of budget would bring (n, 1, 1)."""


def best_spends(contexts: Sequence[Context]) -> list[Floats]:
    """Spends (days, channels) of the best plan of each concave context; nothing is certified here.

    Contexts of one horizon and one number of channels are solved together.
    """
    found: dict[int, Floats] = {}
    for group in alike(contexts):
        found |= zip(group, _solve_together([contexts[index] for index in group]), strict=True)
    return [found[index] for index in range(len(contexts))]


def _solve_together(contexts: Sequence[Context]) -> Floats:
    """Spends (n, days, channels)."""
    program = _Program(contexts)
    point = program.start()
    for _ in range(MOST_STEPS):
        if program.is_solved(point):
            break
        point = program.step(point)
    return np.asarray(np.where(program.is_earning, point.spends * program.unit, 0.0))


class _Program:
    """The contexts in numbers of order 1: spends in even parts of the budget, sales in those of the first plan."""

    def __init__(self, contexts: Sequence[Context]) -> None:
        first = contexts[0]
        self._response = Response.of_each([context.channels for context in contexts])
        self._retention = self._response.retention
        self._demand = np.array([context.spend_demand for context in contexts])
        self.is_earning = np.array([context.is_earning for context in contexts])
        """Days on which spends act within the horizon: where caps leave money over, a step would spend it elsewhere."""
        self._target = np.array([context.target_marginal for context in contexts])[:, None, None]
        self._initial = np.array([context.initial_adstock for context in contexts])
        budget = np.array([max(context.budget, SMALLEST_MONEY) for context in contexts])[:, None, None]
        caps = np.array([context.caps for context in contexts])[:, None, :]
        self.count = first.horizon_days * len(first.channels)
        self.unit = budget / self.count
        tight = np.clip(caps, SMALLEST_MONEY * self.unit, budget) / self.unit
        self._caps = np.repeat(tight, first.horizon_days, axis=1)
        # A budget beyond all caps never binds; as it stands, its slack would be of another order than the spends.
        self._budget = np.minimum(self.count, 1.01 * _total(self._caps))

    def start(self) -> _Point:
        """Half of an even plan, with equal products of slacks and prices; it sets the unit of sales."""
        spends = 0.5 * np.minimum(self._caps, self._budget / self.count)
        adstock = self._adstock(spends)
        worth = _total(self._demand * self._response.sales(adstock))
        worth = np.where(worth > 0, worth, 1.0)
        self._demand = self._demand / worth
        self._target = self._target * self.unit / worth
        even = np.full_like(worth, 1 / self.count)
        slack = self._budget - _total(spends)
        return _Point(spends, adstock, even / spends, even / (self._caps - spends), even / slack)

    def is_solved(self, point: _Point) -> bool:
        """Whether no context's plan can be better by more than the tolerance."""
        if (self._complementarity(point) > TOLERANCE).any():
            return False
        gradient = self._demand * self._response.marginal_sales(point.adstock) * self.unit
        prices = self._target + point.price + point.cap_price - point.floor_price
        residual = prices - self._carried_back(gradient)
        reach = np.minimum(point.spends + 1, self._caps)
        return bool((_total(np.abs(residual) * reach) <= TOLERANCE).all())

    def step(self, point: _Point) -> _Point:
        """Next iterate: a Newton step towards smaller products of slacks and prices, cut at the bounds."""
        spends, room = point.spends, self._caps - point.spends
        slack = self._budget - _total(spends)
        pairs = 2 * self.count + 1
        target = np.maximum(CENTRING * self._complementarity(point), TOLERANCE / 2) / pairs
        gradient = self._demand * self._response.marginal_sales(point.adstock) * self.unit
        push = gradient + self._in_adstock(target / spends - target / room - point.price - self._target)
        steps = self._solve(point, np.stack([push, self._in_adstock(np.ones_like(spends))]))
        free, of_price = (_total(self._in_spends(step)) for step in steps)
        d_price = (target + point.price * (free - slack)) / (slack + point.price * of_price)
        d_adstock = steps[0] - steps[1] * d_price
        d_spends = self._in_spends(d_adstock)
        d_floor = (target - point.floor_price * d_spends) / spends - point.floor_price
        d_cap = (target + point.cap_price * d_spends) / room - point.cap_price
        bounded = ((spends, d_spends), (room, -d_spends), (slack, -_total(d_spends)))
        primal = _length(*bounded, (point.adstock / self.unit, d_adstock))
        dual = _length((point.floor_price, d_floor), (point.cap_price, d_cap), (point.price, d_price))
        return _Point(
            spends=spends + primal * d_spends,
            adstock=point.adstock + primal * d_adstock * self.unit,
            floor_price=point.floor_price + dual * d_floor,
            cap_price=point.cap_price + dual * d_cap,
            price=point.price + dual * d_price,
        )

    def _complementarity(self, point: _Point) -> Floats:
        slack = self._budget - _total(point.spends)
        of_spends = point.floor_price * point.spends + point.cap_price * (self._caps - point.spends)
        return np.asarray(_total(of_spends) + point.price * slack)

    def _solve(self, point: _Point, right: Floats) -> Floats:
        """Adstocks (k, n, days, channels) that the linearised conditions ask for, for k right-hand sides."""
        retained = self._retention
        stiffness = point.floor_price / point.spends + point.cap_price / (self._caps - point.spends)
        stiffness = stiffness / (1 - retained) ** 2
        bend = self._demand * self._response.saturation_rate(point.adstock) * self.unit**2
        diagonal = bend + stiffness
        diagonal[:, :-1] += retained**2 * stiffness[:, 1:]
        above = -retained * stiffness
        above[:, 0] = 0.0  # each channel's days are a system of their own
        # One row more, of a 1 alone: LAPACK's wrapper takes no system of a single unknown.
        band = np.zeros((2, above.size + 1))
        band[0, :-1], band[1, :-1], band[1, -1] = _by_day(above), _by_day(diagonal), 1.0
        rows = np.zeros((above.size + 1, len(right)))
        rows[:-1] = np.stack([_by_day(side) for side in right], axis=1)
        n, days, channels = above.shape
        solved = solveh_banded(band, rows)[:-1].T
        return np.asarray(solved.reshape(len(right), n, channels, days).swapaxes(2, 3))

    def _adstock(self, spends: Floats) -> Floats:
        """Adstock, in money, of spends (n, days, channels)."""
        adstock, carried, retained = np.empty_like(spends), self._initial, self._retention[:, 0]
        money = spends * self.unit
        for day in range(spends.shape[1]):
            carried = retained * carried + (1 - retained) * money[:, day]
            adstock[:, day] = carried
        return adstock

    def _carried_back(self, marginal: Floats) -> Floats:
        """Compute the derivative by each spend, of what has the derivative `marginal` by each adstock."""
        gradient, retained = np.empty_like(marginal), self._retention[:, 0]
        later = np.zeros_like(marginal[:, 0])
        for day in reversed(range(marginal.shape[1])):
            later = marginal[:, day] + retained * later
            gradient[:, day] = (1 - retained) * later
        return gradient

    def _in_adstock(self, by_spend: Floats) -> Floats:
        """Compute the derivative by each adstock, of what has the derivative `by_spend`: undo `_carried_back`."""
        inner = by_spend / (1 - self._retention)
        inner[:, :-1] -= self._retention * inner[:, 1:]
        return np.asarray(inner)

    def _in_spends(self, adstock: Floats) -> Floats:
        """Compute the changes of the spends that make these changes of the adstock."""
        spends = adstock.copy()
        spends[:, 1:] -= self._retention * adstock[:, :-1]
        return np.asarray(spends / (1 - self._retention))


def _total(values: Floats) -> Floats:
    return np.asarray(values.sum(axis=(1, 2), keepdims=True))


def _by_day(values: Floats) -> Floats:
    """In one row, each channel's days together."""
    return np.asarray(values.swapaxes(1, 2).ravel())


def _length(*bounded: tuple[Floats, Floats]) -> Floats:
    """How far (n, 1, 1) a step may go, at most 1, so that each value, plus its change, stays above 0."""
    with np.errstate(divide="ignore", over="ignore"):
        shares = [
            np.where(change < 0, value / np.where(change < 0, -change, 1.0), np.inf).min(axis=(1, 2), keepdims=True)
            for value, change in bounded
        ]
    return np.asarray(np.minimum(1.0, TO_THE_BOUNDARY * np.minimum.reduce(shares)))
