"""S-shaped curves: a bound that no plan exceeds, and plans that come near it, by putting a price on money.

Where each unit of money costs a price, channels no longer compete for the budget, and the best spends of one channel
are found by dynamic programming over its adstock. Whatever the price, what the channels then earn, with the budget's
worth at that price, is at least what any plan sells (Lagrangian duality, Everett 1963). The adstock is cut into cells.
What a day sells is bounded from above within each cell, and each step that some adstock of a cell allows is allowed, so
that the cells loosen the bound and never break it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polserve.training.tasks.adbudget.contexts import Context
from polserve.training.tasks.adbudget.curves.response import Floats, Response

CELLS = 1000
"""Cells of a channel's adstock; more tighten the bound."""
PRICES = 28
"""Prices that are tried, by bisection."""
PRICE_RANGE = 1e-6, 1e4
"""Least and greatest price, to all that the channels can sell by all that there is to spend."""
FEWEST = 1e-9
"""What is divided by, in place of no money at all."""

ROUNDING = 1e-12
"""Relative error of an adstock that was computed."""


@dataclass(frozen=True, slots=True)
class Priced:
    """What the channels of n contexts do at one price each, and what that says of all plans."""

    spends: Floats  # (n, channels, days), money; together they may exceed the budget
    bound: Floats  # (n,): no plan is worth more than this


class Pricing:
    """Contexts of one horizon and one number of channels; arrays are (pairs of context and channel, cells)."""

    def __init__(self, contexts: Sequence[Context], cells: int = CELLS) -> None:
        self.n, self.channels = len(contexts), len(contexts[0].channels)
        self.days = contexts[0].horizon_days
        self._response = Response([channel for context in contexts for channel in context.channels])
        self._kept = self._response.retention[:, None]
        self._demand = np.array([context.spend_demand for context in contexts]).swapaxes(1, 2).reshape(-1, self.days)
        self._initial = np.array([context.initial_adstock for context in contexts]).ravel()
        self.budget = np.array([context.budget for context in contexts])
        self._target = np.array([context.target_marginal for context in contexts])
        caps = np.array([context.caps for context in contexts])
        self._caps = np.minimum(caps, self.budget[:, None]).ravel()
        self._edges = self._cut(contexts, cells)
        low, high = self._edges[:, :-1], self._edges[:, 1:]
        self._sold_low, self._sold_high = self._sales(low), self._sales(high)
        self._slope_low, self._slope_high = self._marginal(low), self._marginal(high)
        self._is_convex = high <= np.array([c.inflection for x in contexts for c in x.channels])[:, None] * (1 + 1e-12)
        self._window = _Windows(
            self._edges, self._kept * low, self._kept * high + (1 - self._kept) * self._caps[:, None]
        )

    @property
    def scale(self) -> Floats:
        """All that the channels can sell by all that there is to spend (n,)."""
        most = (self._response.sales_max[:, None] * self._demand).sum(axis=1).reshape(self.n, -1).sum(axis=1)
        return np.asarray(most / np.maximum(self.budget, FEWEST))

    def at(self, price: Floats) -> Priced:
        """Find what the channels do where a unit of money costs `price` (n,), at least 0, beside the target."""
        cost = np.repeat(price + self._target, self.channels)
        value, ahead = np.zeros(self._sold_low.shape), []
        for day in reversed(range(self.days)):
            weight = self._weight(day)
            worth = self._cell_bound(day, (cost * weight)[:, None]) + value
            ahead.append(worth)
            if day:
                value = self._window.best(worth)
        spends, best = self._follow(ahead[::-1], cost)
        refund = cost * self._kept[:, 0] / (1 - self._kept[:, 0]) * self._initial
        earned = (best + refund).reshape(self.n, -1).sum(axis=1)
        return Priced(spends.reshape(self.n, self.channels, self.days), earned + price * self.budget)

    def _weight(self, day: int) -> Floats:
        """Compute what a unit of adstock on a day costs in spends (pairs,): the next day needs so much less."""
        kept = self._kept[:, 0]
        return np.asarray(1 / (1 - kept) if day == self.days - 1 else np.ones_like(kept))

    def _cut(self, contexts: Sequence[Context], cells: int) -> Floats:
        """Edges (pairs, cells + 2) of the cells: finer for little adstock, with an edge at the inflection."""
        most = np.maximum(np.maximum(self._caps, self._initial), FEWEST)[:, None] * (1 + 1e-9)
        inflection = np.array([channel.inflection for context in contexts for channel in context.channels])[:, None]
        edges = most * np.linspace(0, 1, cells + 1) ** 2
        return np.sort(np.concatenate([edges, np.minimum(inflection, most)], axis=1), axis=1)

    def _cell_bound(self, day: int, cost: Floats) -> Floats:
        """Most that an adstock within each cell earns on a day at this cost (pairs, cells).

        Convex stretches earn most at an end. Concave ones stay below both ends' tangents.
        """
        low, high = self._edges[:, :-1], self._edges[:, 1:]
        demand = self._demand[:, day : day + 1]
        at_low, at_high = demand * self._sold_low - cost * low, demand * self._sold_high - cost * high
        up, down = demand * self._slope_low - cost, cost - demand * self._slope_high
        width = high - low
        crossing = np.clip((at_high - at_low + down * width) / np.maximum(up + down, FEWEST), 0.0, width)
        inside = np.where((up > 0) & (down > 0), at_high + down * (width - crossing), -np.inf)
        ends = np.maximum(at_low, at_high)
        return np.where(self._is_convex, ends, np.maximum(ends, inside))

    def _follow(self, ahead: Sequence[Floats], cost: Floats) -> tuple[Floats, Floats]:
        """Spends (pairs, days) that follow the best cells as far as they can; bound (pairs,) on what they earn."""
        kept, adstock = self._kept[:, 0], self._initial
        spends, best = np.zeros((len(adstock), self.days)), np.zeros(len(adstock))
        low, high = self._edges[:, :-1], self._edges[:, 1:]
        rows = np.arange(len(adstock))
        for day, worth in enumerate(ahead):
            least = kept * adstock
            most = least + (1 - kept) * self._caps
            is_reached = (high >= least[:, None]) & (low <= most[:, None])
            reachable = np.where(is_reached, worth, -np.inf)
            cell = reachable.argmax(axis=1)
            if day == 0:
                best = reachable[rows, cell]
            rising = self._demand[:, day] * self._slope_high[rows, cell] > cost
            aimed = np.where(rising, high[rows, cell], low[rows, cell])
            reached = np.clip(aimed, least, most)
            spends[:, day] = (reached - least) / (1 - kept)
            adstock = reached
        return spends, best

    def _sales(self, adstock: Floats) -> Floats:
        return self._response.sales(adstock.T).T

    def _marginal(self, adstock: Floats) -> Floats:
        return self._response.marginal_sales(adstock.T).T


