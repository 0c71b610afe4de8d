"""Calls that no gRPC client makes: HTTP's. They enter the same rounds, and are answered by the same handlers."""

import asyncio
import contextlib
import functools
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from polserve.serving.access.callers import ANYBODY
from polserve.serving.access.guard import Guard, Shown
from polserve.serving.access.keys import KeysAwaited
from polserve.serving.errors import DROPPED, Expired, NotReady, PolserveError
from polserve.serving.methods import Method
from polserve.serving.rounds import Rounds
from polserve.serving.statuses import Code, Rejected, Status, refusal_reason, status_of

if TYPE_CHECKING:
    import numpy as np

    from polserve.serving.policy import Policy

TIMEOUT_S = 60.0
"""Time after which a call is no longer waited for."""
POLL_S = 0.01

Outcome: TypeAlias = bytes | Status
"""The serialised response, or how the call ended without one."""
Answered: TypeAlias = Callable[[Outcome], None]
IsGone: TypeAlias = Callable[[], bool]
"""Whether the client of a call has gone; may be asked by any thread."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who makes a call."""

    is_gone: IsGone
    shown: Shown
    """What they show; the guard that is nearest to the handlers decides what they may do."""


DRAINING = NotReady("draining: the service ends; call another one")


class Calls(Protocol):
    """Who answers calls of the unary methods, by their path, such as "/polserve.v1.PolicyService/Act"."""

    def dtype_of(self, policy: str, version: str) -> "np.dtype[Any] | None":
        """Return the dtype of a version's observations where it is known here and now; None elsewhere."""

    async def ask(self, method: str, message: bytes, asker: Asker) -> bytes:
        """Return the serialised response; raises Rejected with the status of a call that has none."""


class LocalCall:
    """A call of a unary method, as its handler sees it; used by the thread of the loop that answers it."""

    __slots__ = (
        "_answered",
        "_is_gone",
        "_started",
        "_timer",
        "active_at",
        "caller",
        "deadline",
        "is_over",
        "message",
        "method",
        "request_id",
        "size",
        "state",
    )

    def __init__(self, method: Method, message: bytes, answered: Answered, asker: Asker) -> None:
        self.method = method
        self.message = message
        self.size = len(message)
        self.state: Any = None
        self.caller = ANYBODY
        self.deadline: float | None = None  # HTTP has no way to say one
        self.is_over = False
        self.active_at = self._started = time.monotonic()
        self.request_id = asker.shown.request_id
        self._answered, self._is_gone = answered, asker.is_gone
        self._timer: asyncio.TimerHandle | None = None

    def is_wanted(self) -> bool:
        """Whether somebody still waits: the time is not over, and the client has not gone."""
        return not self.is_over and not self._is_gone() and time.monotonic() < self._started + TIMEOUT_S

    def reply(self, response: bytes) -> None:
        """Hand over the answer."""
        if not self.is_over:
            self._end("OK", response)

    def fail(self, error: BaseException) -> None:
        """End the call with the status of an error; nothing where it has ended."""
        if not self.is_over:
            if (reason := refusal_reason(error)) is not None:
                self.method.counter.refuse(reason)
            status = status_of(error, self.request_id)
            self._end(status.code.name, status)

    def finish(self) -> None:
        """Refuse to end without an answer: that is for streams."""
        raise NotImplementedError

    def wait(self) -> None:
        """See to it that the call ends at last, since it is not answered at once."""
        if self._timer is None and not self.is_over:
            self._timer = asyncio.get_running_loop().call_later(TIMEOUT_S, self.fail, Expired(DROPPED))

    def _end(self, code: str, outcome: Outcome) -> None:
        self.is_over = True
        self.message = b""
        if self._timer is not None:
            self._timer.cancel()
        self.method.counter.end(time.monotonic() - self._started, code)
        self.method.handler.close(self)
        self._answered(outcome)


