"""Runs the models: what is asked together is answered together, by one run for each version.

Nothing waits for a batch to fill. What is fast is answered before `Inference.ask` returns; what is slow goes to a
thread, and what is asked meanwhile forms the next batch. All but that thread is used by one thread, the loop's.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import structlog
from numpy.typing import NDArray

from polserve.serving.errors import DROPPED, Expired, InvalidRequest, NotReady, Overloaded
from polserve.serving.policy import Answer, Policy

INLINE_S = 1e-3
"""A run that takes the model longer is left to the thread."""
ROUND_S = 2e-3
"""Time of all the runs that the loop makes before it looks at its connections again; the rest is put off till then."""
MAX_WAITING_BYTES = 256 * 2**20
"""Observations that wait for the thread, at most: a few calls may be as large as a message may be."""
RETRY_AFTER_S = 0.1

Result: TypeAlias = Answer | Exception
Post: TypeAlias = Callable[[Callable[[], None]], None]
"""Has a function called by the loop's thread, soon; may be used by any thread."""

log = structlog.get_logger()


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
    asked_at: float = field(default_factory=time.perf_counter)


class RunCounter(Protocol):
    """Where runs of the models are counted."""

    def count_run(self, policy: Policy, answer: Answer, seconds: float, waited: Sequence[tuple[float, int]]) -> None:
        """Count a run that took `seconds` and gave this answer; `waited` is seconds, and how many callers waited so."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much may wait, and how much may be put together."""

    max_waiting: int
    """Questions that wait for a slow model."""
    max_batch: int
    """Observations that go to a model together."""


