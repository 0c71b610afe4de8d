"""By how much one policy is better than another in the same games."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from polserve.training.evaluation.comparison import compare

Returns = NDArray[np.float64]


def games(n: int = 200, gap: float = 0.0, shared: float = 0.0) -> tuple[Returns, Returns]:
    """Returns of two policies around 1,000 with a spread of 200, of which the seeds account for a part."""
    rng = np.random.default_rng(n)
    luck = rng.normal(size=n) * np.sqrt(shared)
    ours, theirs = 1_000 + 200 * (luck + rng.normal(size=(2, n)) * np.sqrt(1 - shared))
    return ours * (1 + gap), theirs


def iqm_difference(ours: Returns, theirs: Returns, axis: int = -1) -> Returns:
    return np.asarray(stats.trim_mean(ours, 0.25, axis=axis) - stats.trim_mean(theirs, 0.25, axis=axis))


def test_the_figures_are_those_of_their_definitions() -> None:
    ours, theirs = games(201)
    comparison = compare(ours, theirs)
    assert comparison.candidate.iqm == stats.trim_mean(ours, 0.25)
    assert comparison.iqm_difference.value == pytest.approx(float(iqm_difference(ours, theirs)))
    assert comparison.mean_difference.value == pytest.approx(np.mean(ours - theirs))
    assert comparison.candidate.standard_deviation == pytest.approx(np.std(ours, ddof=1))


def test_the_interval_is_that_of_a_bootstrap_which_writes_its_resamples_out() -> None:
    ours, theirs = games(101, gap=0.05, shared=0.3)
    expected = stats.bootstrap(
        (ours, theirs), iqm_difference, paired=True, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    interval = compare(ours, theirs).iqm_difference
    width = expected.high - expected.low
    assert interval.low == pytest.approx(expected.low, abs=0.05 * width)
    assert interval.high == pytest.approx(expected.high, abs=0.05 * width)


def test_the_probability_of_improvement_is_mann_whitneys_and_a_tie_is_half_a_win() -> None:
    ours, theirs = (np.round(returns, -2) for returns in games(gap=0.1))
    improvement = compare(ours, theirs).improvement
    assert improvement.value == pytest.approx(stats.mannwhitneyu(ours, theirs).statistic / 200**2)
    assert improvement.low < improvement.value < improvement.high


def test_what_a_seed_gives_to_both_cancels_out() -> None:
    apart, together = (compare(*games(shared=shared)).iqm_difference for shared in (0.0, 0.9))
    assert together.high - together.low < 0.5 * (apart.high - apart.low)


def test_equal_returns_at_a_ceiling_differ_by_zero_for_sure() -> None:
    comparison = compare([500.0] * 50, [500.0] * 50)
    assert (comparison.iqm_difference.value, comparison.iqm_difference.low, comparison.iqm_difference.high) == (0, 0, 0)
    assert (comparison.improvement.low, comparison.improvement.high) == (0.5, 0.5)


def test_rounding_is_no_difference() -> None:
    comparison = compare([0.1] * 49 + [0.7], [0.1] * 49 + [-0.3])
    assert (comparison.iqm_difference.low, comparison.iqm_difference.high) == (0, 0)


def test_the_same_returns_give_the_same_interval() -> None:
    assert compare(*games(60)) == compare(*games(60))


@pytest.mark.parametrize(("ours", "theirs"), [(3, 4), (1, 1)])
def test_games_that_are_no_pairs_are_not_compared(ours: int, theirs: int) -> None:
    with pytest.raises(ValueError, match="two games or more of each, in pairs"):
        compare(np.zeros(ours), np.zeros(theirs))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_returns_that_are_no_numbers_are_not_compared(odd: float) -> None:
    ours, theirs = games(60)
    ours[5] = odd
    for pair in ((ours, theirs), (theirs, ours)):
        with pytest.raises(ValueError, match="finite returns"):
            compare(*pair)