class LocalCarrier:
    """Brings calls to the handlers of this process; used by the thread of their loop."""

    def __init__(self, methods: Sequence[Method], rounds: Rounds, guard: Guard) -> None:
        self._methods = {method.path: method for method in methods if method.kind == "unary"}
        self._guard = guard
        self._rounds = rounds
        self._open: set[LocalCall] = set()
        self._is_draining = False

    def begin(self, path: str, message: bytes, answered: Answered, asker: Asker) -> None:
        """Have a call answered, by `answered`, now or later."""
        method = self._methods.get(path)
        if method is None:
            answered(Status(Code.UNIMPLEMENTED, f"method: expected a unary method of this service, got {path!r}"))
            return
        if self._is_draining:
            answered(status_of(DRAINING, asker.shown.request_id))
            return

        def end(outcome: Outcome) -> None:
            self._open.discard(call)
            answered(outcome)

        call = LocalCall(method, message, end, asker)
        self._open.add(call)
        method.counter.begin()
        self._enter(call, asker.shown if self._guard.is_open else replace(asker.shown, method=path))

    def _enter(self, call: LocalCall, shown: Shown) -> None:
        """Have a call answered whose caller may make it, now or when that is known."""
        if call.is_over:
            return
        try:
            call.caller = self._guard.admit(call.method.needs, shown, is_paced=False)
            self._rounds.check_wait(call)
            call.method.handler.open(call)
        except KeysAwaited as awaited:
            call.wait()
            enter = functools.partial(self._enter, call, shown)
            awaited.fetched.add_done_callback(lambda _done: self._rounds.post(enter))
        except Exception as error:  # noqa: BLE001 - every error must become a status
            call.fail(error)
        else:
            self._rounds.add(call)

    async def drain(self) -> None:
        """Take no more calls, and return once those in hand are answered."""
        self._is_draining = True
        while self._open:  # noqa: ASYNC110 - they go by themselves
            await asyncio.sleep(POLL_S)

    def close(self) -> None:
        """End the calls that are left."""
        self._is_draining = True
        for call in list(self._open):
            call.fail(DRAINING)


class LoopBridge:
    """Calls from one loop to the handlers of another, in another thread of this process."""

    def __init__(
        self, carrier: LocalCarrier, post: Callable[[Callable[[], None]], None], resolve: "Callable[[str, str], Policy]"
    ) -> None:
        """`post` has a function called by the thread of the handlers' loop; `resolve` finds a live version."""
        self._carrier = carrier
        self._resolve = resolve
        self._post = post
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop that calls come from."""
        self._asked: list[Callable[[], None]] = []
        """Beginnings of the calls of this turn of the loop."""
        self._answers: deque[tuple[asyncio.Future[bytes], Outcome]] = deque()
        self._n_waiting = 0
        """Calls that wait for an answer."""
        self._is_waking = False
        """Whether the handlers' loop is about to wake the other one."""

    def dtype_of(self, policy: str, version: str) -> "np.dtype[Any] | None":
        """Return the dtype of a version's observations; None where it is not live."""
        try:
            return self._resolve(policy, version).observation.dtype
        except PolserveError:  # whoever is asked says so
            return None

    async def ask(self, method: str, message: bytes, asker: Asker) -> bytes:
        """Return the serialised response; raises Rejected with the status of a call that has none."""
        self._loop = loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        answered = functools.partial(self._answer, future)
        begin = functools.partial(self._carrier.begin, method, message, answered, asker)
        self._n_waiting += 1
        try:
            # NOTE: among several, neither loop is woken before the other has done what it has to do: two threads take
            # turns anyway. A call alone is passed on at once, since each turn of a loop costs something too.
            if self._n_waiting == 1:
                self._post(begin)
            else:
                if not self._asked:
                    loop.call_soon(self._pass_on)
                self._asked.append(begin)
            return await future
        finally:
            self._n_waiting -= 1

    def _pass_on(self) -> None:
        """Hand over the calls of this turn."""
        asked, self._asked = self._asked, []

        def begin_all() -> None:
            for begin in asked:
                begin()

        self._post(begin_all)

    def _answer(self, future: "asyncio.Future[bytes]", outcome: Outcome) -> None:
        """Take an answer, as the handlers' thread."""
        self._answers.append((future, outcome))
        if self._n_waiting <= 1:
            self._wake()
        elif not self._is_waking:
            self._is_waking = True
            asyncio.get_running_loop().call_soon(self._wake)

    def _wake(self) -> None:
        self._is_waking = False
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        while self._answers:
            future, outcome = self._answers.popleft()
            if future.done():
                continue
            if isinstance(outcome, Status):
                future.set_exception(Rejected(outcome))
            else:
                future.set_result(outcome)
