"""Whether a candidate may become champion."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from polserve.training.evaluation.comparison import Comparison, Estimate, compare
from polserve.training.promotion.decision import Criteria, DecisionKind, Rule, decide

CEILING = [500.0] * 100
Returns = list[float] | NDArray[np.float64]


def spread(mean: float, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(mean, 0.1 * abs(mean), 100)


def allows(comparison: Comparison, criteria: Criteria) -> bool:
    return decide(comparison, criteria)[0] is DecisionKind.PROMOTED


@pytest.mark.parametrize(
    ("rule", "candidate", "champion", "is_allowed", "reason"),
    [
        (Rule.BETTER, spread(1_100), spread(1_000, 1), True, "it is better"),
        (Rule.BETTER, spread(1_000), spread(1_000, 1), False, "it is not shown to be better"),
        (Rule.BETTER, spread(900), spread(1_000, 1), False, "it is worse"),
        (Rule.BETTER, CEILING, CEILING, False, "it is not shown to be better"),
        (Rule.NOT_WORSE, CEILING, CEILING, True, "it is not worse"),
        (Rule.NOT_WORSE, [0.0] * 100, [0.0] * 100, True, "it is not worse"),
        (Rule.NOT_WORSE, spread(1_000), spread(1_000, 1), True, "it is not worse"),
        (Rule.NOT_WORSE, spread(1_100), spread(1_000, 1), True, "it is better"),
        (Rule.NOT_WORSE, spread(-100), spread(-100, 1), True, "it is not worse"),
        (Rule.NOT_WORSE, spread(960), spread(1_000, 1), False, "below the margin of -"),
        (Rule.NOT_WORSE, [470.0] * 100, CEILING, False, "it is worse"),
    ],
)
def test_each_rule_allows_what_it_says(
    rule: Rule,
    candidate: Returns,
    champion: Returns,
    is_allowed: bool,  # noqa: FBT001 - a case
    reason: str,
) -> None:
    kind, found = decide(compare(candidate, champion), Criteria(rule))
    assert (kind is DecisionKind.PROMOTED) is is_allowed, found
    assert reason in found


@pytest.mark.parametrize("rule", Rule)
def test_failing_in_every_fifth_game_is_seen_though_the_middle_half_is_as_good(rule: Rule) -> None:
    candidate = [600.0] * 80 + [0.0] * 20
    kind, reason = decide(compare(candidate, CEILING), Criteria(rule))
    assert kind is DecisionKind.REFUSED
    assert "its worst games may be worse: difference of mean -20" in reason


@pytest.mark.parametrize("rule", Rule)
def test_a_figure_that_is_no_number_allows_nothing(rule: Rule) -> None:
    sound, unknown = compare(spread(1_100), spread(1_000, 1)), Estimate(np.nan, np.nan, np.nan)
    assert allows(sound, Criteria(rule))
    assert not allows(replace(sound, iqm_difference=unknown), Criteria(rule))
    assert not allows(replace(sound, mean_difference=unknown), Criteria(rule))


def test_the_margin_is_a_part_of_the_champions_return() -> None:
    comparison = compare([450.0] * 100, CEILING)
    assert not allows(comparison, Criteria(Rule.NOT_WORSE, margin=0.09))
    assert allows(comparison, Criteria(Rule.NOT_WORSE, margin=0.11))


@pytest.mark.parametrize(("gap", "lowest", "highest"), [(0.0, 0.0, 0.06), (0.1, 0.9, 1.0)])
def test_it_errs_as_seldom_as_the_guide_says(gap: float, lowest: float, highest: float) -> None:
    rng = np.random.default_rng(0)
    criteria = Criteria(episodes=150)
    promoted = 0
    for _ in range(150):
        ours, theirs = rng.gamma(25, 40, (2, criteria.episodes))  # of mean 1,000 and a spread of 20 %
        promoted += allows(compare(ours * (1 + gap), theirs), criteria)
    assert lowest <= promoted / 150 <= highest
