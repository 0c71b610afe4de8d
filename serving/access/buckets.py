"""How often something may happen: a bucket for each of those who do it, which refills with time."""

import time
from collections.abc import Hashable

MOST_KEPT = 10_000
"""Buckets that are kept; beyond that all are forgotten, which is to say full."""


class Buckets:
    """Buckets of one size; used by one thread, or under a lock."""

    def __init__(self, per_s: float, at_once: float) -> None:
        """Let each do something so many times a second, and so many times in a row."""
        self._per_s, self._at_once = per_s, at_once
        self._left: dict[Hashable, tuple[float, float]] = {}
        """What is left in each bucket, and when that was noted."""

    def is_empty(self, key: Hashable) -> bool:
        """Whether a bucket has less than one left."""
        return self._now_left(key, time.monotonic()) < 1.0

    def take(self, key: Hashable) -> float:
        """Take one from a bucket; return 0, or the seconds until there is one to take."""
        now = time.monotonic()
        left = self._now_left(key, now)
        if len(self._left) >= MOST_KEPT:
            self._left.clear()
        self._left[key] = (left - 1.0 if left >= 1.0 else left, now)
        return 0.0 if left >= 1.0 else (1.0 - left) / self._per_s

    def _now_left(self, key: Hashable, now: float) -> float:
        left, noted_at = self._left.get(key, (self._at_once, now))
        return min(self._at_once, left + self._per_s * (now - noted_at))
