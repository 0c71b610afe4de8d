"""What the spends of a history say of how far its curves can be trusted, whatever the fit."""

from dataclasses import dataclass

import numpy as np

from polserve.training.tasks.adbudget.contexts import DAYS_A_WEEK
from polserve.training.tasks.adbudget.curves.response import Floats
from polserve.training.tasks.adbudget.history.history import History

LEAST_VARIATION = 0.1
"""A channel whose spend varies less looks like sales that come anyway."""
MOST_CORRELATION = 0.95
"""Greatest correlation of two channels' spends that can still be told apart."""
STANDARD_ERRORS = 2.5
"""Beyond as many, a correlation of weeks is none of chance."""
LEAST_MOVEMENT = 0.02
"""Standard deviation of the logarithm of demand, below which there is none to move with."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What the spends of a channel say of how far its curve can be trusted."""

    variation: float
    """Standard deviation of the spend over all days, to its mean."""
    twin: str
    """A channel whose spends move as this one's do, so that nothing tells the two apart; "" for none."""
    demand_correlation: float
    """Correlation of the weekly spend with trend, season and events."""
    lead_correlation: float
    """Correlation of the weekly spend with what the week before sold beyond the fit."""
    by_chance: float
    """Correlation that weeks of pure chance hardly exceed."""

    @property
    def flaw(self) -> str | None:
        """Reason why no history of such spends tells the curve."""
        if self.variation < LEAST_VARIATION:
            return f"its spend varies by {self.variation:.0%} only, which looks like sales that come anyway"
        return f"its spend moves as that of {self.twin} does" if self.twin else None

    @property
    def confounding(self) -> str | None:
        """Reason why sales may move with the spend, and not for it."""
        if abs(self.demand_correlation) > self.by_chance:
            return (
                f"its spend moves with demand (correlation {self.demand_correlation:.2f} with trend, season, events): "
                "where the fit misses some of that demand, it takes it for an effect of the spend"
            )
        if self.lead_correlation > self.by_chance:
            return f"its spend follows the sales of the week before (correlation {self.lead_correlation:.2f})"
        return None


def read_signs(history: History, index: int, demand: Floats, surplus: Floats) -> Signs:
    """Look at the spends of channel `index` beside demand (days,), and what was sold beyond the fit (days,)."""
    spend = history.spends[:, index]
    weekly, movement, sold = (_by_week(days) for days in (spend, np.log(demand), surplus))
    moves = movement.std() > LEAST_MOVEMENT
    return Signs(
        variation=float(spend.std() / spend.mean()),
        twin=_twin(history, index),
        demand_correlation=correlation(weekly, movement) if moves else 0.0,
        lead_correlation=correlation(np.diff(weekly), sold[:-1]),
        by_chance=STANDARD_ERRORS / np.sqrt(len(weekly)),
    )


def _by_week(days: Floats) -> Floats:
    """Mean of each whole week."""
    weeks = len(days) // DAYS_A_WEEK
    return np.asarray(days[: weeks * DAYS_A_WEEK].reshape(weeks, DAYS_A_WEEK).mean(axis=1))


def correlation(one: Floats, other: Floats) -> float:
    """Compute the correlation of two series; 0 where one never changes."""
    one, other = one - one.mean(), other - other.mean()
    size = np.sqrt((one @ one) * (other @ other))
    return float(one @ other / size) if size > 0 else 0.0


def _twin(history: History, index: int) -> str:
    """Channel that is hardest to tell from channel `index`, if it cannot be; "" for none."""
    for other, name in enumerate(history.channels):
        if other != index and correlation(*history.spends[:, [index, other]].T) > MOST_CORRELATION:
            return name
    return ""
