"""Rounds: what has arrived in one turn of the loop is answered together.

Carriers add the calls that they receive; a callback at the end of the turn hands them, sorted by method, to the
methods' handlers, and has the carriers send what was answered. All of it runs on the loop's thread, but `Rounds.post`.
"""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from polserve.serving.access.callers import Role
from polserve.serving.inference.admission import LoopPressure, WaitLimits
from polserve.serving.logs import Log
from polserve.serving.methods import Call, Method

MOST_CALLS = 256
"""Calls of a round, at most: after these the loop looks at its connections again."""
MOST_UNDER_OVERLOAD = 64
"""The same under overload: reading and refusing comes between rounds then, and those who were let in wait for it."""
HEAVY_BYTES = 1 << 16
"""A request of this size takes long to read: smaller ones are answered before it, also those that come later."""
MOST_HEAVY_BYTES = 1 << 20
"""Bytes of such requests in a round, at most, but for a single one."""
EXPECTED_S = 0.5
"""Time for which a call is reckoned with whose request does not come: who is silent keeps nobody else out for long."""
MOST_EXPECTED = 256
"""Calls that are reckoned with so, at most: nor do those who begin many calls."""
PUBLISH_S = 0.01
"""Time after which what was counted is published: not with each round, which may be a single call."""
PUBLISHED_S = 0.5
"""Time that a thread waits for what was counted to be published."""

log = Log()


class Flushed(Protocol):
    """What has something to send at the end of a round."""

    def flush(self) -> None:
        """Send it."""


