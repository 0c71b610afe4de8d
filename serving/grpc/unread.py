"""Answers that a client does not read: they are bounded for each connection, and over all of them."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from polserve.serving.errors import Overloaded
from polserve.serving.grpc.shared import RETRY_AFTER_S
from polserve.serving.logs import Log
from polserve.serving.statuses import Code, Rejected, Status

if TYPE_CHECKING:
    from polserve.serving.grpc.connection import Connection

FEW_BYTES = 1 << 20
"""Unread bytes of a connection that may stay unread."""

log = Log()


class Unread:
    """What one client has not read of its large answers."""

    __slots__ = ("_answered", "_connection", "_read", "_read_at")

    def __init__(self, connection: "Connection", now: float) -> None:
        self._connection = connection
        self._answered = 0
        """Bytes of large answers so far."""
        self._read, self._read_at = 0, now

    def refusal(self, n_bytes: int) -> Exception | None:
        """Take in a large answer of so many bytes; return why it cannot be sent, or None."""
        most = self._connection.limits.max_message_bytes
        if n_bytes > most:
            details = f"the answer has {n_bytes} bytes, which is more than a message may have"
            return Rejected(Status(Code.RESOURCE_EXHAUSTED, details))
        unread = self._connection.unread_bytes()
        if unread and unread + n_bytes > most:
            return Overloaded(f"{unread} bytes of answers are unread on this connection", RETRY_AFTER_S, "unread")
        self._answered += n_bytes
        return None

    def is_stuck(self, now: float, unread: int) -> bool:
        """Note how many bytes are unread; return whether they are many, and none was read for too long."""
        read = self._answered - unread
        if unread <= FEW_BYTES or read > self._read:
            self._read_at = now
        self._read = read
        return now - self._read_at > self._connection.limits.stall_s


def end_unread(connections: Collection["Connection"], now: float, most_bytes: int) -> None:
    """End the connections whose clients have stopped reading, and of the others those with the most unread answers.

    Args:
        connections: all of them.
        now: by the monotonic clock.
        most_bytes: what may be unread over all connections; where it is more, the largest go.
    """
    unread = {connection: connection.unread_bytes() for connection in connections}
    total = sum(unread.values())
    for connection in sorted(unread, key=unread.__getitem__, reverse=True):
        if connection.unread.is_stuck(now, unread[connection]) or total > most_bytes:
            log.info("answers_unread", client=str(connection.peer), n_bytes=unread[connection])
            connection.abort()
            total -= unread[connection]
