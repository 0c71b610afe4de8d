"""What decides a promotion: the rule, its criteria, and the decision; light to import, and without effects."""

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING

from polserve.training.errors import require

if TYPE_CHECKING:  # the command line names rules without paying for numpy and scipy
    from polserve.training.evaluation.comparison import Comparison, Estimate
    from polserve.training.promotion.evidence import Evidence

LEAST_GAMES = 30
"""The fewest games of each policy; a bootstrap of fewer errs more often than it says."""
MOST_GAMES = 10_000
"""The most games of each policy."""


class Rule(StrEnum):
    """The rule that the games must satisfy."""

    BETTER = "better"
    """The candidate returns more: the interval of the difference lies above zero."""
    NOT_WORSE = "not-worse"
    """It does not return less by more than the allowed loss: the interval lies above minus that loss."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """The criteria that the evidence must meet; docs/promotion.md argues the defaults.

    Raises:
        InvalidOption: the margin or the number of episodes is out of range.
    """

    rule: Rule = Rule.BETTER
    margin: float | None = None
    """The loss that is allowed, as a part of what the champion returns more than the random policy; None for the part
    that the task states."""
    margin_return: float | None = None
    """The loss that is allowed, in returns, in place of such a part."""
    episodes: int = 300
    """Games of each: enough to show a gap of 10 % at the spread of Ms. Pac-Man in 9 of 10 promotions."""

    def __post_init__(self) -> None:
        require(self.margin is None or 0 <= self.margin <= 1, "margin", "0 to 1", self.margin)
        is_return = self.margin_return is None or 0 <= self.margin_return < inf
        require(is_return, "margin_return", "a return of 0 or more", self.margin_return)
        one = self.margin is None or self.margin_return is None
        require(one, "margin", "a part, or margin_return", f"{self.margin} and {self.margin_return}")
        in_range = LEAST_GAMES <= self.episodes <= MOST_GAMES
        require(in_range, "episodes", f"{LEAST_GAMES} to {MOST_GAMES:,}", self.episodes)

    def loss_allowed(self, champion_mean: float, random_mean: float, task_margin: float) -> float:
        """Loss that a candidate is allowed, in returns.

        It is the same part of the gap whatever is added to all returns, or whatever unit they are in.

        Args:
            champion_mean: mean return of the champion.
            random_mean: mean return of the policy that draws every action at random.
            task_margin: part of the gap between the two that the task allows, where these criteria name none.
        """
        if self.margin_return is not None:
            return self.margin_return
        return (task_margin if self.margin is None else self.margin) * abs(champion_mean - random_mean)


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


def decide(comparison: "Comparison", rule: Rule, loss_allowed: float) -> tuple[DecisionKind, str]:
    """Promote a candidate that the rule finds fit by the figure that suits the returns, unless its mean may have sunk.

    Where the interquartile mean decides, it does not see the worst quarter of the games. So under either rule the
    difference of the means must lie above minus the allowed loss, too.

    Args:
        comparison: the games of both.
        rule: what they must show.
        loss_allowed: in returns, as `Criteria.loss_allowed` gives it.

    Returns:
        Promoted or refused, and the reason in a sentence.

    NOTE: every condition says what is needed, so that a NaN promotes nothing.
    """
    difference, mean = comparison.difference, comparison.mean_difference
    stated = _stated(comparison.deciding, difference, comparison)
    below = f"below the margin of {-loss_allowed:,.4g}"
    if rule is Rule.BETTER and not difference.low > 0:
        finding = "it is worse" if difference.high < 0 else "it is not shown to be better"
        return DecisionKind.REFUSED, f"{finding}: {stated}"
    if rule is Rule.NOT_WORSE and not difference.low >= -loss_allowed:
        finding = "it is worse" if difference.high < 0 else "it may be worse"
        return DecisionKind.REFUSED, f"{finding}: {stated}, {below}"
    if not mean.low >= -loss_allowed:
        return DecisionKind.REFUSED, f"its worst games may be worse: {_stated('mean', mean, comparison)}, {below}"
    finding = "it is better" if difference.low > 0 else "it is not worse"
    return DecisionKind.PROMOTED, f"{finding}: {stated}"


def _stated(name: str, difference: "Estimate", comparison: "Comparison") -> str:
    return (
        f"difference of {name} {difference.value:+,.4g}, {comparison.confidence:.0%} interval "
        f"{difference.low:+,.4g} to {difference.high:+,.4g}, over {comparison.episodes} games"
    )