class _Windows:
    """Greatest values over windows of cells, a window per cell; by a table of the maxima of 2, 4, 8 ... neighbours."""

    def __init__(self, edges: Floats, least: Floats, most: Floats) -> None:
        """Cells between `edges` (rows, cells + 1); cell k's window holds what meets `least` to `most` (rows, cells)."""
        rows, cells = least.shape
        first, last = np.empty((2, rows, cells), np.int64)
        for row in range(rows):
            first[row] = np.searchsorted(edges[row, 1:], least[row] * (1 - ROUNDING), side="left")
            last[row] = np.searchsorted(edges[row, :-1], most[row] * (1 + ROUNDING), side="right") - 1
        first = np.minimum(first, cells - 1)
        last = np.maximum(np.minimum(last, cells - 1), first)
        level = np.log2(last - first + 1).astype(np.int64)
        start = np.arange(rows)[:, None] * cells + level * rows * cells
        self._levels = int(level.max()) + 1
        self._left = start + first
        self._right = start + last - 2**level + 1

    def best(self, values: Floats) -> Floats:
        """Greatest of `values` (rows, cells) in the window of each cell."""
        table = [values]
        for level in range(1, self._levels):
            half, before = 2 ** (level - 1), table[-1]
            wider = before.copy()
            np.maximum(before[:, :-half], before[:, half:], out=wider[:, :-half])
            table.append(wider)
        flat = np.concatenate([each.ravel() for each in table])
        return np.asarray(np.maximum(flat[self._left], flat[self._right]))
