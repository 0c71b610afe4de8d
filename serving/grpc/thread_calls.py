"""Calls of grpcio's public server: a thread waits for each, and the loop answers it."""

import asyncio
import functools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from polserve.serving.access.callers import ANYBODY
from polserve.serving.errors import DROPPED, Expired
from polserve.serving.methods import Method
from polserve.serving.request_ids import id_fields, read_request_id
from polserve.serving.rounds import Rounds
from polserve.serving.statuses import OK, Code, Status, id_returned, refusal_reason, status_of

UNREAD_S = 1.0
"""Time that a client has to read an answer, before its stream is ended without a word."""

Send = Callable[[bytes | None], None]


class _Call:
    """What both kinds of calls have in common; used by the loop's thread but where it says otherwise."""

    def __init__(self, method: Method, context: grpc.ServicerContext, loop: asyncio.AbstractEventLoop) -> None:
        self.method = method
        self.caller = ANYBODY
        self.request_id = read_request_id(id_fields(context.invocation_metadata()))
        self.refusal: Exception | None = None
        """Why the caller may not make the call; None where they may."""
        self.message = b""
        self.size = 0
        self.state: Any = None
        self.is_over = False
        self.active_at = self._started = time.monotonic()
        remaining_s = context.time_remaining()
        self.deadline = None if remaining_s is None else self._started + remaining_s
        self._context = context
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def is_wanted(self) -> bool:
        """Whether somebody still waits: the deadline has not passed, and the client has not gone."""
        is_late = self.deadline is not None and time.monotonic() >= self.deadline
        return not self.is_over and not is_late and self._context.is_active()

    def wait(self) -> None:
        """See to it that the call ends at its deadline, since it is not answered at once."""
        if self.deadline is not None and self._timer is None and not self.is_over:
            delay_s = max(0.0, self.deadline - time.monotonic())
            self._timer = self._loop.call_later(delay_s, self._expire)

    def reply(self, response: bytes) -> None:
        """Send a serialised message: the answer to `message`."""
        raise NotImplementedError

    def fail(self, error: BaseException) -> None:
        """End the call with the status of an error; nothing where it has ended."""
        raise NotImplementedError

    def finish(self) -> None:
        """End a stream with OK."""
        raise NotImplementedError

    def _note_refusal(self, error: BaseException) -> None:
        if (reason := refusal_reason(error)) is not None:
            self.method.counter.refuse(reason)

    def _tell(self, status: Status) -> None:
        """Add what the client is told beside the status."""
        metadata = (*status.trailing_metadata, *id_returned(status, self.request_id))
        if metadata:
            self._context.set_trailing_metadata(metadata)

    def _expire(self) -> None:
        self._timer = None
        self.fail(Expired(DROPPED if self.method.kind == "unary" else "the call's deadline has passed"))

    def _close(self, code: str) -> None:
        self.is_over = True
        self.message = b""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.method.counter.end(time.monotonic() - self._started, code)
        self.method.handler.close(self)


