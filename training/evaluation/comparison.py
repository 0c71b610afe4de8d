"""Two policies on the same games: by how much one is better, and how sure that is. Pure functions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from polserve.training.evaluation.statistics import CUT

FloatArray: TypeAlias = NDArray[np.float64]
CountArray: TypeAlias = NDArray[np.uint8]

CONFIDENCE = 0.95
"""The confidence of each interval, both ends together."""
RESAMPLES = 5_000
"""Bootstrap resamples; from one draw to another, 2.5 % beyond an end are 2.3 to 2.7 %."""
BLOCK_NUMBERS = 20_000
"""Numbers of resamples worked on together: so few that memory is not given back and asked for at each block."""
ROUNDING = 16 * float(np.finfo(np.float64).eps)
"""Differences below this part of the values are rounding, and zero."""
FEWEST_APART = 6
"""The fewest games, all others returning one value, in which two policies can be shown to differ: five are all of one
side's by chance in 1 of 32 cases, which is more often than an end of the interval may err, and six in 1 of 64."""


class Figure(StrEnum):
    """Figure of the returns that tells two policies apart."""

    IQM = "IQM"
    """The interquartile mean: a few lucky or unlucky games do not move it, but neither does any failure in fewer than a
    quarter of the games."""
    MEAN = "mean"
    """The mean: it sees every game, and is what a policy is worth."""


@dataclass(frozen=True, slots=True)
class SideStatistics:
    """The returns of one side of a match in numbers."""

    iqm: float
    """The interquartile mean, that of the middle half (Agarwal et al. 2021)."""
    mean: float
    standard_deviation: float

    def of(self, figure: Figure) -> float:
        """Return the value of the figure."""
        return self.iqm if figure is Figure.IQM else self.mean


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval, by percentile bootstrap over the seeds."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A candidate beside the champion, over games on the same seeds."""

    episodes: int
    candidate: SideStatistics
    champion: SideStatistics
    iqm_difference: Estimate
    """The candidate's IQM less the champion's."""
    mean_difference: Estimate
    improvement: Estimate
    """Probability that a game of the candidate's returns more than one of the champion's, of any two games, a tie being
    half a win: the probability of improvement of Agarwal et al. 2021, by Mann and Whitney."""
    confidence: float
    deciding: Figure
    """The figure that suits these returns: the mean, but the IQM where hardly more than a handful of games of both
    together make all the difference to the mean."""

    @property
    def difference(self) -> Estimate:
        """The difference of the deciding figure."""
        return self.iqm_difference if self.deciding is Figure.IQM else self.mean_difference


def compare(
    candidate: Sequence[float] | FloatArray, champion: Sequence[float] | FloatArray, confidence: float = CONFIDENCE
) -> Comparison:
    """Compare returns (n,) and (n,), where game i of both was played on the same seed.

    A resample draws seeds, and takes both games of each: what a lucky seed gives to both cancels out. The resamples are
    the same every time, so the result is a function of the returns alone.

    Raises:
        ValueError: there are fewer than two games, or not as many of the one as of the other, or a return is no finite
            number, of which neither a mean nor an order can be made.
    """
    ours, theirs = np.asarray(candidate, np.float64), np.asarray(champion, np.float64)
    if ours.shape != theirs.shape or ours.ndim != 1 or ours.size < 2:  # noqa: PLR2004 - a spread needs two
        raise ValueError(f"a comparison needs two games or more of each, in pairs; got {ours.shape} and {theirs.shape}")
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        raise ValueError("a comparison needs finite returns")
    sides = _side(ours), _side(theirs)
    scale = float(max(np.abs(ours).max(), np.abs(theirs).max()))
    resampled = np.concatenate([_statistics(counts, ours, theirs) for counts in _blocks(_resamples(ours.size))], axis=1)
    whole = _statistics(np.ones((1, ours.size), np.uint8), ours, theirs)[:, 0]
    ends = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2], axis=1).T
    figures = np.column_stack([whole, ends])
    figures[:2][np.abs(figures[:2]) <= ROUNDING * scale] = 0.0
    iqm, mean, improvement = (Estimate(*map(float, row)) for row in figures)
    return Comparison(ours.size, *sides, iqm, mean, improvement, confidence, _deciding(ours, theirs))


