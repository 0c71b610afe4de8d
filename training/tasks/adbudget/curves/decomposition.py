"""What the fitted sales of each day are made of: sold anyway, by trend, season, events, weekday, and each channel."""

from dataclasses import dataclass

import numpy as np

from polserve.training.tasks.adbudget.curves.demand import PARTS
from polserve.training.tasks.adbudget.curves.regression import SalesModel
from polserve.training.tasks.adbudget.curves.response import Floats

BASE = "base"


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Parts that add up to the fitted sales of each day.

    Each part of demand is what it adds to the sales without advertising, after those before it; a channel's part is
    what would not have been sold without the channel.
    """

    parts: tuple[str, ...]
    """Base, trend, season, events and weekday."""
    channels: tuple[str, ...]
    sales: Floats  # (days, parts and channels)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts and of the channels, as in `sales`."""
        return self.parts + self.channels

    @property
    def without_advertising(self) -> Floats:
        """Sales of each day (days,) that come without any spend."""
        return np.asarray(self.sales[:, : len(self.parts)].sum(axis=1))

    @property
    def daily(self) -> dict[str, float]:
        """Mean sales a day of each part."""
        return dict(zip(self.names, self.sales.mean(axis=0).tolist(), strict=True))


def decompose(model: SalesModel, parameters: Floats) -> Decomposition:
    """Take the fitted sales of a history apart."""
    terms = model.terms(parameters)
    weights = model.weights(parameters)
    level, added = np.full(len(terms.slow), terms.base), []
    for part in PARTS:
        index = model.design.of(part)
        higher = level * np.exp(model.design.columns[:, index] @ weights[index])
        added.append(higher - level)
        level = higher
    by_channel = (terms.fast * terms.coupled)[:, None] * terms.sold
    sales = np.column_stack([np.full(len(level), terms.base), *added, by_channel])
    return Decomposition((BASE, *PARTS), model.history.channels, sales * model.mean_sales)
