"""Requests that come too slowly: a client that sends a byte a second, or none, holds a call for a bounded time only."""

from typing import TYPE_CHECKING

from polserve.serving.errors import Expired

if TYPE_CHECKING:
    from polserve.serving.grpc.connection import Connection

LEAST_BYTES_PER_S = 1024
"""Rate at which a message must come that takes longer than a client may stall: far below that of any modem."""


def end_slow_writers(connection: "Connection", now: float) -> None:
    """End the calls of a connection whose messages have been awaited for too long."""
    stall_s = connection.limits.stall_s
    for call in list(connection.calls.values()):
        since = call.awaited_since
        if since is None or (age_s := now - since) <= stall_s or call.n_received >= age_s * LEAST_BYTES_PER_S:
            continue
        call.method.counter.refuse("slow_writer")
        message = f"message: expected it whole within {stall_s:g} s, or {LEAST_BYTES_PER_S} bytes a second of it"
        call.fail(Expired(f"{message}, got {call.n_received} bytes in {age_s:.0f} s"))
