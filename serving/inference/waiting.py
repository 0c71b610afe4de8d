"""What waits for slow models: a line for each version, so that no policy holds up another for longer than its share."""

import math
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from numpy.typing import NDArray

from polserve.serving.errors import Overloaded
from polserve.serving.inference.admission import Admission, WaitLimits, too_long
from polserve.serving.policy import Answer, Policy

MAX_WAITING_BYTES = 256 * 2**20
"""Observations that wait for the thread, at most: a few calls may be as large as a message may be."""
RETRY_AFTER_S = 0.1
PROMISED_S = 0.5
"""Time for which a place is kept for a call that was let in and does not come."""
STRETCH = 0.2
"""Weight of the latest run in what is known of how much longer runs take than was measured before."""
LEAST_STRETCH, MOST_STRETCH = 0.1, 100.0

Result: TypeAlias = Answer | Exception


@dataclass(slots=True, eq=False)
class Question:
    """Checked observations for one version, and who waits for the answer: one caller, or several that asked alike."""

    policy: Policy
    observations: NDArray[Any]  # (n, *shape)
    with_values: bool
    epsilon: float
    """Probability with which each action is drawn at random instead."""
    is_wanted: Callable[[], bool]
    """False once nobody waits any more: what is slow is then answered with Expired, and never reaches the model."""
    react: Callable[[Result], None]
    """Takes the answer, on the loop's thread."""
    n_callers: int = 1
    deadline: float = math.inf
    """When it must be answered, by the monotonic clock; infinite where nobody said."""
    is_step: bool = False
    """Whether it belongs to an open episode: those come first, and are not refused for how long they would wait."""
    asked_at: float = field(default_factory=time.perf_counter)


class Line:
    """The questions that wait for one version."""

    def __init__(self, policy: Policy, max_batch: int, limits: WaitLimits) -> None:
        pace = policy.pace
        self.admission = Admission(limits)
        self.steps: deque[Question] = deque()
        self.others: deque[Question] = deque()
        self.promised: deque[float] = deque()
        """When those were let in under overload that are still on their way."""
        self.work_s = 0.0
        """Time that all of them take, as the pace says."""
        self.stretch = 1.0
        """How much longer runs take on this machine now."""
        self.served_s = 0.0
        """Time of the thread that the version has had; of one that waits anew, no less than others have had."""
        self._pace, self._limits = pace, limits
        self.row_s = pace.in_batch_s + max(0.0, pace.alone_s - pace.in_batch_s) / max_batch
        """Time that an observation takes in a full batch, which is what there is where much waits."""

    def __len__(self) -> int:
        return len(self.steps) + len(self.others)

    @property
    def limit_s(self) -> float:
        """Wait that is allowed under overload."""
        return self._limits.under_overload_s(self._pace.alone_s * self.stretch)

    def work_of(self, question: Question) -> float:
        """Return the time that a question takes, as the pace says."""
        n = len(question.observations)
        return n * self.row_s if self._pace.is_batched else self._pace.seconds(n)

    def promised_s(self, now: float) -> float:
        """Return the time that those will take that were let in and are still on their way."""
        while self.promised and self.promised[0] < now - PROMISED_S:
            self.promised.popleft()
        return len(self.promised) * self.row_s * self.stretch

    def put(self, question: Question) -> None:
        """Let a question wait, behind those of its kind."""
        (self.steps if question.is_step else self.others).append(question)
        self.work_s += self.work_of(question)

    def pop_newest(self) -> Question:
        """Take out the question that came last, a step only where nothing else waits."""
        question = (self.others or self.steps).pop()
        self._forget([question])
        return question

    def take(self, max_batch: int) -> list[Question]:
        """Take out what waited longest, and all of its kind that fits with it."""
        first = (self.steps or self.others).popleft()
        group = [first]
        room = max_batch - len(first.observations)
        if self._pace.is_batched and room > 0:
            for queue in (self.steps, self.others):
                room = _move(queue, group, room)
        self._forget(group)
        return group

    def note_run(self, n: int, seconds: float) -> None:
        """Take notice of how long a run for so many observations took."""
        self.served_s += seconds
        stretch = seconds / max(self._pace.seconds(n), 1e-9)
        self.stretch += STRETCH * (min(max(stretch, LEAST_STRETCH), MOST_STRETCH) - self.stretch)

    def _forget(self, group: Sequence[Question]) -> None:
        self.work_s = self.work_s - sum(map(self.work_of, group)) if len(self) else 0.0


