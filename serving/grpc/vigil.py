"""Whether a connection is still worth keeping: it has greeted, somebody answers, and it is not too old."""

import contextlib
import random
from typing import TYPE_CHECKING, Literal, TypeAlias

from polserve.serving.grpc.shared import ConnectionLimits
from polserve.serving.grpc.slow import end_slow_writers
from polserve.serving.http2 import engine
from polserve.serving.logs import Log

if TYPE_CHECKING:
    from polserve.serving.grpc.connection import Connection

GREETING_S = 20.0
"""Time that a client has to say that it speaks HTTP/2."""
PROBE_TIMEOUT_S = 20.0
"""Time that a client has to answer a ping, before its connection is taken for dead."""
PING_STRIKES = 2
"""Pings that come too soon, before a client is sent away."""

WRONG_PROTOCOL = b"this port speaks gRPC, over HTTP/2; pages are served on the HTTP port\n"
NOT_HTTP2 = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: "
    b"%d\r\n\r\n%s" % (len(WRONG_PROTOCOL), WRONG_PROTOCOL)
)
_PROBE = b"silence?"

log = Log()

Step: TypeAlias = Literal["nothing", "probe", "drain", "abort"]


class Greeting:
    """What a client says first: HTTP/2's preface, in one piece or in several."""

    __slots__ = ("_seen", "is_whole")

    def __init__(self) -> None:
        self._seen = b""
        self.is_whole = False

    def take(self, data: bytes) -> bool:
        """Take what has come; return whether it is HTTP/2 as far as it goes."""
        self._seen += data[: len(engine.PREFACE)]
        self.is_whole = self._seen.startswith(engine.PREFACE)
        return self.is_whole or engine.PREFACE.startswith(self._seen)


class Pings:
    """Whether a client pings too often; where it was sent something in between, a ping is no abuse.

    Clients of Go and C measure the way by a ping beside what they receive: several, while one large answer comes.
    """

    __slots__ = ("_at", "_min_interval_s", "_sent", "_strikes")

    def __init__(self, min_interval_s: float) -> None:
        self._min_interval_s = min_interval_s
        self._at, self._sent, self._strikes = -1e9, (-1, 0), 0

    def is_abuse(self, now: float, n_sent: int, n_unread: int) -> bool:
        """Note a ping; return whether it is one too many.

        Args:
            now: by the monotonic clock.
            n_sent: messages that were sent on the connection.
            n_unread: bytes of them that the client has yet to read.
        """
        sent = (n_sent, n_unread)
        if sent != self._sent:
            self._sent, self._strikes = sent, 0
        elif now - self._at < self._min_interval_s:
            self._strikes += 1
        self._at = now
        return self._strikes > PING_STRIKES


class Vigil:
    """What is to be done about a connection, when it is looked at from time to time."""

    __slots__ = ("_ends_at", "_keepalive_s", "is_probed")

    def __init__(self, limits: ConnectionLimits, now: float) -> None:
        self._keepalive_s = limits.keepalive_s
        self._ends_at = now + limits.max_age_s * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        self.is_probed = False
        """Whether a ping has not been answered, by whatever came."""

    def step(self, now: float, received_at: float, *, is_greeted: bool) -> Step:
        """Return what is to be done now about a connection on which something came last at `received_at`."""
        silent_s = now - received_at
        if not is_greeted:
            return "abort" if silent_s > GREETING_S else "nothing"
        if now > self._ends_at:
            self._ends_at = float("inf")
            return "drain"
        if self.is_probed:
            return "abort" if silent_s > self._keepalive_s + PROBE_TIMEOUT_S else "nothing"
        self.is_probed = silent_s > self._keepalive_s
        return "probe" if self.is_probed else "nothing"


def look_after(connection: "Connection", now: float) -> None:
    """Probe a connection where it has been silent, and end it where nobody answers, or when it is old."""
    end_slow_writers(connection, now)
    step = connection.vigil.step(now, connection.received_at, is_greeted=connection.greeting.is_whole)
    if step == "drain":
        connection.drain()
    elif step == "abort":
        log.info("connection_dead", client=str(connection.peer), silent_s=round(now - connection.received_at))
        connection.abort()
    elif step == "probe":
        with contextlib.suppress(engine.NGH2Error):  # it ends already
            connection.h2.ping(_PROBE)
        connection.rounds.touch(connection)
