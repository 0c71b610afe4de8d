"""Calls that are refused before anything is kept of them: under overload, refusing must cost little."""

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from polserve.serving.access.callers import Role
from polserve.serving.errors import Overloaded
from polserve.serving.grpc.trailers import id_trailers, trailers_of
from polserve.serving.http2 import engine
from polserve.serving.http2.wire import WireError, parse_timeout
from polserve.serving.methods import Method
from polserve.serving.request_ids import RequestId, read_request_id
from polserve.serving.statuses import status_of

if TYPE_CHECKING:
    from polserve.serving.grpc.connection import Connection

TIMEOUT = b"grpc-timeout"
HEADERS: tuple[engine.Header, ...] = ((b":status", b"200"), (b"content-type", b"application/grpc"))
"""Headers of every answer."""


class Refused(NamedTuple):
    """A call that was refused."""

    headers: Sequence[engine.Header]
    n_round: int
    """The round that it was refused in."""
    method: Method
    reason: str
    code: str
    answer: tuple[engine.Header, ...]
    timeout_at: int
    """Where its timeout stands among the headers, if another timeout would make no difference; else -1."""

    def is_like(self, headers: Sequence[engine.Header]) -> bool:
        """Whether a call with these headers would be refused as this one was."""
        if headers == self.headers:
            return True
        i = self.timeout_at
        return (
            0 <= i < len(headers)
            and headers[i][0] == TIMEOUT
            and headers[:i] == self.headers[:i]
            and headers[i + 1 :] == self.headers[i + 1 :]
        )


class TurnedAway:
    """The calls of one connection that were refused so."""

    __slots__ = ("_connection", "_last", "_n_alike")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._last: Refused | None = None
        self._n_alike = 0
        """Calls that were refused as the last one was, and are not counted yet."""

    def take_alike(self, request: engine.RequestReceived) -> bool:
        """Refuse a call that says in its headers what the last one said that was refused in this round.

        Under overload most do. Nothing else is looked at then, and they are counted together, by `settle`.

        Returns:
            Whether it was refused.
        """
        last = self._last
        if (
            last is None
            or last.n_round != self._connection.rounds.pressure.n_rounds
            or not last.is_like(request.headers)
        ):
            return False
        self._n_alike += 1
        self._send(request, last.answer)
        return True

    def take(self, request: engine.RequestReceived, method: Method, fields: Mapping[bytes, bytes]) -> bool:
        """Refuse a call that would wait for too long; return whether it was refused.

        Args:
            request: what has come.
            method: what it calls.
            fields: its headers.
        """
        connection = self._connection
        pressure, now = connection.rounds.pressure, connection.received_at
        if not pressure.is_felt or method.needs < Role.ACT:
            return False
        timeout = fields.get(TIMEOUT)
        try:
            deadline = None if timeout is None else now + parse_timeout(timeout)
        except WireError:  # that is a reason of its own
            return False
        refusal = pressure.refusal(deadline, now, is_lone=not connection.n_open)
        if refusal is None:
            return False
        self.settle()
        code, headers = _answer(refusal)
        answer = (*headers, *id_trailers(read_request_id(fields)))
        timeout_at = -1
        if timeout is not None and refusal.reason == "wait":  # then any call with a deadline would wait for too long
            timeout_at = [name for name, _ in request.headers].index(TIMEOUT)
        self._last = Refused(request.headers, pressure.n_rounds, method, refusal.reason, code, answer, timeout_at)
        method.counter.turn_away(1, refusal.reason, code)
        self._send(request, answer)
        return True

    def settle(self) -> None:
        """Count the calls that were refused alike, and see to it that their streams end."""
        self._connection.lingering.wait()
        n, last = self._n_alike, self._last
        if not n or last is None:
            return
        self._n_alike = 0
        last.method.counter.turn_away(n, last.reason, last.code)
        self._connection.rounds.pressure.note_refused(n, self._connection.received_at)

    def _send(self, request: engine.RequestReceived, answer: tuple[engine.Header, ...]) -> None:
        """Have the answer sent, with all that goes out after what was received; nothing where its client has gone."""
        try:
            self._connection.h2.send_response(request.stream_id, answer, end_stream=True)
        except engine.NGH2Error:  # the reset came with the request, or the connection has ended
            return
        if not request.end_stream:
            self._connection.lingering.note(request.stream_id, self._connection.received_at)


@functools.lru_cache(64)
def _answer(refusal: Overloaded) -> tuple[str, tuple[engine.Header, ...]]:
    """Return the code of a refusal and the headers that say it; the same refusal is told to many calls."""
    unnamed = RequestId()
    status = status_of(refusal, unnamed)
    return status.code.name, (*HEADERS, *trailers_of(status, unnamed))