class Inference:
    """Answers questions with the policies' actions."""

    def __init__(self, counter: RunCounter, rng: np.random.Generator, capacity: Capacity, post: Post) -> None:
        """`rng` draws the explored actions."""
        self._counter = counter
        self._rng = rng
        self._capacity = capacity
        self._post = post
        # One thread: a second one would split the batches, and contend for the same core.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._waiting: deque[Question] = deque()
        self._waiting_bytes = 0
        self._later: list[Question] = []
        """Fast ones that this turn of the loop had no time for."""
        self._is_busy = False
        self._is_closed = False

    def rows_together(self, policy: Policy) -> int:
        """How many observations of a version are worth one question: they go to the model in one fast run."""
        pace = policy.pace
        if not pace.is_batched:
            return 1
        fast = 1 + int((INLINE_S - pace.alone_s) / max(pace.in_batch_s, 1e-9))
        return max(1, min(self._capacity.max_batch, fast))

    def ask(self, questions: Sequence[Question]) -> None:
        """Have each question's `react` called with its answer: before this returns, or later where the model is slow.

        What `react` raises is its caller's to catch.
        """
        if self._later:  # those that were put off come first
            self._later.extend(questions)
            return
        groups: dict[tuple[Policy, bool], list[Question]] = {}
        left_s = ROUND_S
        for question in questions:
            policy = question.policy
            seconds = policy.pace.seconds(len(question.observations))
            if seconds > INLINE_S:
                self._queue_up(question)
                continue
            left_s -= seconds
            if left_s < 0:
                self._put_off(question)
            elif policy.pace.is_batched:
                groups.setdefault((policy, question.with_values), []).append(question)
            else:
                self._answer_now([question])
        for group in groups.values():
            for part in split(group, max_rows=self._capacity.max_batch, max_s=INLINE_S):
                self._answer_now(part)

    def close(self) -> None:
        """Take no more questions; those that wait are answered."""
        self._is_closed = True
        if not self._is_busy:
            self._thread.shutdown(wait=False)

    def _answer_now(self, group: Sequence[Question]) -> None:
        started = time.perf_counter()
        self._deliver(group, started, *_run(group))

    def _deliver(self, group: Sequence[Question], started: float, result: Result, seconds: float) -> None:
        """Hand each question of the group its part of the answer, with some actions drawn at random."""
        if isinstance(result, Exception):
            for question in group:
                question.react(result)
            return
        answers = []
        at = 0
        for question in group:
            part = slice(at, at := at + len(question.observations))
            values = result.values[part] if question.with_values and result.values is not None else None
            memories = None if result.memories is None else result.memories[part]
            answers.append(self._explore(question, Answer(result.actions[part], values, None, memories)))
        if any(answer.explored is not None for answer in answers):
            result = Answer(np.concatenate([answer.actions for answer in answers]))
        waited = [(started - question.asked_at, question.n_callers) for question in group]
        self._counter.count_run(group[0].policy, result, seconds, waited)
        for question, answer in zip(group, answers, strict=True):
            question.react(answer)

    def _explore(self, question: Question, answer: Answer) -> Answer:
        choices = question.policy.choices
        if question.epsilon == 0 or choices is None:
            return answer
        n = len(answer.actions)
        explored = self._rng.random(n) < question.epsilon
        drawn = choices.draw(self._rng, n)
        actions = np.where(explored.reshape(n, *(1,) * len(choices.shape)), drawn, answer.actions)
        return Answer(actions, answer.values, explored, answer.memories)

    def _put_off(self, question: Question) -> None:
        """Answer the question in the loop's next turn, after it has looked at its connections."""
        self._later.append(question)
        if len(self._later) == 1:
            self._post(self._ask_later)

    def _ask_later(self) -> None:
        questions, self._later = self._later, []
        wanted = []
        for question in questions:
            if question.is_wanted():
                wanted.append(question)
            else:
                question.react(Expired(DROPPED))
        self.ask(wanted)

    def _queue_up(self, question: Question) -> None:
        """Let the question wait for the thread, or refuse it."""
        n_bytes = question.observations.nbytes
        if self._is_closed:
            question.react(NotReady("stopping: the call came too late to be answered"))
        elif len(self._waiting) >= self._capacity.max_waiting:
            error = f"the queue is full: {len(self._waiting)} calls wait for the model"
            question.react(Overloaded(error, RETRY_AFTER_S))
        elif self._waiting and self._waiting_bytes + n_bytes > MAX_WAITING_BYTES:
            waiting = f"{self._waiting_bytes >> 20} MiB of observations wait for the model"
            question.react(Overloaded(f"the queue is full: {waiting}", RETRY_AFTER_S))
        else:
            self._waiting.append(question)
            self._waiting_bytes += n_bytes
            if not self._is_busy:
                self._is_busy = True
                self._post(self._give_work)

    def _give_work(self) -> None:
        """Give the thread what waited longest, and all of its kind that fits with it."""
        while self._waiting:
            group = []
            for question in self._take():
                if question.is_wanted():
                    group.append(question)
                else:
                    question.react(Expired(DROPPED))
            if group:
                self._thread.submit(self._work, group)
                return
        self._is_busy = False
        if self._is_closed:
            self._thread.shutdown(wait=False)

    def _take(self) -> list[Question]:
        first = self._waiting.popleft()
        group = [first]
        room = self._capacity.max_batch - len(first.observations)
        if first.policy.pace.is_batched and room > 0:
            others: deque[Question] = deque()
            for question in self._waiting:
                is_alike = question.policy is first.policy and question.with_values == first.with_values
                if is_alike and len(question.observations) <= room:
                    group.append(question)
                    room -= len(question.observations)
                else:
                    others.append(question)
            self._waiting = others
        self._waiting_bytes -= sum(question.observations.nbytes for question in group)
        return group

    def _work(self, group: list[Question]) -> None:
        """Run the model, on the inference thread."""
        started = time.perf_counter()
        result, seconds = _run(group)

        def deliver() -> None:
            try:
                self._deliver(group, started, result, seconds)
            except Exception:
                log.exception("inference_failed", policy=group[0].policy.name)
            group.clear()  # what was answered is not held until there is more to do
            self._give_work()

        self._post(deliver)


def _run(group: Sequence[Question]) -> tuple[Result, float]:
    """Run the model once for all of a group; the second value is how many seconds that took."""
    started = time.perf_counter()
    first = group[0]
    rows = first.observations if len(group) == 1 else np.concatenate([question.observations for question in group])
    try:
        answer: Result = first.policy.act(
            rows, with_values=first.with_values, is_wanted=lambda: any(question.is_wanted() for question in group)
        )
    except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it was
        answer = error
    return answer, time.perf_counter() - started


def split(group: Sequence[Question], *, max_rows: int, max_s: float) -> Iterator[Sequence[Question]]:
    """Yield the questions of one policy in parts that take the model at most `max_s`, and hold at most `max_rows`."""
    part: list[Question] = []
    n = 0
    for question in group:
        size = len(question.observations)
        if part and (n + size > max_rows or question.policy.pace.seconds(n + size) > max_s):
            yield part
            part, n = [], 0
        part.append(question)
        n += size
    if part:
        yield part


def check_epsilon(policy: Policy, epsilon: float) -> None:
    """Return if actions may be explored so.

    Raises:
        InvalidRequest: epsilon is no probability, or not 0 for continuous actions.
    """
    if not 0 <= epsilon <= 1:
        raise InvalidRequest("epsilon", "a probability from 0 to 1", str(epsilon))
    if epsilon > 0 and policy.choices is None:
        raise InvalidRequest("epsilon", "0 for a policy with continuous actions", str(epsilon))
