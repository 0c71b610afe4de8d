"""Whether a candidate may become champion: a pure decision on a comparison."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line names rules without paying for numpy and scipy
    from polserve.training.evaluation.comparison import Comparison, Estimate

LEAST_GAMES = 30
"""Of each policy; a bootstrap of fewer errs more often than it says."""
MOST_GAMES = 10_000
LAST_SEED = 2**31 - 1
"""The largest that Gymnasium and the Arcade Learning Environment both take."""


class Rule(StrEnum):
    """What the games must show."""

    BETTER = "better"
    """The candidate returns more: the interval of the difference lies above zero."""
    NOT_WORSE = "not-worse"
    """It does not return less by more than a margin: the interval lies above minus the margin."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """How a promotion is decided; docs/promotion.md argues the defaults."""

    rule: Rule = Rule.BETTER
    margin: float = 0.05
    """What a candidate may lose, as a part of the champion's figure; under 0.05 a return is replaced by its like."""
    episodes: int = 300
    """Games of each: enough to show a gap of 10 % at the spread of Ms. Pac-Man in 9 of 10 promotions."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the candidate may become champion, and why."""

    is_allowed: bool
    reason: str


def decide(comparison: "Comparison", criteria: Criteria) -> Decision:
    """Allow a candidate that the rule finds fit by its interquartile mean, unless its mean may have fallen.

    The interquartile mean does not see the worst quarter of the games: a candidate that fails in every fifth one has
    the same as one that never does. So under either rule the difference of the means must lie above minus the margin.

    NOTE: every condition says what is needed, so that a NaN allows nothing.
    """
    iqm, mean = comparison.iqm_difference, comparison.mean_difference
    iqm_margin = criteria.margin * abs(comparison.champion.iqm)
    mean_margin = criteria.margin * abs(comparison.champion.mean)
    if criteria.rule is Rule.BETTER and not iqm.low > 0:
        verdict = "it is worse" if iqm.high < 0 else "it is not shown to be better"
        return Decision(is_allowed=False, reason=f"{verdict}: {_stated('IQM', iqm, comparison)}")
    if criteria.rule is Rule.NOT_WORSE and not iqm.low >= -iqm_margin:
        verdict = "it is worse" if iqm.high < 0 else "it may be worse"
        reason = f"{verdict}: {_stated('IQM', iqm, comparison)}, below the margin of {-iqm_margin:,.4g}"
        return Decision(is_allowed=False, reason=reason)
    if not mean.low >= -mean_margin:
        reason = f"its worst games may be worse: {_stated('mean', mean, comparison)}, below {-mean_margin:,.4g}"
        return Decision(is_allowed=False, reason=reason)
    verdict = "it is better" if iqm.low > 0 else "it is not worse"
    return Decision(is_allowed=True, reason=f"{verdict}: {_stated('IQM', iqm, comparison)}")


def _stated(name: str, difference: "Estimate", comparison: "Comparison") -> str:
    return (
        f"difference of {name} {difference.value:+,.4g}, {comparison.confidence:.0%} interval "
        f"{difference.low:+,.4g} to {difference.high:+,.4g}, over {comparison.episodes} games"
    )
