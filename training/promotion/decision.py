"""What decides a promotion: the rule, its criteria, and the decision; light to import, and without effects."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from polserve.training.errors import require

if TYPE_CHECKING:  # the command line names rules without paying for numpy and scipy
    from polserve.training.evaluation.comparison import Comparison, Estimate
    from polserve.training.promotion.evidence import Evidence

LEAST_GAMES = 30
"""The fewest games of each policy; a bootstrap of fewer errs more often than it says."""
MOST_GAMES = 10_000
"""The most games of each policy."""
LAST_SEED = 2**31 - 1
"""The largest seed that Gymnasium and the Arcade Learning Environment both take."""


class Rule(StrEnum):
    """The rule that the games must satisfy."""

    BETTER = "better"
    """The candidate returns more: the interval of the difference lies above zero."""
    NOT_WORSE = "not-worse"
    """It does not return less by more than a margin: the interval lies above minus the margin."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """The criteria that the evidence must meet; docs/promotion.md argues the defaults.

    Raises:
        InvalidOption: the margin or the number of episodes is out of range.
    """

    rule: Rule = Rule.BETTER
    margin: float = 0.05
    """The loss that is allowed, as a part of the champion's figure; under 0.05 a return is replaced by its like."""
    episodes: int = 300
    """Games of each: enough to show a gap of 10 % at the spread of Ms. Pac-Man in 9 of 10 promotions."""

    def __post_init__(self) -> None:
        require(0 <= self.margin <= 1, "margin", "0 to 1", self.margin)
        in_range = LEAST_GAMES <= self.episodes <= MOST_GAMES
        require(in_range, "episodes", f"{LEAST_GAMES} to {MOST_GAMES:,}", self.episodes)


class DecisionKind(StrEnum):
    """The kinds of decision on a candidate."""

    PROMOTED = "promoted"
    FORCED = "forced"
    """It was promoted without games, for a reason that a person gave."""
    REFUSED = "refused"
    LOST = "lost"
    """Somebody else moved the alias first."""
    STANDING = "standing"
    """It was champion already."""


@dataclass(frozen=True, slots=True)
class Candidacy:
    """One candidate's try to become champion."""

    policy: str
    candidate: str
    """The version that asks, by its number."""
    champion: str | None
    """The version that it would replace, by its number; None where there is none."""
    criteria: Criteria = Criteria()

    @property
    def name(self) -> str:
        """The candidate's name, as in cartpole/3."""
        return f"{self.policy}/{self.candidate}"

    @property
    def title(self) -> str:
        """A title that says who asks to replace whom."""
        return f"promote {self.name} against {self.champion or 'no champion'}"


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision on a candidate, with its reason and evidence."""

    candidacy: Candidacy
    kind: DecisionKind
    reason: str
    evidence: "Evidence | None" = None
    """The returns of both sides and their comparison; None where nobody played."""
    run_id: str = ""
    """The MLflow run that holds the evidence; "" for none."""

    @property
    def is_champion(self) -> bool:
        """Whether the candidate is @champion now."""
        return self.kind in {DecisionKind.PROMOTED, DecisionKind.FORCED, DecisionKind.STANDING}

    def __str__(self) -> str:
        """Candidate, decision and reason in a line."""
        return f"{self.candidacy.name}: {self.kind}: {self.reason}"


def decide(comparison: "Comparison", criteria: Criteria) -> tuple[DecisionKind, str]:
    """Promote a candidate that the rule finds fit by its interquartile mean, unless its mean may have fallen.

    The interquartile mean does not see the worst quarter of the games: a candidate that fails in every fifth one has
    the same as one that never does. So under either rule the difference of the means must lie above minus the margin.

    Returns:
        Promoted or refused, and the reason in a sentence.

    NOTE: every condition says what is needed, so that a NaN promotes nothing.
    """
    iqm, mean = comparison.iqm_difference, comparison.mean_difference
    iqm_margin = criteria.margin * abs(comparison.champion.iqm)
    mean_margin = criteria.margin * abs(comparison.champion.mean)
    if criteria.rule is Rule.BETTER and not iqm.low > 0:
        finding = "it is worse" if iqm.high < 0 else "it is not shown to be better"
        return DecisionKind.REFUSED, f"{finding}: {_stated('IQM', iqm, comparison)}"
    if criteria.rule is Rule.NOT_WORSE and not iqm.low >= -iqm_margin:
        finding = "it is worse" if iqm.high < 0 else "it may be worse"
        stated = _stated("IQM", iqm, comparison)
        return DecisionKind.REFUSED, f"{finding}: {stated}, below the margin of {-iqm_margin:,.4g}"
    if not mean.low >= -mean_margin:
        stated = _stated("mean", mean, comparison)
        return DecisionKind.REFUSED, f"its worst games may be worse: {stated}, below {-mean_margin:,.4g}"
    finding = "it is better" if iqm.low > 0 else "it is not worse"
    return DecisionKind.PROMOTED, f"{finding}: {_stated('IQM', iqm, comparison)}"


def _stated(name: str, difference: "Estimate", comparison: "Comparison") -> str:
    return (
        f"difference of {name} {difference.value:+,.4g}, {comparison.confidence:.0%} interval "
        f"{difference.low:+,.4g} to {difference.high:+,.4g}, over {comparison.episodes} games"
    )
