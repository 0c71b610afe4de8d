"""The response curve of a channel with its interval, and what can be said of it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from polserve.training.tasks.adbudget.curves.lift import LiftEvidence
from polserve.training.tasks.adbudget.curves.response import Floats
from polserve.training.tasks.adbudget.curves.signs import Signs

WIDEST = 0.5
"""An interval at the mean spend that is wider, to its middle, does not tell how to split a budget."""
Verdict: TypeAlias = Literal["identified", "interval", "confounded", "not identified"]
"""Backed by an experiment; an interval, given no confounding; one that something confounds; or not identified."""
SEEN = "observed from {} to {} a day; beyond that the curve is an extrapolation"
REMEDY = "vary its spend from week to week, or run {} lift test, before trusting its curve"


@dataclass(frozen=True, slots=True)
class Curve:
    """Sales a day that a steady daily spend of one channel brings, on a day of average demand."""

    channel: str
    spends: Floats  # (points,), money a day
    sales: Floats  # (points,)
    low: Floats  # (points,) of the 90 % interval
    high: Floats  # (points,)
    observed: tuple[float, float]
    """Least and greatest spend on the days that the channel was used: beyond it, the curve is an extrapolation."""
    mean_spend: float
    """Mean spend on the days that the channel was used."""
    at_mean: tuple[float, float, float]
    """Sales a day at the mean spend: the interval's low end, its middle, and its high end."""
    signs: Signs
    """What the spends alone say of how far the curve can be trusted."""
    lift: LiftEvidence
    """What experiments say of the curve; nothing, where there were none."""
    is_steep: bool = False
    """Whether no concave Hill curve explains the history nearly as well."""

    @property
    def relative_width(self) -> float:
        """Width of the interval at the mean spend, to its middle."""
        low, middle, high = self.at_mean
        return (high - low) / middle if middle > 0 else float("inf")

    @property
    def verdict(self) -> Verdict:
        """What the history, and experiments if there are any, make of the curve."""
        if self.relative_width > WIDEST or self.lift.contradiction or (self.signs.flaw and not self.lift.backs):
            return "not identified"
        if self.lift.backs:
            return "identified"
        return "confounded" if self.signs.confounding else "interval"

    @property
    def is_identified(self) -> bool:
        """Whether an experiment says what the curve is: a history alone never does."""
        return self.verdict == "identified"

    def statement(self) -> str:
        """Sentence on what can be said of the channel, and what cannot."""
        low, _, high = self.at_mean
        tests = f"{self.lift.tests} lift test{'' if self.lift.tests == 1 else 's'}"
        at = _amount(self.mean_spend)
        interval = f"90 % interval {_amount(low)} to {_amount(high)} of sales a day at the mean spend of {at}"
        remedy = REMEDY.format("another" if self.lift.tests else "a")
        said = {
            "identified": f"identified by {tests}, {interval}",
            "interval": f"{interval}, given no confounding",
            "confounded": f"CONFOUNDED: {self.signs.confounding}; {interval}, if nothing else confounds it",
            "not identified": f"NOT identified by this history: {self._reason}; {interval}; {remedy}",
        }
        is_said = self.verdict == "not identified" and self._reason == self.lift.doubt
        doubt = f"; {self.lift.doubt}" if self.lift.doubt and not is_said else ""
        shape = "; steeper than a concave Hill curve: S-shaped, or soon saturated" if self.is_steep else ""
        return f"{self.channel}: {said[self.verdict]}{doubt}{shape}; {SEEN.format(*map(_amount, self.observed))}"

    @property
    def _reason(self) -> str:
        """Why the curve is not identified."""
        wide = "nothing tells it from none" if self.at_mean[0] <= 0 else f"{self.relative_width:.0%} wide"
        return self.lift.contradiction or self.signs.flaw or wide


def _amount(value: float) -> str:
    """Money or sales in whole units, and with three digits where there are fewer."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == 0 else f"{value:.3g}"  # noqa: PLR2004
