"""Answers short unary calls on the thread that takes them off gRPC's completion queue.

The public `grpc.server` hands each call to a pool of threads, and the handing over costs several times what a small
policy does (docs/adr/0005). Here one method of such a server gets a completion queue of its own, and one thread that
first takes in everything that has arrived, then answers it. All other methods stay with the public server, on the same
port.

This leans on grpcio's private `cygrpc`: nothing else in this code base does. It is used only with the grpcio series
that it was tested with, and after `polserve.serving.grpc.selftest` has seen it work; otherwise the public server
answers.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import grpc
import structlog
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # private: no types

from polserve.serving.errors import Overloaded
from polserve.serving.grpc.act import Call
from polserve.serving.grpc.statuses import Status, status_of

TESTED_SERIES = ("1.85",)
"""Of grpcio, major and minor."""

ARMED = 16
"""Calls that gRPC may match with this method before the loop comes round."""
DRAINED = 4096
"""Events taken in before what waits is answered, though more may have arrived."""
LARGE_BYTES = 1 << 20
"""A message of this size is decoded in another thread: it would hold up all the others."""
IDLE_S = 1.0
RETRY_AFTER_S = 0.1

_NO_FLAGS = 0
_CODES = {code: getattr(cygrpc.StatusCode, code.name.lower()) for code in grpc.StatusCode}

log = structlog.get_logger()


class CallCounter(Protocol):
    """Where calls are counted and timed."""

    def begin(self) -> float:
        """A call began; the value is for `end`."""

    def end(self, started: float, code: str) -> None:
        """The call that began at `started` was answered with the status `code`."""


class CompletionLoop:
    """Serves one method of a server that has not been started yet."""

    def __init__(
        self,
        server: grpc.Server,
        method: str,
        handle: Callable[[Sequence[Call]], None],
        rpc: CallCounter,
        *,
        max_waiting: int,
    ) -> None:
        """Take the method, by its full name, over from the server; `handle` ends all calls that it gets."""
        self._server: Any = server._cy_server  # type: ignore[attr-defined]  # noqa: SLF001
        self._queue = cygrpc.CompletionQueue()
        self._method = method
        self._handle = handle
        self._rpc = rpc
        self._max_waiting = max_waiting
        self._waiting: deque[_LoopCall] = deque()
        self._n_large = 0
        self._lock = threading.Lock()
        self._is_stopped = False
        self._large = ThreadPoolExecutor(1, thread_name_prefix="large")
        self._thread = threading.Thread(target=self._run, name="completion", daemon=True)
        self._server.register_completion_queue(self._queue)
        self._server.register_method(method)

    def start(self) -> None:
        """Answer calls; the server has been started."""
        for _ in range(ARMED):
            self._request()
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the server has been stopped. What is still being answered is answered in vain."""
        with self._lock:
            self._is_stopped = True
        self._queue.shutdown()
        if self._thread.is_alive():
            self._thread.join(IDLE_S)
        self._large.shutdown(wait=False)

    def start_batch(self, call: Any, operations: tuple[Any, ...], react: Callable[[Any], None]) -> None:
        """Start operations on gRPC's call, from any thread; `react` gets the event. Nothing once the loop is stopped.

        NOTE: an operation that is started on a queue that was shut down ends the process.
        """
        with self._lock:
            if not self._is_stopped:
                call.start_server_batch(operations, react)

    def accept(self, call: "_LoopCall") -> None:
        """`call` is complete: it is answered in its turn, or refused if too many wait."""
        if len(self._waiting) + self._n_large < self._max_waiting:
            self._waiting.append(call)
        else:
            error = Overloaded(f"the queue is full: {len(self._waiting)} calls wait", RETRY_AFTER_S)
            call.fail(status_of(error))

    def _request(self) -> None:
        self._server.request_registered_call(self._queue, self._queue, self._method, self._begin)

    def _begin(self, event: Any) -> None:
        """A call has arrived, or none will any more."""
        if event.success:
            _LoopCall(self, event, self._rpc)
            with contextlib.suppress(ValueError):  # the server has begun to stop: no call comes after this one
                self._request()

    def _run(self) -> None:
        n_drained = 0
        while True:
            event = self._queue.poll(0 if self._waiting else time.time() + IDLE_S)
            if event.completion_type == cygrpc.CompletionType.queue_shutdown:
                return
            is_drained = event.tag is None
            if not is_drained:
                self._guard(event.tag, event)
                n_drained += 1
            event = None  # NOTE: an event that is kept keeps its call, and gRPC spins on one that was shut down
            if is_drained or n_drained >= DRAINED:
                n_drained = 0
                self._answer_waiting()

    def _answer_waiting(self) -> None:
        calls = list(self._waiting)
        self._waiting.clear()
        self._guard(self._handle, [call for call in calls if len(call.message) < LARGE_BYTES])
        for call in calls:
            if len(call.message) >= LARGE_BYTES:
                with self._lock:
                    self._n_large += 1
                self._large.submit(self._answer_large, call)

    def _answer_large(self, call: "_LoopCall") -> None:
        self._guard(self._handle, [call])
        with self._lock:
            self._n_large -= 1

    def _guard(self, step: Callable[[Any], None], argument: Any) -> None:
        """Take a step; whatever it raises, the loop goes on."""
        try:
            step(argument)
        except Exception:
            log.exception("call_failed", method=self._method)


