"""Measures of a few runs, as Agarwal et al. 2021 advise: interquartile means with stratified bootstrap intervals.

They are those of the package rliable: the interquartile mean leaves out a quarter of all runs at either end, and the
bootstrap draws runs anew within each task.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 10_000
CUT = 0.25
"""Part of the runs at either end that an interquartile mean leaves out."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An interquartile mean with its 95 % interval."""

    iqm: float
    low: float
    high: float


def iqm(runs: NDArray[np.float64]) -> float:
    """Interquartile mean over all runs of all tasks, of any shape."""
    return float(stats.trim_mean(runs, CUT, axis=None))


def interquartile(tasks: Sequence[Sequence[float]]) -> Interval:
    """Interquartile mean over the runs of all tasks, whose runs are drawn anew within each task.

    Raises:
        ValueError: a task has no run.
    """
    arrays = [np.asarray(runs, np.float64) for runs in tasks]
    if not arrays or not all(len(runs) for runs in arrays):
        raise ValueError("an interquartile mean needs at least one run of each task")
    rng = np.random.default_rng(0)
    drawn = [runs[rng.integers(len(runs), size=(RESAMPLES, len(runs)))] for runs in arrays]
    means = stats.trim_mean(np.concatenate(drawn, axis=1), CUT, axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(iqm(np.concatenate(arrays)), float(low), float(high))
