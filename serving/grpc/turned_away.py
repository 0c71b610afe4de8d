"""Calls that are refused before anything is kept of them: under overload, refusing must cost little."""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from polserve.serving.access.callers import Role
from polserve.serving.errors import Overloaded
from polserve.serving.grpc.lingering import LINGER_S
from polserve.serving.grpc.trailers import id_trailers, trailers_of
from polserve.serving.http2 import engine
from polserve.serving.http2.wire import WireError, parse_timeout
from polserve.serving.request_ids import RequestId, read_request_id
from polserve.serving.rounds import Method
from polserve.serving.statuses import status_of

if TYPE_CHECKING:
    from polserve.serving.grpc.connection import Connection

HEADERS: tuple[engine.Header, ...] = ((b":status", b"200"), (b"content-type", b"application/grpc"))
"""Headers of every answer."""


class TurnedAway:
    """The calls of one connection that were refused so."""

    __slots__ = ("_connection", "_unended")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._unended: dict[int, float] = {}
        """Streams whose clients have not ended them yet, and when they were refused."""

    def take(self, stream_id: int, method: Method, fields: Mapping[bytes, bytes], *, is_ended: bool) -> bool:
        """Refuse a call that would wait for too long; return whether it was refused.

        Args:
            stream_id: its stream.
            method: what it calls.
            fields: its headers.
            is_ended: whether its client has ended the stream.
        """
        connection = self._connection
        pressure, now = connection.rounds.pressure, connection.received_at
        if not pressure.is_felt or method.needs < Role.ACT:
            return False
        timeout = fields.get(b"grpc-timeout")
        try:
            deadline = None if timeout is None else now + parse_timeout(timeout)
        except WireError:  # that is a reason of its own
            return False
        refusal = pressure.refusal(deadline, now, is_lone=not connection.n_open)
        if refusal is None:
            return False
        code, headers = _answer(refusal)
        method.counter.begin()
        method.counter.refuse(refusal.reason)
        method.counter.end(0.0, code)
        headers = (*headers, *id_trailers(read_request_id(fields)))
        connection.h2.send_response(stream_id, headers, end_stream=True)
        connection.rounds.touch(connection)
        if not is_ended:
            self._unended[stream_id] = now
        return True

    def forget(self, stream_id: int) -> None:
        """Take notice that a stream has ended."""
        self._unended.pop(stream_id, None)

    def sweep(self, now: float) -> None:
        """Free the streams that clients have not ended though they were told."""
        if not self._unended:
            return
        connection = self._connection
        connection.flush()  # a reset takes away the headers, too, that were not sent yet
        if connection.is_gone or connection.h2.want_write:
            return
        for stream_id in [one for one, since in self._unended.items() if now - since > LINGER_S]:
            del self._unended[stream_id]
            try:
                connection.h2.reset_stream(stream_id, engine.ErrorCode.NO_ERROR)
            except engine.NGH2Error:  # it has ended
                continue
            connection.rounds.touch(connection)


@functools.lru_cache(64)
def _answer(refusal: Overloaded) -> tuple[str, tuple[engine.Header, ...]]:
    """Return the code of a refusal and the headers that say it; the same refusal is told to many calls."""
    unnamed = RequestId()
    status = status_of(refusal, unnamed)
    return status.code.name, (*HEADERS, *trailers_of(status, unnamed))
