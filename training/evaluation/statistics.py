"""Summaries of returns; pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polserve.protos.shared.figures import figure

RESAMPLES = 10_000
"""Bootstrap resamples; the interval's ends move by well under 1 % of its width from one draw to another."""
CUT = 0.25
"""Part of the returns at either end that an interquartile mean leaves out."""


@dataclass(frozen=True, slots=True)
class ReturnSummary:
    """The returns of n episodes in numbers, with an interval of their mean."""

    episodes: int
    mean: float
    median: float
    iqm: float
    """The interquartile mean, that of the middle half (Agarwal et al. 2021)."""
    standard_deviation: float
    interval_low: float
    """The lower end of the interval of the mean, by percentile bootstrap."""
    interval_high: float
    confidence: float

    def __str__(self) -> str:
        """Mean with its interval, in a line."""
        interval = f"[{figure(self.interval_low)}, {figure(self.interval_high)}]"
        return f"mean return {figure(self.mean)} {interval} over {self.episodes} episodes"


def summarise(returns: Sequence[float] | NDArray[np.float64], confidence: float = 0.95) -> ReturnSummary:
    """Summarise the returns of at least two episodes.

    Raises:
        ValueError: there are fewer than two returns.
    """
    from scipy import stats  # which takes a second to import, and a process that plays games never needs

    values = np.asarray(returns, np.float64)
    if values.size < 2:  # noqa: PLR2004 - a spread needs two
        raise ValueError(f"a summary needs at least two returns, got {values.size}")
    if np.ptp(values) == 0:
        low = high = float(values[0])
    else:
        interval = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=RESAMPLES,
            confidence_level=confidence,
            method="percentile",
            batch=max(1, 10_000_000 // values.size),  # numbers held at once
            rng=np.random.default_rng(0),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return ReturnSummary(
        episodes=int(values.size),
        mean=float(values.mean()),
        median=float(np.median(values)),
        iqm=float(stats.trim_mean(values, CUT)),
        standard_deviation=float(values.std(ddof=1)),
        interval_low=low,
        interval_high=high,
        confidence=confidence,
    )


def bin_range(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of a histogram of the values, far enough apart for bins though they be large and alike."""
    lowest, highest = min(values), max(values)
    least = max(1.0, 1e-6 * abs(lowest), 1e-6 * abs(highest)) / 2
    return (lowest, highest) if highest - lowest > 1e-6 * least else (lowest - least, highest + least)