def _deciding(ours: FloatArray, theirs: FloatArray) -> Figure:
    """Choose the figure by both sides together, so that the choice favours neither."""
    return Figure.IQM if 0 < games_apart(np.concatenate([ours, theirs])) < FEWEST_APART else Figure.MEAN


def games_apart(returns: FloatArray) -> float:
    """Count the games that the spread of the returns (n,) rests on: the effective number of Kish 1965; 0 for no spread.

    It is k where k of many games are as far from the median as each other and the rest return the median, n / 3 for
    normal returns, and about 1 for those of a distribution that has no variance.
    """
    scale = float(np.abs(returns).max())
    apart = returns / scale if scale else returns  # squares neither overflow nor vanish
    squares = (apart - np.median(apart)) ** 2
    total = float((squares**2).sum())
    return float(squares.sum()) ** 2 / total if total else 0.0


def _side(returns: FloatArray) -> SideStatistics:
    from scipy import stats  # which takes a second to import, and a process that plays games never needs

    return SideStatistics(float(stats.trim_mean(returns, CUT)), float(returns.mean()), float(returns.std(ddof=1)))


@lru_cache(maxsize=1)
def _resamples(n: int) -> CountArray:
    """Count how often each of n seeds is in each resample (resamples, n); always the same ones."""
    rng, counts = np.random.default_rng(0), np.empty((RESAMPLES, n), np.uint8)
    for block in _blocks(counts):
        rows = len(block)
        cells = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        block[:] = np.bincount(cells.ravel(), minlength=rows * n).reshape(rows, n)
    return counts


def _blocks(counts: CountArray) -> Iterator[CountArray]:
    rows = max(1, BLOCK_NUMBERS // counts.shape[1])
    return (counts[start : start + rows] for start in range(0, len(counts), rows))


def _statistics(counts: CountArray, ours: FloatArray, theirs: FloatArray) -> FloatArray:
    """Compute differences of IQM and mean, and the probability of improvement (3, b), in resamples (b, n) of seeds."""
    n = ours.size
    (sorted_ours, up_to_ours), (sorted_theirs, up_to_theirs) = _ranked(counts, ours), _ranked(counts, theirs)
    below = np.searchsorted(sorted_theirs, ours, "left")
    not_above = np.searchsorted(sorted_theirs, ours, "right")
    games_beaten_twice = up_to_theirs[:, below] + up_to_theirs[:, not_above]
    wins = np.einsum("bn,bn->b", counts.astype(np.float64), games_beaten_twice.astype(np.float64)) / 2
    base = sorted_theirs[0]  # so that sums are exact where returns are large beside their differences
    return np.stack(
        [
            _iqms(sorted_ours - base, up_to_ours) - _iqms(sorted_theirs - base, up_to_theirs),
            counts @ (ours - theirs) / n,
            wins / n**2,
        ]
    )


def _ranked(counts: CountArray, returns: FloatArray) -> tuple[FloatArray, NDArray[np.int32]]:
    """Order the returns (n,), and count the games of each resample that are among the first k of them (b, n + 1)."""
    order = np.argsort(returns)
    up_to = np.zeros((len(counts), returns.size + 1), np.int32)
    np.cumsum(counts[:, order], axis=1, dtype=np.int32, out=up_to[:, 1:])
    return returns[order], up_to


def _iqms(ordered: FloatArray, up_to: NDArray[np.int32]) -> FloatArray:
    """Compute the IQM of each resample (b,): as `scipy.stats.trim_mean` of it, without writing it out."""
    n = ordered.size
    cut = int(CUT * n)
    # Of the games in order, the resample's middle half takes those from number `cut` to number `n - cut`.
    reached = np.clip(up_to, cut, n - cut)
    taken = reached[:, 1:] - reached[:, :-1]
    return np.asarray(taken @ ordered) / (n - 2 * cut)