class WaitingRoom:
    """All lines; bounded in number, in bytes, and in how long those in it wait. Used by the loop's thread."""

    def __init__(self, max_waiting: int, max_batch: int, limits: WaitLimits) -> None:
        self._max_waiting, self._max_batch, self._limits = max_waiting, max_batch, limits
        self._lines = weakref.WeakKeyDictionary[Policy, Line]()
        self._open: dict[Line, None] = {}
        """Lines in which something waits, in the order in which they came to."""
        self._n = self._n_bytes = 0

    def __len__(self) -> int:
        return self._n

    def put(self, question: Question) -> None:
        """Let a question wait, or tell it or another one why it cannot."""
        line = self._line(question.policy)
        if line.promised:
            line.promised.popleft()
        refusal = self._refusal(line, question)
        if refusal is not None:
            question.react(refusal)
            return
        if line not in self._open:
            line.served_s = max(line.served_s, min((one.served_s for one in self._open), default=0.0))
            self._open[line] = None
        line.put(question)
        self._n += 1
        self._n_bytes += question.observations.nbytes
        if self._n > self._max_waiting:
            longest = max(self._open, key=lambda one: (len(one), one is line))
            self._drop(longest.pop_newest(), longest)

    @property
    def overloaded_until(self) -> float:
        """Until when more comes for one of the lines than is done, by the monotonic clock; minus infinity for never."""
        return max((line.admission.overloaded_until for line in self._lines.values()), default=-math.inf)

    def foresee(self, policy: Policy, deadline: float, *, is_coming: bool) -> Overloaded | None:
        """Return why an observation for a version would be refused if it came now; None where it would not be.

        Args:
            policy: the version.
            deadline: of whoever asks, by the monotonic clock; infinite without one.
            is_coming: whether its message is still on its way: those after it are told to reckon with it.
        """
        line = self._lines.get(policy)
        if line is None or not line.admission.is_overloaded:
            return None
        now, limit_s = time.monotonic(), line.limit_s
        wait_s = self._wait_s(line) + line.promised_s(now)
        refusal = line.admission.refusal(wait_s, deadline - now, limit_s)
        if refusal is None and is_coming:
            line.promised.append(now)
        elif refusal is not None:  # else it is taken notice of when it comes
            line.admission.note(line.row_s * line.stretch, wait_s, limit_s, now)
        return refusal

    def take(self) -> list[Question]:
        """Take out the next questions for one run, of the version that has had least of the thread."""
        line = min(self._open, key=lambda one: one.served_s)
        group = line.take(self._max_batch)
        self._left(group, line)
        return group

    def staleness(self, question: Question) -> Overloaded | None:
        """Return why a question that has waited is not answered any more; None where it is.

        Where overload has begun, what came before it was noticed has waited for too long.
        """
        line = self._line(question.policy)
        if time.monotonic() > question.deadline:
            line.admission.note_late()
        waited_s, limit_s = time.perf_counter() - question.asked_at, 2 * line.limit_s
        is_bound = line.admission.is_overloaded and not question.is_step and question.deadline < math.inf
        return too_long(waited_s, limit_s) if is_bound and waited_s > limit_s else None

    def note_run(self, policy: Policy, n: int, seconds: float) -> None:
        """Take notice of how long a run for so many observations took."""
        self._line(policy).note_run(n, seconds)

    def _line(self, policy: Policy) -> Line:
        line = self._lines.get(policy)
        if line is None:
            line = self._lines[policy] = Line(policy, self._max_batch, self._limits)
        return line

    def _refusal(self, line: Line, question: Question) -> Overloaded | None:
        if self._n and self._n_bytes + question.observations.nbytes > MAX_WAITING_BYTES:
            waiting = f"{self._n_bytes >> 20} MiB of observations wait for the model"
            return Overloaded(f"the queue is full: {waiting}", RETRY_AFTER_S, "bytes")
        if question.is_step:
            return None
        now = time.monotonic()
        wait_s, limit_s = self._wait_s(line), line.limit_s
        line.admission.note(line.work_of(question) * line.stretch, wait_s, limit_s, now)
        return line.admission.refusal(wait_s, question.deadline - now, limit_s)

    def _wait_s(self, line: Line) -> float:
        """Return how long one more question of a line would wait: versions that wait have the thread in turns."""
        own_s = line.work_s * line.stretch
        return own_s + sum(min(own_s, one.work_s * one.stretch) for one in self._open if one is not line)

    def _drop(self, question: Question, line: Line) -> None:
        """Refuse a question that makes room."""
        self._left([question], line)
        error = f"the queue is full: {self._n} calls wait for the model"
        question.react(Overloaded(error, RETRY_AFTER_S, "queue"))

    def _left(self, group: Sequence[Question], line: Line) -> None:
        self._n -= len(group)
        self._n_bytes -= sum(question.observations.nbytes for question in group)
        if not line:
            self._open.pop(line, None)


def _move(queue: deque[Question], group: list[Question], room: int) -> int:
    """Move what is alike and fits from a queue to a group; return the room that is left for observations."""
    others: deque[Question] = deque()
    while queue and room > 0:
        question = queue.popleft()
        if question.with_values == group[0].with_values and len(question.observations) <= room:
            group.append(question)
            room -= len(question.observations)
        else:
            others.append(question)
    queue.extendleft(reversed(others))
    return room
