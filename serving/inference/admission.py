"""Whether one more call may wait: by how long it would, and by whether more comes than is done.

A crowd of callers who each wait for their answers fills a queue once; from then on as much comes as is done, and
refusing some would help nobody. Where more comes than is done for several windows of time, what is not refused only
waits, and the wait of all grows. That is overload, and then calls are refused early. Nothing here reads a clock.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal, TypeAlias

from polserve.serving.errors import Overloaded

RUNS = 4
"""Runs of a model, or calls of the loop, that a call may wait for under overload, where these take longer than the
setting."""
LONGEST_RUNS_S = 0.2
"""Time of those runs, at most: as long as four of the slowest versions take that may go live by default."""
EXCESS = 1.25
"""Work that comes, to work that is done, from which more comes than is done."""
WINDOWS, WINDOWS_AGAIN, WINDOW_S = 3, 2, 0.1
"""Windows in a row in which more comes, after which it is overload, or is it again. Each is twice the wait
that is allowed then, or longer: a crowd that comes at once must have the time to."""
MOST_OF_DEADLINE = 0.5
"""Part of the time until its deadline for which a call may wait: the answer has to be made, too, and to travel."""
CALM_WINDOWS = 10
"""Windows in a row in which less comes than can be done, after which it is no overload any more."""
HOLD_S, LONGEST_HOLD_S = 10.0, 300.0
"""Time after which it is tried whether a crowd was taken for an overload; twice as long each time that it was not."""
FELT_S = 5e-3
"""Wait for the loop below which nothing is asked."""
SAMPLE_CALLS, SAMPLE_S, SAMPLES = 256, 0.05, 5
"""How long a call takes the loop is told from some samples, each of so many calls or so much time."""
PAUSES_S, LONGEST_PAUSE_S = 5.0, 0.1
"""Time of work in which the longest pause is forgotten, and the longest that calls are not held responsible for."""
SHORTEST_RETRY_S, LONGEST_RETRY_S = 0.05, 10.0
"""When a refused caller is asked to come again, at the earliest and at the latest."""


Reason: TypeAlias = Literal["wait", "deadline"]
"""Why a call cannot wait: it would for too long, or until after its deadline."""


@dataclass(frozen=True, slots=True)
class WaitLimits:
    """How long calls may be expected to wait."""

    overload_s: float = 0.005
    """Under overload, where the call has a deadline."""
    patience_s: float = 30.0
    """Always, where the call has none."""

    def under_overload_s(self, run_s: float) -> float:
        """Return the wait that is allowed under overload where a run of the model takes so long."""
        return max(self.overload_s, min(RUNS * run_s, LONGEST_RUNS_S))


class Admission:
    """Decides which calls may join one queue; used by one thread."""

    def __init__(self, limits: WaitLimits) -> None:
        self._limits = limits
        self.is_overloaded = False
        """Whether more comes than is done."""
        self._since = -math.inf
        """When the window began, as `note` is told the time."""
        self._offered_s = 0.0
        """Work that came in the window."""
        self._n_excess = self._n_calm = 0
        self._has_late = False
        """Whether a deadline of the window passed, or would have."""
        self._ends_at, self._hold_s = -math.inf, HOLD_S

    def note(self, work_s: float, wait_s: float, limit_s: float, now: float) -> None:
        """Take notice of a call that comes, whether or not it is refused then.

        Args:
            work_s: time that it takes to answer it.
            wait_s: time for which it would wait.
            limit_s: wait that is allowed under overload.
            now: by the monotonic clock.
        """
        elapsed_s = now - self._since
        if elapsed_s >= max(WINDOW_S, 2 * limit_s):
            self._close_window(self._offered_s / elapsed_s, now, is_long=wait_s > limit_s)
        self._offered_s += work_s

    def refusal(self, wait_s: float, left_s: float, limit_s: float) -> Overloaded | None:
        """Return why a call cannot wait; None where it can.

        Args:
            wait_s: time for which it would wait.
            left_s: time until its deadline; infinite without one.
            limit_s: wait that is allowed under overload.
        """
        reason = self.reason(wait_s, left_s, limit_s)
        return None if reason is None else self.error(reason, wait_s, left_s, limit_s)

    def reason(self, wait_s: float, left_s: float, limit_s: float) -> Reason | None:
        """Return in a word why a call cannot wait, as `refusal` does: the error is only made where it is told."""
        if left_s == math.inf:
            return "wait" if wait_s > self._limits.patience_s else None
        if wait_s > left_s * MOST_OF_DEADLINE:
            self._has_late = True
            return "deadline"
        return "wait" if self.is_overloaded and wait_s > limit_s else None

    def error(self, reason: Reason, wait_s: float, left_s: float, limit_s: float) -> Overloaded:
        """Return the error of a reason that `reason` gave."""
        if reason == "deadline":
            return too_late(wait_s)
        return too_long(wait_s, self._limits.patience_s if left_s == math.inf else limit_s)

    @property
    def overloaded_until(self) -> float:
        """When an overload ends though nothing comes any more, by the monotonic clock; minus infinity for none."""
        return self._ends_at if self.is_overloaded else -math.inf

    def note_late(self) -> None:
        """Take notice of a call whose deadline has passed while it waited."""
        self._has_late = True

    def _close_window(self, offered: float, now: float, *, is_long: bool) -> None:
        """Look at the work that came, as a part of what can be done, and begin the next window."""
        self._since, self._offered_s = now, 0.0
        # Clients hold calls back where they have no stream left: then as much comes as is done, and all of it too late.
        is_excess = is_long and (offered > EXCESS or self._has_late)
        self._has_late = False
        self._n_excess = self._n_excess + 1 if is_excess else 0
        if self.is_overloaded:
            self._n_calm = self._n_calm + 1 if offered < 1.0 else 0
            if self._n_calm >= CALM_WINDOWS or now >= self._ends_at:
                self.is_overloaded = False
                self._n_excess = 0
            return
        was_lately = now - self._ends_at < HOLD_S
        if self._n_excess >= (WINDOWS_AGAIN if was_lately else WINDOWS):
            self._hold_s = min(2 * self._hold_s, LONGEST_HOLD_S) if was_lately else HOLD_S
            self.is_overloaded, self._n_calm = True, 0
            self._ends_at = now + self._hold_s


class LoopPressure:
    """How long a call waits for its turn in the loop that answers all fast ones, and whether one more may."""

    def __init__(self, limits: WaitLimits) -> None:
        self._limits = limits
        self._call_s = 0.0
        """Time of the loop for a call, lately."""
        self._n, self._seconds = 0, 0.0
        """Calls that are not part of that yet, and the time that they took."""
        self._lately: deque[tuple[int, float]] = deque(maxlen=SAMPLES)
        self._pause_s = 0.0
        """The longest round of late: on a busy machine the process may have no processor for a while."""
        self._admission = Admission(limits)
        self._refusals: dict[Reason, Overloaded] = {}
        """What calls of this round are told: the same for all, so that refusing them costs little."""
        self.wait_s = 0.0
        """Time for which a call would wait that comes now."""
        self.n_put_off = 0
        """Calls that were put off to later turns of the loop by what answers them."""
        self.crowded_until = -math.inf
        """Until when more is asked of a slow version than it can answer, by the monotonic clock."""
        self.n_rounds = 0
        """Rounds so far: what refuses a call refuses all that are like it until the next one."""

    def is_overloaded_at(self, now: float) -> bool:
        """Whether more comes than is done, in the loop or for a slow version."""
        return now < self.crowded_until or self._admission.is_overloaded

    @property
    def is_overloaded(self) -> bool:
        """Whether more comes than is done, in the loop."""
        return self._admission.is_overloaded

    @property
    def is_felt(self) -> bool:
        """Whether it is to be asked if one more call may wait: under overload each, else where the wait is long."""
        return self._admission.is_overloaded or self.wait_s > FELT_S

    @property
    def _limit_s(self) -> float:
        """Wait that is allowed under overload: a few calls may wait, also where the machine makes each of them long."""
        return self._limits.under_overload_s(self._call_s)

    @property
    def _stale_s(self) -> float:
        """Time after which a call that waits is refused after all: a pause of the machine is no fault of those."""
        return 2 * max(self._limit_s, min(2 * self._pause_s, LONGEST_PAUSE_S))

    def note_round(self, n_waiting: int, n_answered: int, seconds: float) -> None:
        """Take notice of the round before this one.

        Args:
            n_waiting: calls that wait now.
            n_answered: calls that were answered in it.
            seconds: time that they took; where the round left some waiting, with all that was read and refused since.
        """
        self.n_rounds += 1
        self._n += n_answered
        self._seconds += seconds
        if self._n >= SAMPLE_CALLS or (self._n and self._seconds >= SAMPLE_S):
            self._lately.append((self._n, self._seconds))
            self._n, self._seconds = 0, 0.0
            self._call_s = sum(one[1] for one in self._lately) / sum(one[0] for one in self._lately)
        self._pause_s = max(seconds, self._pause_s * (1.0 - min(1.0, seconds / PAUSES_S)))
        self.wait_s = n_waiting * self._call_s
        self._refusals.clear()

    def refusal(self, deadline: float | None, now: float, *, is_lone: bool) -> Overloaded | None:
        """Return why a call cannot wait; None where it can.

        Args:
            deadline: of the call, by the monotonic clock; None for none.
            now: by the same clock.
            is_lone: whether its connection has no other call that is open. Such a one may wait for twice as long, so
                that a connection with many calls does not crowd it out.
        """
        wait_s, limit_s = self.wait_s, self._limit_s
        self._admission.note(self._call_s, wait_s, limit_s, now)
        left_s = math.inf if deadline is None else deadline - now
        if is_lone:
            limit_s *= 2
        reason = self._admission.reason(wait_s, left_s, limit_s)
        if reason is None:
            self.wait_s += self._call_s
            return None
        error = self._refusals.get(reason)
        if error is None:
            error = self._refusals[reason] = self._admission.error(reason, wait_s, left_s, limit_s)
        return error

    def note_refused(self, n: int, now: float) -> None:
        """Take notice of calls that were refused as others of their round were, without being asked for."""
        self._admission.note(n * self._call_s, self.wait_s, self._limit_s, now)

    def staleness(self, deadline: float, now: float, waited_s: float) -> Overloaded | None:
        """Return why a call that has waited is not answered any more; None where it is, or its deadline has passed.

        Args:
            deadline: of the call, by the monotonic clock; infinite without one.
            now: by the same clock.
            waited_s: time for which it has waited.
        """
        limit_s = self._stale_s
        if now > deadline:
            self._admission.note_late()
            return None
        is_bound = self._admission.is_overloaded and deadline < math.inf
        return too_long(waited_s, limit_s) if is_bound and waited_s > limit_s else None


def too_late(wait_s: float) -> Overloaded:
    """Return the error of a call whose deadline would pass while it waits."""
    message = (
        f"overloaded: the call would wait for {_ms(wait_s)} ms, which is most of the time to its deadline, or more"
    )
    return Overloaded(message, _retry_after_s(wait_s), "deadline")


def too_long(wait_s: float, limit_s: float) -> Overloaded:
    """Return the error of a call that would wait for longer than it may."""
    message = f"overloaded: the call would wait for {_ms(wait_s)} ms, and {_ms(limit_s)} are allowed"
    return Overloaded(message, _retry_after_s(wait_s), "wait")


def _ms(seconds: float) -> int:
    return round(1000 * seconds)


def _retry_after_s(wait_s: float) -> float:
    """Return when to try again: once what waits now is answered, to a tenth of a second where that is long."""
    return round(min(max(wait_s, SHORTEST_RETRY_S), LONGEST_RETRY_S), 1 if wait_s > 1 else 2)
