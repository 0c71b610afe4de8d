"""Whether a candidate may become champion."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from polserve.training.errors import InvalidOption
from polserve.training.evaluation.comparison import Comparison, Estimate, Figure, compare, games_apart
from polserve.training.promotion.decision import Criteria, DecisionKind, Rule, decide

CEILING = [500.0] * 100
BY_CHANCE = 0.0
Returns = list[float] | NDArray[np.float64]


def spread(mean: float, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(mean, 0.1 * abs(mean), 100)


def wild(mean: float, seed: int = 0) -> NDArray[np.float64]:
    """Returns of which one is the mean a thousandfold."""
    returns = spread(mean, seed)
    returns[0] *= 1e3
    return returns


def reaching(
    rng: np.random.Generator, part: float, success: tuple[float, float], failure: tuple[float, float], n: int = 300
) -> NDArray[np.float64]:
    """Returns that differ among themselves, around one mean in the part of the games and around another in the rest."""
    return np.where(rng.random(n) < part, rng.normal(*success, n), rng.normal(*failure, n))


def successes(rng: np.random.Generator, part: float, n: int = 300) -> NDArray[np.float64]:
    return (rng.random(n) < part).astype(float)


def decision(
    comparison: Comparison, rule: Rule, margin: float = 0.05, by_chance: float = BY_CHANCE
) -> tuple[DecisionKind, str]:
    loss_allowed = Criteria().loss_allowed(comparison.champion.mean, by_chance, margin)
    return decide(comparison, rule, loss_allowed)


def allows(comparison: Comparison, rule: Rule, margin: float = 0.05, by_chance: float = BY_CHANCE) -> bool:
    return decision(comparison, rule, margin, by_chance)[0] is DecisionKind.PROMOTED


@pytest.mark.parametrize(
    ("rule", "candidate", "champion", "is_allowed", "reason"),
    [
        (Rule.BETTER, spread(1_100), spread(1_000, 1), True, "it is better: difference of mean"),
        (Rule.BETTER, spread(1_000), spread(1_000, 1), False, "it is not shown to be better"),
        (Rule.BETTER, spread(900), spread(1_000, 1), False, "it is worse"),
        (Rule.BETTER, CEILING, CEILING, False, "it is not shown to be better"),
        (Rule.BETTER, [*CEILING[:80], *CEILING], [*[100.0] * 20, *CEILING[:60], *CEILING], True, "difference of mean"),
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
    kind, found = decision(compare(candidate, champion), rule)
    assert (kind is DecisionKind.PROMOTED) is is_allowed, found
    assert reason in found


@pytest.mark.parametrize("rule", Rule)
def test_failing_in_every_fifth_game_is_seen_though_the_middle_half_is_as_good(rule: Rule) -> None:
    candidate = np.concatenate([spread(600)[:80], np.linspace(0, 1, 20)])
    comparison = compare(candidate, spread(500, 1))
    for deciding, reason in (
        (Figure.MEAN, "it "),
        (Figure.IQM, "its worst games may be worse: difference of mean -"),
    ):
        kind, found = decision(replace(comparison, deciding=deciding), rule)
        assert kind is DecisionKind.REFUSED
        assert reason in found


@pytest.mark.parametrize("rule", Rule)
def test_a_figure_that_is_no_number_allows_nothing(rule: Rule) -> None:
    sound, unknown = compare(wild(1_100), wild(1_000, 1)), Estimate(np.nan, np.nan, np.nan)
    assert allows(sound, rule)
    assert not allows(replace(sound, iqm_difference=unknown), rule)
    assert not allows(replace(sound, mean_difference=unknown), rule)


def test_the_mean_decides_unless_a_few_games_make_all_the_difference_to_it() -> None:
    rng = np.random.default_rng(0)
    assert compare(spread(900), spread(1_000, 1)).deciding is Figure.MEAN
    assert compare(successes(rng, 0.1), successes(rng, 0.9)).deciding is Figure.MEAN
    assert compare(spread(400), CEILING).deciding is Figure.MEAN
    assert compare(CEILING, CEILING).deciding is Figure.MEAN
    assert compare(wild(1_000), wild(1_000, 1)).deciding is Figure.IQM


@pytest.mark.parametrize(("failures", "deciding"), [(5, Figure.IQM), (6, Figure.MEAN)])
def test_failures_count_from_six_on(failures: int, deciding: Figure) -> None:
    champion = [0.0] * failures + [1.0] * (300 - failures)
    comparison = compare([1.0] * 300, champion)
    assert comparison.deciding is deciding
    assert allows(comparison, Rule.BETTER) is (deciding is Figure.MEAN)


@pytest.mark.parametrize("shift", [0.0, -1e6, 1e3])
@pytest.mark.parametrize("scale", [1.0, 1e-150, 1e150])
def test_the_games_apart_are_the_same_whatever_is_added_and_in_whatever_unit(shift: float, scale: float) -> None:
    returns = np.random.default_rng(0).gamma(3, 50, 600)
    assert games_apart((returns + shift) * scale) == pytest.approx(games_apart(returns), rel=1e-6)
    assert games_apart(np.zeros(600)) == 0
    assert games_apart(np.repeat([0.0, 1.0], [9, 591])) == pytest.approx(9)


def test_the_margin_is_a_part_of_what_the_champion_returns_more_than_chance() -> None:
    comparison = compare([450.0] * 100, CEILING)
    assert not allows(comparison, Rule.NOT_WORSE, 0.09)
    assert allows(comparison, Rule.NOT_WORSE, 0.11)
    assert not allows(comparison, Rule.NOT_WORSE, 0.11, by_chance=400.0)
    assert allows(comparison, Rule.NOT_WORSE, 0.51, by_chance=400.0)


def test_a_margin_in_returns_is_taken_as_it_is() -> None:
    assert Criteria(margin_return=12.5).loss_allowed(500.0, 22.0, 0.05) == 12.5
    assert Criteria(margin=0.1).loss_allowed(500.0, 0.0, 0.05) == 50.0
    assert Criteria().loss_allowed(500.0, 0.0, 0.05) == 25.0
    with pytest.raises(InvalidOption, match=r"expected a part, or margin_return, got 0\.1 and 3\.0"):
        Criteria(margin=0.1, margin_return=3.0)


@given(
    shift=st.sampled_from([-1e6, -1_000.0, -100.0, 0.0, 100.0, 1_000.0, 1e6]),
    scale=st.sampled_from([1e-3, 0.5, 1.0, 7.0, 1e4]),
    candidate=st.floats(0.85, 1.15),
    rule=st.sampled_from(Rule),
    is_binary=st.booleans(),
)
@example(shift=-1e6, scale=1e-3, candidate=1.0, rule=Rule.NOT_WORSE, is_binary=True)
@settings(max_examples=30, deadline=None)
def test_the_decision_is_the_same_whatever_is_added_to_returns_and_in_whatever_unit_they_are(
    shift: float,
    scale: float,
    candidate: float,
    rule: Rule,
    is_binary: bool,  # noqa: FBT001 - a case
) -> None:
    if is_binary:
        rng = np.random.default_rng(5)
        ours, theirs, by_chance = (
            successes(rng, candidate * 0.8, 100),
            successes(rng, 0.8, 100),
            0.1037,
        )  # no tie, which rounding would decide
    else:
        ours, theirs, by_chance = spread(1_000 * candidate), spread(1_000, 1), 200.0
    plain = decision(compare(ours, theirs), rule, by_chance=by_chance)[0]
    moved = compare(ours * scale + shift, theirs * scale + shift)
    assert decision(moved, rule, by_chance=by_chance * scale + shift)[0] is plain


@pytest.mark.parametrize(("gap", "lowest", "highest"), [(0.0, 0.0, 0.06), (0.1, 0.9, 1.0)])
def test_it_errs_as_seldom_as_the_guide_says(gap: float, lowest: float, highest: float) -> None:
    rng = np.random.default_rng(0)
    promoted = 0
    for _ in range(150):
        ours, theirs = rng.gamma(25, 40, (2, 150))  # of mean 1,000 and a spread of 20 %
        promoted += allows(compare(ours * (1 + gap), theirs), Rule.BETTER)
    assert lowest <= promoted / 150 <= highest


@pytest.mark.parametrize(
    ("rule", "candidate", "champion", "lowest", "highest"),
    [
        (Rule.BETTER, 0.5, 0.5, 0.0, 0.09),
        (Rule.BETTER, 0.2, 0.05, 0.95, 1.0),
        (Rule.BETTER, 1.0, 0.8, 0.95, 1.0),
        (Rule.NOT_WORSE, 0.76, 0.9, 0.0, 0.01),
        (Rule.NOT_WORSE, 0.95, 0.76, 0.95, 1.0),
    ],
)
def test_success_and_failure_are_told_apart(
    rule: Rule, candidate: float, champion: float, lowest: float, highest: float
) -> None:
    rng = np.random.default_rng(0)
    pairs = 60
    promoted = sum(allows(compare(successes(rng, candidate), successes(rng, champion)), rule) for _ in range(pairs))
    assert lowest <= promoted / pairs <= highest


FAILED, SUCCEEDED, QUICKER, SLOWER = (0.0, 0.02), (1.0, 0.02), (1.015, 0.02), (0.97, 0.02)


@pytest.mark.parametrize(
    ("candidate", "champion", "lowest", "highest"),
    [
        ((0.95, SUCCEEDED), (0.8, SUCCEEDED), 0.95, 1.0),
        ((0.95, SLOWER), (0.8, SUCCEEDED), 0.9, 1.0),
        ((0.93, QUICKER), (0.95, SUCCEEDED), 0.0, 0.05),
        ((0.8, SUCCEEDED), (0.8, SUCCEEDED), 0.0, 0.09),
    ],
)
def test_success_and_failure_are_told_apart_though_no_two_games_return_the_same(
    candidate: tuple[float, tuple[float, float]],
    champion: tuple[float, tuple[float, float]],
    lowest: float,
    highest: float,
) -> None:
    rng = np.random.default_rng(0)
    pairs = 30
    promoted = sum(
        allows(compare(reaching(rng, *candidate, FAILED), reaching(rng, *champion, FAILED)), Rule.BETTER)
        for _ in range(pairs)
    )
    assert lowest <= promoted / pairs <= highest
