"""How a connection ends in good order: its client is told, what is in hand is answered, then it closes."""

from typing import TYPE_CHECKING

from polserve.serving.http2 import engine

if TYPE_CHECKING:
    from polserve.serving.grpc.connection import Connection

NOTICE_S = 1.0
"""Time that a client has to answer the ping after the notice of the end, before its new calls are refused."""

_PING = b"polserve"


class Ending:
    """The end of one connection."""

    __slots__ = ("_connection", "has_begun", "is_clients_wish")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self.has_begun = False
        """Whether the connection closes as soon as what is in hand is answered."""
        self.is_clients_wish = False
        """Whether the client has said that it makes no more calls."""

    @property
    def is_in_order(self) -> bool:
        """Whether an end of the connection is no surprise."""
        return self.has_begun or self.is_clients_wish

    def announce(self) -> None:
        """Tell the client to call elsewhere, and begin once it knows or has had the time to."""
        connection = self._connection
        try:
            connection.h2.send_shutdown_notice()
            connection.h2.ping(_PING)  # the client has read the notice when it answers
        except engine.NGH2Error:
            self.begin()
            return
        connection.rounds.touch(connection)
        connection.loop.call_later(NOTICE_S, self.begin)

    def take_ping_answer(self, event: engine.PingAcknowledged) -> None:
        """Begin, where the client has answered the ping that followed the notice."""
        if event.opaque_data == _PING:
            self.begin()

    def take_goodbye(self, event: engine.GoAwayReceived) -> None:
        """Take notice that the client makes no more calls, unless it complains."""
        self.is_clients_wish = event.error_code == engine.ErrorCode.NO_ERROR

    def begin(self) -> None:
        """Take no more calls; the connection closes once those in hand are answered."""
        if self.has_begun:
            return
        self.has_begun = True
        connection = self._connection
        try:
            connection.h2.send_goaway()
        except engine.NGH2Error:
            connection.abort()
        connection.rounds.touch(connection)
