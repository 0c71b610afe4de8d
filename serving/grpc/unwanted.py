"""What clients go on sending after their calls were answered: as little of it as can be."""

from collections.abc import Callable

MOST_WITHHELD_BYTES = 4 << 20
"""Bytes that are not acknowledged, at most: the connection's other calls need its window, too."""


class Unwanted:
    """The rest of messages that nobody reads, on one connection.

    What has come is acknowledged when the stream ends, so that the client is not asked for more: gRPC's clients stop by
    themselves when they are answered, and others may send a message to its end.
    """

    __slots__ = ("_acknowledge", "_n_bytes", "withheld")

    def __init__(self, acknowledge: Callable[[int, int], None]) -> None:
        """`acknowledge`: lets the client send so many bytes more, by the number of the stream and the bytes."""
        self._acknowledge = acknowledge
        self.withheld: dict[int, int] = {}
        """Bytes that are not acknowledged, by stream."""
        self._n_bytes = 0

    def take(self, stream_id: int, n_bytes: int) -> None:
        """Take notice that so many bytes have come on a stream that was answered."""
        if not n_bytes:  # an empty frame takes nothing of the window
            return
        if self._n_bytes + n_bytes > MOST_WITHHELD_BYTES:
            self._acknowledge(stream_id, n_bytes)
            return
        self.withheld[stream_id] = self.withheld.get(stream_id, 0) + n_bytes
        self._n_bytes += n_bytes

    def forget(self, stream_id: int) -> None:
        """Give the connection's window back what a stream took of it, now that the stream has ended."""
        n_bytes = self.withheld.pop(stream_id, 0)
        self._n_bytes -= n_bytes
        self._acknowledge(stream_id, n_bytes)
