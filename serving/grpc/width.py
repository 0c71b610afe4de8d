"""How much of a message a client may send before it is looked at: little under overload, when most is refused."""

from typing import TYPE_CHECKING

from polserve.serving.http2 import engine

if TYPE_CHECKING:
    from polserve.serving.grpc.connection import Connection

NARROW_BYTES = 32 * 1024
"""What is sent of a message under overload before it is wanted: a stack of frames at 84 by 84 fits in."""


class Width:
    """The window of the streams of one connection."""

    __slots__ = ("_connection", "_is_narrow")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._is_narrow = False

    def follow(self) -> None:
        """Narrow the streams where there is overload, and widen them once there is none."""
        connection = self._connection
        is_overloaded = connection.rounds.pressure.is_overloaded_at(connection.received_at)
        if is_overloaded is self._is_narrow:
            return
        self._is_narrow = is_overloaded
        engine.limit_streams(connection.h2, NARROW_BYTES if is_overloaded else engine.STREAM_WINDOW_BYTES)
        connection.rounds.touch(connection)

    def let_in(self, stream_id: int) -> None:
        """Have the rest of a message sent, now that it is wanted."""
        if self._is_narrow:
            engine.widen(self._connection.h2, stream_id)
            self._connection.rounds.touch(self._connection)
