"""Calls of one method: how many began, ended and were refused, and how long they took."""

from typing import Protocol

from prometheus_client import Counter, Histogram

from polserve.serving.metrics.tallies import CounterTally, HistogramTally


class Unpublished(Protocol):
    """Whoever has counted something that is not published yet."""

    def flush(self) -> None:
        """Publish what was counted."""


class RpcMetrics:
    """Calls of one method, by the names that public dashboards know; published by `flush`, many at a time."""

    def __init__(
        self,
        families: tuple[Counter, Counter, Histogram, Counter],
        labels: tuple[str, str, str],
        unpublished: set[Unpublished],
    ) -> None:
        """`families`: calls begun, ended, timed and refused; `unpublished` gets whoever has counted something."""
        started, handled, handling, refused = families
        self._started = CounterTally(started.labels(*labels))
        self._handling = HistogramTally(handling.labels(*labels))
        self._handled, self._refused = handled, refused
        self._labels = labels
        self._unpublished = unpublished
        self._ended: dict[str, CounterTally] = {}
        """Calls that have ended, by their status."""
        self._no_room: dict[str, CounterTally] = {}
        """Calls that were refused, by what there was no room for."""

    def begin(self) -> None:
        """Count a call that has begun."""
        self._started.n += 1
        self._unpublished.add(self)

    def end(self, seconds: float, code: str) -> None:
        """Count a call that has ended with this status, after so many seconds."""
        self._end(seconds, code, 1)

    def turn_away(self, n: int, reason: str, code: str) -> None:
        """Count n calls that have begun, were refused and have ended with this status, all at once."""
        self._started.n += n
        self._refuse(reason, n)
        self._end(0.0, code, n)

    def refuse(self, reason: str) -> None:
        """Count a call that there was no room for; it has ended, too. Reasons are few."""
        self._refuse(reason, 1)

    def _end(self, seconds: float, code: str, n: int) -> None:
        ended = self._ended.get(code)
        if ended is None:
            ended = self._ended[code] = CounterTally(self._handled.labels(*self._labels, code))
        ended.n += n
        self._handling.add(seconds, n)
        self._unpublished.add(self)

    def _refuse(self, reason: str, n: int) -> None:
        refused = self._no_room.get(reason)
        if refused is None:
            refused = self._no_room[reason] = CounterTally(self._refused.labels(self._labels[2], reason))
        refused.n += n
        self._unpublished.add(self)

    def flush(self) -> None:
        """Publish what was counted."""
        self._started.publish()
        self._handling.publish()
        for counter in (*self._ended.values(), *self._no_room.values()):
            counter.publish()
