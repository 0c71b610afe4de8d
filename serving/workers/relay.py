"""Calls over HTTP, which the supervisor takes, and one of its workers answers: passed on over a pair of sockets.

Each message is a header (length of the rest, number of the call, code) and the rest: of a call the method's path, what
the caller shows as JSON and the request, with a zero byte between them; of an answer the response, or a JSON object
that says how the call ended.
"""

import asyncio
import itertools
import json
import socket
import struct
from collections.abc import Iterator
from dataclasses import fields

from polserve.serving.access.guard import Shown
from polserve.serving.calls import TIMEOUT_S, Asker, LocalCarrier, Outcome
from polserve.serving.errors import DROPPED, Expired, NotReady
from polserve.serving.request_ids import RequestId
from polserve.serving.statuses import Code, Rejected, Status

HEADER = struct.Struct("!IIB")
ANSWER_S = TIMEOUT_S + 1.0
"""Time after which a worker that answers nothing is no longer waited for."""
NO_WORKER = "no worker process is up; try again"
LOST = "the process that was answering the call ended; try again"


def _encoded(value: object) -> object:
    """Return a field of what a caller shows, as JSON holds it."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return (str(value), value.parent) if isinstance(value, RequestId) else value


class _Messages(asyncio.Protocol):
    """One end of a pair of sockets: whole messages come in, and go out."""

    def __init__(self) -> None:
        self.transport: asyncio.WriteTransport | None = None
        self._unread = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what messages are written to."""
        self.transport = transport  # type: ignore[assignment]  # uvloop's is no subclass of asyncio's

    def data_received(self, data: bytes) -> None:
        """Take what came, wherever it was cut."""
        self._unread += data
        for call, code, rest in self._whole():
            self.received(call, code, rest)

    def received(self, call: int, code: int, rest: bytes) -> None:
        """Take a message."""
        raise NotImplementedError

    def send(self, call: int, code: int, *rest: bytes) -> None:
        """Write a message; nothing where the other end has gone."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.writelines((HEADER.pack(sum(map(len, rest)), call, code), *rest))

    def _whole(self) -> Iterator[tuple[int, int, bytes]]:
        """Take out the messages that are whole."""
        at = 0
        while len(self._unread) - at >= HEADER.size:
            n, call, code = HEADER.unpack_from(self._unread, at)
            if len(self._unread) - at - HEADER.size < n:
                break
            at += HEADER.size
            yield call, code, bytes(self._unread[at : at + n])
            at += n
        del self._unread[:at]


class RelayedCalls(_Messages):
    """The worker's end: calls come in, and go to its handlers."""

    def __init__(self, carrier: LocalCarrier) -> None:
        super().__init__()
        self._carrier = carrier

    def received(self, call: int, code: int, rest: bytes) -> None:
        """Have a call answered."""
        del code
        path, told, message = rest.split(b"\0", 2)
        said = json.loads(told)
        shown = Shown(
            said["authorization"].encode("latin-1"),
            tuple(said["certificate"]),
            said["address"],
            said["method"],
            is_local=said["is_local"],
            request_id=RequestId(*said["request_id"]),
        )

        def answered(outcome: Outcome) -> None:
            if isinstance(outcome, Status):
                said = {"details": outcome.details, "metadata": outcome.trailing_metadata}
                self.send(call, outcome.code, json.dumps(said).encode())
            else:
                self.send(call, Code.OK, outcome)

        self._carrier.begin(path.decode(), message, answered, Asker(self._is_gone, shown))

    def _is_gone(self) -> bool:
        return self.transport is None or self.transport.is_closing()


class _Link(_Messages):
    """The supervisor's end of the sockets to one worker; used by the loop that calls come from."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__()
        self._end = end
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._begun: asyncio.Task[object] | None = None
        self.is_lost = False

    @property
    def n_waiting(self) -> int:
        """Calls that the worker has yet to answer."""
        return len(self._waiting)

    async def ask(self, method: str, message: bytes, shown: Shown) -> bytes:
        """Return the worker's response.

        Raises:
            Rejected: with the status of a call that has none.
            NotReady, Expired: the worker has ended, or answers nothing.
        """
        loop = asyncio.get_running_loop()
        if self._begun is None:
            self._begun = loop.create_task(loop.create_connection(lambda: self, sock=self._end))
        if not self._begun.done():
            await asyncio.shield(self._begun)
        number = next(self._numbers) % 2**32
        future: asyncio.Future[bytes] = loop.create_future()
        self._waiting[number] = future
        told = json.dumps({field.name: _encoded(getattr(shown, field.name)) for field in fields(shown)}).encode()
        self.send(number, 0, method.encode(), b"\0", told, b"\0", message)
        try:
            if self.is_lost:
                raise NotReady(LOST)
            async with asyncio.timeout(ANSWER_S):
                return await future
        except TimeoutError:  # a worker that does not even say that it has no time
            raise Expired(DROPPED) from None
        finally:
            del self._waiting[number]

    def received(self, call: int, code: int, rest: bytes) -> None:
        """Take an answer."""
        future = self._waiting.get(call)
        if future is None or future.done():  # its client has gone
            return
        if code == Code.OK:
            future.set_result(rest)
        else:
            said = json.loads(rest)
            metadata = tuple((name, value) for name, value in said["metadata"])
            future.set_exception(Rejected(Status(Code(code), said["details"], metadata)))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell those who wait that the worker has ended."""
        del exc
        self.is_lost = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(NotReady(LOST))


class Relay:
    """Passes calls on to the worker that has the fewest to answer."""

    def __init__(self) -> None:
        self._links: dict[int, _Link] = {}

    def add(self, index: int, end: socket.socket) -> None:
        """Pass calls on to a worker from now on, by the supervisor's end of its sockets; for any thread."""
        end.setblocking(False)
        self._links[index] = _Link(end)

    def remove(self, index: int) -> None:
        """Pass no more calls on to a worker; for any thread."""
        self._links.pop(index, None)

    def dtype_of(self, policy: str, version: str) -> None:
        """Return None: only the workers know."""

    async def ask(self, method: str, message: bytes, asker: Asker) -> bytes:
        """Return the serialised response of a worker.

        Raises:
            Rejected: with the status of a call that has none.
            NotReady, Expired: no worker is up, or the one that was asked has ended or answers nothing.
        """
        links = [link for link in self._links.copy().values() if not link.is_lost]
        if not links:
            raise NotReady(NO_WORKER)
        return await min(links, key=lambda link: link.n_waiting).ask(method, message, asker.shown)
