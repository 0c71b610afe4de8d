"""How fast a version is on this machine, measured once and before it answers."""

import time
from typing import Any

from numpy.typing import NDArray

from polserve.serving.policy import Policy
from polserve.serving.versions import Batching, Pace

PROBE = 16
"""Observations in the batch that is timed."""
LARGE_PROBE = 256
"""Observations in a second batch that is timed, of versions that are fast enough for it."""
LARGE_PROBE_S = 2e-3
"""Longest time that the second batch may take, by what the first one took."""
RUNS = 5
"""Fewest runs of each size."""
SHORT_S = 1e-3
"""Short runs are repeated for so long: there is so much more that can make one longer."""
LONG_RUNS, LONG_S = 2, 3e-2
"""As few runs do where they took so long together: what else the machine does makes them little longer."""
LEAST = 1 / 8
"""A further observation takes at least this share of the batch's mean: the two runs that are compared are short."""
WORTH = 0.8
"""Batching pays where an observation in a batch takes at most this share of a lone one's time."""


def measure_pace(policy: Policy, batching: Batching = "auto") -> Pace:
    """Time a policy with observations of zeros, and decide whether its calls are answered in batches.

    Args:
        policy: the version to time.
        batching: "on" or "off" decides; with "auto" a version is batched where that pays.
    """
    alone_s = _fastest_s(policy, policy.zeros(1))
    batch_s = _fastest_s(policy, policy.zeros(PROBE))
    pays = batch_s / PROBE < WORTH * alone_s
    further_s = _further_s(alone_s, batch_s, PROBE)
    if batch_s / PROBE * LARGE_PROBE <= LARGE_PROBE_S:  # the more there are, the less the first one's share matters
        further_s = _further_s(alone_s, _fastest_s(policy, policy.zeros(LARGE_PROBE)), LARGE_PROBE)
    return Pace(alone_s, further_s, is_batched=pays if batching == "auto" else batching == "on")


def _further_s(alone_s: float, batch_s: float, n: int) -> float:
    """Seconds of each further observation, where a batch of n took so long."""
    return max((batch_s - alone_s) / (n - 1), batch_s / n * LEAST)


def _fastest_s(policy: Policy, observations: NDArray[Any]) -> float:
    """Seconds of the shortest of some runs: what else the machine does only ever makes a run longer.

    By the clock of this thread, which does all the work of a run: on a full machine, others have the processor in the
    middle of nearly every run.
    """
    times: list[float] = []
    while not _is_enough(len(times), sum(times)):
        started = time.thread_time()
        policy.act(observations)
        times.append(time.thread_time() - started)
    return min(times)


def _is_enough(runs: int, total_s: float) -> bool:
    return (runs >= RUNS and total_s >= SHORT_S) or (runs >= LONG_RUNS and total_s >= LONG_S)
