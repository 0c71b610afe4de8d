"""Calls that may hang, each with a bound on the time for which it may do nothing.

A timeout of the client library is not enough. It begins anew with each byte that trickles in, and stores of artifacts,
such as those in a cloud, have timeouts of their own or none.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

LOOK_S = 0.5
"""Seconds between two looks at what a download has brought."""
LEAST_BYTES = 64 * 1024
"""What a download must bring in the time that a call may take, to go on."""
MOST_HANGING = 4
"""Calls that may hang at once, each in a thread of its own; with so many, only a new process helps."""

T = TypeVar("T")


class Unanswered(Exception):
    """A call was given up: it has done nothing for too long."""


class BoundedCalls:
    """Makes calls one after another, and gives up those that hang; their threads go on without anybody waiting."""

    def __init__(self, limit_s: float) -> None:
        """Wait at most so long for a call, or for a part of what it downloads."""
        self._limit_s = limit_s
        self._hanging: list[threading.Thread] = []

    @property
    def are_too_many(self) -> bool:
        """Whether so many calls hang that no other one is made."""
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        return len(self._hanging) >= MOST_HANGING

    def run(self, what: str, call: Callable[[], T], n_bytes: Callable[[], int] = lambda: 0) -> T:
        """Make a call and return what it returns, or raise what it raises.

        Args:
            what: what is asked for, as the error says it.
            call: makes the call; it may be left running in a thread of its own.
            n_bytes: tells how much a download has brought; while that grows, the call goes on.

        Raises:
            Unanswered: it took too long, or too many others hang.
        """
        if self.are_too_many:
            raise Unanswered(f"{what}: not asked for, since {MOST_HANGING} calls before are still not answered")
        future: Future[T] = Future()
        # NOTE: the threads of an executor would be waited for when the process ends.
        thread = threading.Thread(target=_answer, args=(future, call), name="registry-call", daemon=True)
        thread.start()
        since, n_before = time.monotonic(), 0
        while not wait([future], min(LOOK_S, self._limit_s)).done:
            now = time.monotonic()
            if (n := n_bytes()) >= n_before + LEAST_BYTES:
                since, n_before = now, n
            if now - since >= self._limit_s:
                self._hanging.append(thread)
                raise Unanswered(f"{what}: no answer within {self._limit_s:g} s")
        return future.result()


def _answer(future: Future[T], call: Callable[[], T]) -> None:
    """Make a call, and give the future what it returns or raises."""
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
        future.set_exception(error)
