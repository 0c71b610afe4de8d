"""What clients go on sending after their calls were answered: as little of it as can be."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from polserve.serving.grpc.connection import Connection

MOST_WITHHELD_BYTES = 4 << 20
"""Bytes that are not acknowledged, at most: the connection's other calls need its window, too."""


class Unwanted:
    """The rest of messages that nobody reads, on one connection.

    What has come is acknowledged when the stream ends, so that the client is not asked for more: gRPC's clients stop by
    themselves when they are answered, and others may send a message to its end.
    """

    __slots__ = ("_connection", "_withheld", "n_bytes")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._withheld: dict[int, int] = {}
        """Bytes by stream."""
        self.n_bytes = 0
        """Bytes that are not acknowledged."""

    def take(self, stream_id: int, n_bytes: int) -> None:
        """Take notice that so many bytes have come on a stream that was answered."""
        if self.n_bytes + n_bytes > MOST_WITHHELD_BYTES:
            self._connection.acknowledge(stream_id, n_bytes)
            return
        self._withheld[stream_id] = self._withheld.get(stream_id, 0) + n_bytes
        self.n_bytes += n_bytes

    def forget(self, stream_id: int) -> None:
        """Give the connection's window back what a stream took of it, now that the stream has ended."""
        n_bytes = self._withheld.pop(stream_id, 0)
        self.n_bytes -= n_bytes
        self._connection.acknowledge(stream_id, n_bytes)
