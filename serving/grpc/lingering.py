"""Streams that were answered and that their clients have not ended: they are freed, but not before the answer is read.

A reset that overtakes the answer loses it: proxies drop what they have not passed on when they see one.
"""

import time
from typing import TYPE_CHECKING

from polserve.serving.http2 import engine

if TYPE_CHECKING:
    from polserve.serving.grpc.connection import Connection

LINGER_S = 0.05
"""Time that a client has to end a stream that was answered, before it is reset."""
LONGEST_S = 1.0
"""Time after which a stream is reset though its client has not read everything."""


class Lingering:
    """Resets the streams of one connection that their clients leave open: those that are due, all at once."""

    __slots__ = ("_answered", "_connection", "_is_waiting")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._answered: dict[int, float] = {}
        """When each such stream was answered, by the monotonic clock; the oldest first."""
        self._is_waiting = False

    def reset_later(self, stream_id: int) -> None:
        """Free a stream, once its client has read the answer or has had the time to."""
        self.note(stream_id, time.monotonic())
        self.wait()

    def note(self, stream_id: int, now: float) -> None:
        """Take notice of a stream that was answered now; `wait` frees all that were."""
        self._answered[stream_id] = now

    def forget(self, stream_id: int) -> None:
        """Take notice of a stream that its client has ended."""
        self._answered.pop(stream_id, None)

    def wait(self) -> None:
        """See to it that what was answered is freed."""
        if self._answered and not self._is_waiting:
            self._is_waiting = True
            self._connection.loop.call_later(LINGER_S, self._reset_due)

    def _reset_due(self) -> None:
        self._is_waiting = False
        connection, answered = self._connection, self._answered
        if not answered or connection.is_gone:
            return
        connection.flush()  # a reset takes away the headers, too, that were not sent yet
        if connection.is_gone:
            return
        now, is_unsent = time.monotonic(), connection.h2.want_write
        for stream_id, since in list(answered.items()):
            if since > now - LINGER_S:
                break
            try:
                is_unread = is_unsent or connection.h2.queued_body_size(stream_id)
                if is_unread and since > now - LONGEST_S:
                    continue
                connection.h2.reset_stream(stream_id, engine.ErrorCode.NO_ERROR)
            except engine.NGH2Error:  # it has ended
                pass
            del answered[stream_id]
        connection.rounds.touch(connection)
        self.wait()
