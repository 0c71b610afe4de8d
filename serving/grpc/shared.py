"""What all connections of the nghttp2 front share: methods, limits, the rounds and the loop."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from polserve.serving.access.guard import Guard
from polserve.serving.errors import Overloaded
from polserve.serving.http2.engine import MAX_HEADER_LIST_BYTES
from polserve.serving.methods import Method
from polserve.serving.rounds import Rounds

if TYPE_CHECKING:
    from polserve.serving.grpc.connection import Connection

MIN_PING_INTERVAL_S = 9.0
"""Shortest time between two probes of a client: they may come every 10 s, less a little since clocks differ."""
RESERVED_ABOVE_BYTES = 64 * 1024
"""Size above which a message has its room set aside before it is read, and an answer is held against what is unread."""
RETRY_AFTER_S = 0.1
STALL_S = 20.0
"""Time that a client may let a message, or the reading of its answers, rest: a lost packet costs a few seconds."""


@dataclass(slots=True)
class ConnectionLimits:
    """What connections may take."""

    max_message_bytes: int
    max_streams: int
    """Calls at once on a connection."""
    max_reserved_bytes: int
    """Most bytes of large messages that are being received or answered, over all connections."""
    keepalive_s: float
    """Silence after which a connection is probed."""
    max_age_s: float
    """Age of a connection at which its client is asked to connect again, give or take a fifth; infinite for never."""
    max_metadata_bytes: int = MAX_HEADER_LIST_BYTES
    max_connections: int = 10_000
    """Connections of this process; more wait until there is room."""
    min_ping_interval_s: float = MIN_PING_INTERVAL_S
    stall_s: float = STALL_S
    """Time that a client may let a message, or the reading of its answers, rest."""
    reserved_bytes: int = 0
    """Bytes of large messages in hand now."""

    def reserve(self, n_bytes: int, reserved: int) -> int:
        """Set room aside for a message that is coming; return how much its call holds then.

        Args:
            n_bytes: the message's size, as far as it is known.
            reserved: what the call holds already.

        Raises:
            Overloaded: there is none.
        """
        if n_bytes <= RESERVED_ABOVE_BYTES or n_bytes <= reserved:
            return reserved
        if self.reserved_bytes and self.reserved_bytes + n_bytes - reserved > self.max_reserved_bytes:
            in_hand = f"{self.reserved_bytes >> 20} MiB of large messages are in hand, which is the limit"
            raise Overloaded(in_hand, RETRY_AFTER_S, "large_messages")
        self.reserved_bytes += n_bytes - reserved
        return n_bytes


@dataclass(frozen=True, slots=True)
class Front:
    """What all connections share."""

    methods: Mapping[bytes, Method]
    """Methods by path."""
    unknown: Method
    """Method that stands for one that does not exist."""
    rounds: Rounds
    limits: ConnectionLimits
    loop: asyncio.AbstractEventLoop
    connections: "set[Connection]"
    lost: Callable[[], None]
    """Called when a connection has ended."""
    guard: Guard
    """Knows who may call what."""
