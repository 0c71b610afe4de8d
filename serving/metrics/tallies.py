"""What was counted and is not published yet: a call would change a dozen metrics, and each change takes a lock."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Histogram
from prometheus_client.registry import Collector

MANY = 64
"""Numbers from which numpy puts them into buckets sooner than Python does."""


class CounterTally:
    """What a counter rises by when it is published."""

    __slots__ = ("_counter", "n")

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self.n: float = 0
        """Amount that is not published yet."""

    def publish(self) -> None:
        """Let the counter rise."""
        if self.n:
            self._counter.inc(self.n)
            self.n = 0


class HistogramTally:
    """Values that a histogram observes when they are published, by one change of each bucket instead of one a value."""

    __slots__ = ("_bounds", "_counts", "_histogram", "_n", "_total")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        # NOTE: prometheus-client has no public way to do it; a test compares the outcome with that of `observe`.
        self._bounds: Sequence[float] = histogram._upper_bounds  # noqa: SLF001
        self._counts = [0] * len(self._bounds)
        self._total = 0.0
        self._n = 0

    def add(self, value: float, n: int = 1) -> None:
        """Observe a value n times."""
        self._counts[bisect_left(self._bounds, value)] += n
        self._total += value * n
        self._n += n

    def add_all(self, values: NDArray[Any]) -> None:
        """Observe each of the values (n,)."""
        if len(values) < MANY:
            for value in values.tolist():
                self.add(value)
            return
        places = np.searchsorted(self._bounds, values, "left")
        for i, n in enumerate(np.bincount(places, minlength=len(self._counts)).tolist()):
            self._counts[i] += n
        self._total += float(values.sum(dtype=np.float64))
        self._n += len(values)

    def publish(self) -> None:
        """Let the histogram observe them."""
        if not self._n:
            return
        self._histogram._sum.inc(self._total)  # noqa: SLF001
        for i, n in enumerate(self._counts):
            if n:
                self._histogram._buckets[i].inc(n)  # noqa: SLF001
                self._counts[i] = 0
        self._total, self._n = 0.0, 0


class PublishedFirst(Collector):
    """A collector without metrics of its own: those that are registered after it are published before they are read."""

    def __init__(self) -> None:
        self.publish: Callable[[], None] = lambda: None
        """Publishes what was counted, before this returns."""

    def describe(self) -> Iterator[Any]:
        """Return no metrics."""
        return iter(())

    def collect(self) -> Iterator[Any]:
        """Publish; return no metrics."""
        self.publish()
        return iter(())
