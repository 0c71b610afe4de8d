"""How fast a version is on this machine, measured once and before it answers."""

import time
from typing import Any

from numpy.typing import NDArray

from polserve.serving.policy import Policy
from polserve.serving.settings import Batching
from polserve.serving.versions import Pace

PROBE = 16
"""Observations in the batch that is timed."""
RUNS = 5
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
    further_s = max((batch_s - alone_s) / (PROBE - 1), batch_s / PROBE * LEAST)
    return Pace(alone_s, further_s, is_batched=pays if batching == "auto" else batching == "on")


def _fastest_s(policy: Policy, observations: NDArray[Any]) -> float:
    """Seconds of the shortest of a few runs: what else the machine does only ever makes a run longer."""
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        policy.act(observations)
        times.append(time.perf_counter() - started)
    return min(times)
