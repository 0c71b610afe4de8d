"""Streams that were answered and that their clients have not ended: they are freed, but not before the answer is read.

A reset that overtakes the answer loses it: proxies drop what they have not passed on when they see one.
"""

from typing import TYPE_CHECKING

from polserve.serving.http2 import engine

if TYPE_CHECKING:
    from polserve.serving.grpc.connection import Connection

LINGER_S = 0.05
"""Time that a client has to end a stream that was answered, before it is reset."""
MOST_LINGERING = 20
"""Most such periods; after them a stream is reset though its client has not read everything."""


class Lingering:
    """Resets the streams of one connection that their clients leave open."""

    __slots__ = ("_connection",)

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    def reset_later(self, stream_id: int, n_waited: int = 0) -> None:
        """Free a stream, once its client has read the answer or has had the time to."""
        self._connection.loop.call_later(LINGER_S, self._reset, stream_id, n_waited + 1)

    def _reset(self, stream_id: int, n_waited: int) -> None:
        connection = self._connection
        if connection.is_gone:
            return
        connection.flush()  # a reset takes away the headers, too, that were not sent yet
        if connection.is_gone:
            return
        try:
            is_unsent = connection.h2.want_write or connection.h2.queued_body_size(stream_id)
            if is_unsent and n_waited < MOST_LINGERING:
                self.reset_later(stream_id, n_waited)
                return
            connection.h2.reset_stream(stream_id, engine.ErrorCode.NO_ERROR)
        except engine.NGH2Error:  # it has ended
            return
        connection.rounds.touch(connection)