class _LoopCall:
    """A call on its way: received, answered, or given up by its client."""

    __slots__ = ("_call", "_deadline", "_is_cancelled", "_is_empty", "_loop", "_rpc", "_started", "message")

    def __init__(self, loop: CompletionLoop, event: Any, rpc: CallCounter) -> None:
        self._loop = loop
        self._call = event.call
        self._deadline: float = event.call_details.deadline
        self._rpc = rpc
        self._started = rpc.begin()
        self._is_cancelled = False
        self._is_empty = False
        self.message = b""
        # NOTE: an operation belongs to one batch; one that was used in two crashed the process.
        loop.start_batch(self._call, (cygrpc.ReceiveMessageOperation(_NO_FLAGS),), self._receive)
        loop.start_batch(self._call, (cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),), self._close)

    def is_wanted(self) -> bool:
        """Whether somebody still waits: the deadline has not passed, and the client has not gone."""
        return not self._is_cancelled and time.time() < self._deadline

    def reply(self, response: bytes) -> None:
        """Answer with a serialised message."""
        self._end(grpc.StatusCode.OK, "", (), (cygrpc.SendMessageOperation(response, _NO_FLAGS),))

    def fail(self, status: Status) -> None:
        """End with a status other than OK."""
        self._end(status.code, status.details, status.trailing_metadata, ())

    def _end(self, code: grpc.StatusCode, details: str, trailing: tuple[Any, ...], message: tuple[Any, ...]) -> None:
        if self._is_cancelled:
            self._rpc.end(self._started, grpc.StatusCode.CANCELLED.name)
            return
        operations = (
            cygrpc.SendInitialMetadataOperation(None, _NO_FLAGS),
            *message,
            cygrpc.SendStatusFromServerOperation(trailing, _CODES[code], details.encode(), _NO_FLAGS),
        )
        self._loop.start_batch(self._call, operations, _nothing)
        if not self._is_empty:
            self._rpc.end(self._started, code.name)

    def _receive(self, event: Any) -> None:
        message = event.batch_operations[0].message()
        if message is None:  # the client closed without one, or it was above the limit, which gRPC itself answers
            self._is_empty = True
            self.fail(Status(grpc.StatusCode.UNIMPLEMENTED, "the method takes exactly one request message"))
        else:
            self.message = message
            self._loop.accept(self)

    def _close(self, event: Any) -> None:
        was_cancelled, self._is_cancelled = self._is_cancelled, event.batch_operations[0].cancelled()
        if self._is_empty and not was_cancelled:  # only now it is known which of the two it was
            code = grpc.StatusCode.CANCELLED if self._is_cancelled else grpc.StatusCode.UNIMPLEMENTED
            self._rpc.end(self._started, code.name)


def _nothing(_event: Any) -> None:
    """What was sent needs no further thought."""