class ThreadUnaryCall(_Call):
    """A unary call, for whose answer a thread waits."""

    def __init__(
        self, method: Method, message: bytes, context: grpc.ServicerContext, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(method, context, loop)
        self.message, self.size = message, len(message)
        self._answered = threading.Lock()
        self._answered.acquire()
        self._outcome: bytes | Status = b""

    def result(self) -> bytes:
        """Return the response, for the thread; a failure ends the call by raising what gRPC raises."""
        self._answered.acquire()
        outcome = self._outcome
        status = outcome if isinstance(outcome, Status) else OK
        self._tell(status)
        if status is not OK:
            self._context.abort(_code(status.code), status.details)
        assert isinstance(outcome, bytes)  # noqa: S101 - abort has raised
        return outcome

    def reply(self, response: bytes) -> None:
        """Let the thread answer."""
        self._end(response, "OK")

    def fail(self, error: BaseException) -> None:
        """Let the thread end the call; nothing where it has ended."""
        if not self.is_over:
            self._note_refusal(error)
            status = status_of(error, self.request_id)
            self._end(status, status.code.name)

    def finish(self) -> None:
        """Only streams are finished without an answer."""
        raise AssertionError(self.method.name)

    def _end(self, outcome: bytes | Status, code: str) -> None:
        if self.is_over:
            return
        self._close(code if self._context.is_active() else Code.CANCELLED.name)
        self._outcome = outcome
        self._answered.release()


class ThreadStreamCall(_Call):
    """A stream, served by a thread that reads its requests and sends their answers, one after the other."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a call of the public server consists of
        self,
        method: Method,
        context: grpc.ServicerContext,
        send: Send,
        rounds: Rounds,
        loop: asyncio.AbstractEventLoop,
        closers: ThreadPoolExecutor,
    ) -> None:
        super().__init__(method, context, loop)
        self._send = send
        self._rounds = rounds
        self._closers = closers
        self._outbox = queue.SimpleQueue[bytes | Status | None]()
        """What the thread sends next; None lets it go where the stream has ended without it."""
        self._is_awaited = False
        """Whether the thread waits for what comes out of the outbox."""
        self._lock = threading.Lock()
        self._is_sending = False
        self._ending: Status | None = None
        """The status that is to follow the answer that is being sent."""

    def end_with_client(self) -> None:
        """Let the call end when its client goes, and now where it has gone; after the call has begun."""
        if not self._context.add_callback(self._post_abandon):
            self._post_abandon()

    def serve(self, requests: Iterator[bytes]) -> None:
        """Serve the stream, on a thread of its own, until it has ended."""
        self._rounds.post(functools.partial(begin, self, None))
        self.end_with_client()
        try:
            for message in requests:
                self._rounds.post(functools.partial(self._take, message))
                if not self._pass_on(self._outbox.get()):
                    return
        except Exception:  # noqa: BLE001 - gRPC says by it that the client has gone, or that the call has ended
            return
        self._rounds.post(self._end_input)
        self._pass_on(self._outbox.get())

    def reply(self, response: bytes) -> None:
        """Send a message, the answer to `message`."""
        if self.is_over:
            return
        self.active_at = time.monotonic()
        self.message = b""
        with self._lock:
            self._is_sending = True
        if self._is_awaited:
            self._is_awaited = False
            self._outbox.put(response)
        else:
            self._closers.submit(self._pass_on, response)

    def fail(self, error: BaseException) -> None:
        """End the call with the status of an error; nothing where it has ended."""
        if not self.is_over:
            self._note_refusal(error)
            self._end(status_of(error, self.request_id))

    def finish(self) -> None:
        """End with OK."""
        if not self.is_over:
            self._end(OK)

    def _end(self, status: Status) -> None:
        self._close(status.code.name)
        if self._is_awaited:
            self._outbox.put(status)
            return
        with self._lock:
            is_sending, self._ending = self._is_sending, status
        if is_sending:
            self._loop.call_later(UNREAD_S, self._cancel_unread)
        else:
            self._closers.submit(self._pass_on, status)

    def _cancel_unread(self) -> None:
        """Cut off a client that does not read: behind what it was sent, no status would ever leave."""
        if self._is_sending:
            self._context.cancel()

    def _take(self, message: bytes) -> None:
        self._is_awaited = True
        if self.is_over:
            self._outbox.put(None)
            return
        self.active_at = time.monotonic()
        self.message, self.size = message, len(message)
        self._rounds.add(self)

    def _end_input(self) -> None:
        self._is_awaited = True
        if self.is_over:
            self._outbox.put(None)
        else:
            self.method.handler.half_close(self)

    def _post_abandon(self) -> None:
        self._rounds.post(self._abandon)

    def _abandon(self) -> None:
        if not self.is_over:
            self._close(Code.CANCELLED.name)
            if self._is_awaited:
                self._outbox.put(None)

    def _pass_on(self, outcome: bytes | Status | None) -> bool:
        """Send an answer, or end the call; returns whether the stream goes on. On any thread but the loop's."""
        if outcome is None:
            return False
        if isinstance(outcome, Status):
            self._finish(outcome)
            return False
        self._send(outcome)  # waits while the client reads nothing
        with self._lock:
            self._is_sending = False
            ending = self._ending
        if ending is not None:
            self._finish(ending)
        return ending is None

    def _finish(self, status: Status) -> None:
        if not self._context.is_active():
            return
        self._tell(status)
        self._context.set_code(_code(status.code))
        self._context.set_details(status.details)
        self._send(None)


def begin(call: ThreadUnaryCall | ThreadStreamCall, rounds: Rounds | None) -> None:
    """Let a call begin, and have its message answered by `rounds`; None where the messages come later."""
    call.method.counter.begin()
    try:
        if call.refusal is not None:
            raise call.refusal  # noqa: TRY301 - one way for all that refuses a call
        if rounds is not None:
            rounds.check_wait(call)
        call.method.handler.open(call)
    except Exception as error:  # noqa: BLE001 - every error must become a status
        call.fail(error)
        return
    if call.method.kind != "unary":
        call.wait()
    if rounds is not None:
        rounds.add(call)


def _code(code: Code) -> grpc.StatusCode:
    return grpc.StatusCode[code.name]
