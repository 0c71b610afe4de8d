"""Wrong credentials: how many an address may show."""

import time

PER_S = 5.0
"""Failures a second that an address may go on with."""
AT_ONCE = 50.0
"""Failures that an address may have in a row."""
MOST_ADDRESSES = 10_000
"""Addresses that are remembered; beyond that all are forgotten."""


class Failures:
    """The failures of each address, as buckets that refill; used by one thread."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}
        """Failures that an address has left, and when that was noted."""

    def is_over(self, address: str) -> bool:
        """Whether the address has none left."""
        return self._now_left(address, time.monotonic()) < 1.0

    def note(self, address: str) -> None:
        """Take one from the address."""
        now = time.monotonic()
        if len(self._left) >= MOST_ADDRESSES:
            self._left.clear()
        self._left[address] = (max(0.0, self._now_left(address, now) - 1.0), now)

    def _now_left(self, address: str, now: float) -> float:
        left, noted_at = self._left.get(address, (AT_ONCE, now))
        return min(AT_ONCE, left + PER_S * (now - noted_at))