class Rounds:
    """Collects calls, and has them answered."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        publish: Callable[[], None],
        waits: WaitLimits | None = None,
        *,
        is_counted_outside: bool = False,
    ) -> None:
        """Collect calls for the thread of a loop.

        Args:
            loop: answers them.
            publish: called for what was counted in rounds, a little after the first of them.
            waits: how long calls may be expected to wait; None for the defaults.
            is_counted_outside: whether others read what is published, also after this process was killed: then each
                round is.
        """
        self._loop = loop
        self._publish = publish
        self._is_counted_outside = is_counted_outside
        self._is_publishing = False
        """Whether the loop has been told to publish, and has yet to come to it."""
        self._waiting: deque[Call] = deque()
        self._steps: deque[Call] = deque()
        """Messages of open streams, which come before calls that have just begun."""
        self._heavy: deque[Call] = deque()
        self._expected: dict[Call, None] = {}
        """Calls that have begun and whose requests are yet to come, the oldest first."""
        self.pressure = LoopPressure(waits or WaitLimits())
        """Whether calls come faster than the loop answers them."""
        self._n_put_off = 0
        """Calls that had been put off when the round before began."""
        self._last = (0, 0.0, 0.0)
        """Calls that the round before answered, when it began where it left some waiting, and else how long it took."""
        self._touched: set[Flushed] = set()
        self._is_due = False
        self._posted: deque[Callable[[], None]] = deque()
        self._is_awake = False
        """Whether the loop has been told of what was posted, and has yet to come to it."""
        self.now = time.monotonic()
        """When the round began."""

    def add(self, call: Call) -> None:
        """Have the call's message answered in this turn of the loop, or in the next."""
        if self._expected:
            self.forget(call)
        if call.size >= HEAVY_BYTES:
            self._heavy.append(call)
        else:
            (self._steps if call.method.kind == "bidi_stream" else self._waiting).append(call)
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._answer)

    def expect(self, call: Call) -> None:
        """Reckon with a call whose request is on its way: what comes after it waits for it, too."""
        self._expected[call] = None

    def forget(self, call: Call) -> None:
        """Reckon no more with a call: its request has come, or will not."""
        self._expected.pop(call, None)

    def check_wait(self, call: Call) -> None:
        """Return if a call that begins now may wait for its turn; raises Overloaded."""
        if self.pressure.is_felt and call.method.needs is Role.ACT:
            refusal = self.pressure.refusal(call.deadline, time.monotonic(), is_lone=False)
            if refusal is not None:
                raise refusal

    def touch(self, flushed: Flushed) -> None:
        """Have something sent at the end of the round."""
        self._touched.add(flushed)
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._answer)

    def post(self, function: Callable[[], None]) -> None:
        """Have a function called by the loop's thread; may be used by any thread."""
        self._posted.append(function)
        if not self._is_awake:
            self._is_awake = True
            try:
                self._loop.call_soon_threadsafe(self._call_posted)
            except RuntimeError:  # the loop has ended: nobody waits any more
                self._posted.clear()
                self._is_awake = False

    def publish(self) -> None:
        """Publish what was counted so far."""
        self._is_publishing = False
        self._publish()

    def publish_soon(self) -> None:
        """Return when what was counted so far is published, by the loop if it runs; for any other thread."""
        is_published = threading.Event()

        def publish() -> None:
            self.publish()
            is_published.set()

        self.post(publish)
        is_published.wait(PUBLISHED_S)

    def _call_posted(self) -> None:
        for _ in range(len(self._posted)):  # what they post themselves comes after a look at the connections
            function = self._posted.popleft()
            try:
                function()
            except Exception:
                log.exception("posted_call_failed")
        # NOTE: in this order, none is left behind: a thread adds first and looks whether the loop is awake afterwards.
        self._is_awake = False
        if self._posted:
            self._is_awake = True
            self._loop.call_soon(self._call_posted)

    def _answer(self) -> None:
        self.now = time.monotonic()
        n_before, began, took_s = self._last
        n_put_off = self.pressure.n_put_off
        n_waiting = len(self._waiting) + len(self._steps) + len(self._heavy) + self._n_expected() + n_put_off
        n_answered = n_before + self._n_put_off - n_put_off
        self._n_put_off = n_put_off
        self.pressure.note_round(n_waiting, n_answered, self.now - began if began else took_s)
        n, most = 0, MOST_UNDER_OVERLOAD if self.pressure.is_overloaded else MOST_CALLS
        while (self._waiting or self._steps) and n < most:
            n += self._handle_some(most - n)
        if self._heavy:
            heavy = self._take_heavy()
            n += len(heavy)
            self._hand_all(heavy)
        is_behind = bool(self._waiting or self._steps or self._heavy or self.pressure.n_put_off)
        self._last = (n, self.now, 0.0) if is_behind else (n, 0.0, time.monotonic() - self.now)
        if self._is_counted_outside:  # before it is sent: whoever has an answer finds it counted
            self._publish()
        touched, self._touched = self._touched, set()
        for flushed in touched:
            try:
                flushed.flush()
            except Exception:
                log.exception("flush_failed")
        if not self._is_counted_outside and not self._is_publishing:
            self._is_publishing = True
            self._loop.call_later(PUBLISH_S, self.publish)
        self._is_due = bool(self._waiting or self._steps or self._heavy or self._touched)
        if self._is_due:
            self._loop.call_soon(self._answer)

    def _n_expected(self) -> int:
        """Count the requests that are still to come, but for those that let one wait for too long."""
        expected = self._expected
        while expected and (oldest := next(iter(expected))).active_at < self.now - EXPECTED_S:
            del expected[oldest]
        return min(len(expected), MOST_EXPECTED)

    def _handle_some(self, most: int) -> int:
        """Hand what waits to the handlers, up to `most` calls; returns how many they were."""
        waiting, steps = self._waiting, self._steps
        if len(waiting) + len(steps) == 1:
            call = (steps or waiting).popleft()
            if not call.is_over:
                self._hand(call.method, [call])
            return 1
        n_steps = min(len(steps), max(1, most * 3 // 4) if waiting else most)
        n = min(most, n_steps + len(waiting))
        self._hand_all([steps.popleft() if i < n_steps else waiting.popleft() for i in range(n)])
        return n

    def _take_heavy(self) -> list[Call]:
        """Take the heavy calls, at least one, that have a place in a round."""
        taken = [self._heavy.popleft()]
        n_bytes = taken[0].size
        while self._heavy and (n_bytes := n_bytes + self._heavy[0].size) <= MOST_HEAVY_BYTES:
            taken.append(self._heavy.popleft())
        return taken

    def _hand_all(self, calls: Sequence[Call]) -> None:
        """Hand each method's calls to its handler, but for those that are over or waited for too long."""
        by_method: dict[Method, list[Call]] = {}
        for call in calls:
            if not call.is_over and not self._is_given_up(call):
                by_method.setdefault(call.method, []).append(call)
        for method, alike in by_method.items():
            self._hand(method, alike)

    def _is_given_up(self, call: Call) -> bool:
        """Refuse a call that has waited for too long; return whether it had."""
        if not self.pressure.is_felt or call.method.kind != "unary":
            return False
        deadline = math.inf if call.deadline is None else call.deadline
        refusal = self.pressure.staleness(deadline, self.now, self.now - call.active_at)
        if refusal is not None:
            call.fail(refusal)
        return refusal is not None

    @staticmethod
    def _hand(method: Method, calls: Sequence[Call]) -> None:
        try:
            method.handler.handle(calls)
        except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it was
            for call in calls:
                call.fail(error)
