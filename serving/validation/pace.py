"""How fast a version is on this machine, measured once and before it answers."""

import time
from collections import defaultdict
from typing import Any

from numpy.typing import NDArray

from polserve.protos.shared.golden import BATCHES
from polserve.serving.policy import Answer, Policy
from polserve.serving.versions import Batching, Pace

PROBE = max(BATCHES)
"""Observations in the batch that is timed: one of those of the golden replay, whose runs count."""
LARGE_PROBE = 256
"""Observations in a second batch that is timed, of versions that are fast enough for it."""
LARGE_PROBE_S = 2e-3
"""Longest time that the second batch may take, by what the first one took."""
RUNS = 5
"""Fewest runs of each size."""
SHORT_S = 1e-3
"""Short runs are repeated for so long: there is so much more that can make one longer."""
LONG_RUNS, LONG_S = 2, 1e-2
"""As few runs do where they took so long together: what else the machine does makes them little longer."""
LEAST = 1 / 8
"""A further observation takes at least this share of the batch's mean: the two runs that are compared are short."""
WORTH = 0.8
"""Batching pays where an observation in a batch takes at most this share of a lone one's time."""


class TimedRuns:
    """A policy, and how long each of its runs took.

    By the clock of this thread, which does all the work of a run: on a full machine, others have the processor in the
    middle of nearly every run.
    """

    def __init__(self, policy: Policy) -> None:
        """Start with no run."""
        self.policy = policy
        self._times_s = defaultdict[int, list[float]](list)

    def act(self, observations: NDArray[Any], *, with_values: bool = False) -> Answer:
        """Answer observations (n, *shape) as the policy does."""
        started = time.thread_time()
        answer = self.policy.act(observations, with_values=with_values)
        self._times_s[len(observations)].append(time.thread_time() - started)
        return answer

    def fastest_s(self, n: int) -> float:
        """Seconds of the shortest run on n observations: what else the machine does only ever makes a run longer.

        Where there were too few of them, some on observations of zeros are added.
        """
        times_s = self._times_s[n]
        while not _is_enough(len(times_s), sum(times_s)):
            self.act(self.policy.zeros(n))
        return min(times_s)


def measure_pace(runs: TimedRuns, batching: Batching = "auto") -> Pace:
    """Time a policy, by what was run before and by what that lacks; decide whether its calls are answered in batches.

    Args:
        runs: of the version to time.
        batching: "on" or "off" decides; with "auto" a version is batched where that pays.
    """
    alone_s, batch_s = runs.fastest_s(1), runs.fastest_s(PROBE)
    pays = batch_s / PROBE < WORTH * alone_s
    further_s = _further_s(alone_s, batch_s, PROBE)
    if batch_s / PROBE * LARGE_PROBE <= LARGE_PROBE_S:  # the more there are, the less the first one's share matters
        further_s = _further_s(alone_s, runs.fastest_s(LARGE_PROBE), LARGE_PROBE)
    return Pace(alone_s, further_s, is_batched=pays if batching == "auto" else batching == "on")


def _further_s(alone_s: float, batch_s: float, n: int) -> float:
    """Seconds of each further observation, where a batch of n took so long."""
    return max((batch_s - alone_s) / (n - 1), batch_s / n * LEAST)


def _is_enough(runs: int, total_s: float) -> bool:
    return (runs >= RUNS and total_s >= SHORT_S) or (runs >= LONG_RUNS and total_s >= LONG_S)
