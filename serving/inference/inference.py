"""Runs the models: what is asked together is answered together, by one run for each version.

Nothing waits for a batch to fill. What is fast is answered before `Inference.ask` returns; what is slow goes to a
thread, and what is asked meanwhile forms the next batch. All but that thread is used by one thread, the loop's.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from polserve.serving.errors import DROPPED, Expired, InvalidRequest, NotReady
from polserve.serving.inference.admission import LoopPressure, WaitLimits
from polserve.serving.inference.run_watch import RunWatch
from polserve.serving.inference.runs import Run, RunCounter, run_together, split
from polserve.serving.inference.waiting import Question, Result, WaitingRoom
from polserve.serving.logs import Log
from polserve.serving.policy import Answer, Policy

INLINE_S = 1e-3
"""A run that takes the model longer is left to the thread."""
ROUND_S = 4e-3
"""Time of all the runs that the loop makes before it looks at its connections again; the rest is put off till then.

Long enough for several large batches: what Python does for each of them is dear after the run of a model, which has
taken the processor's caches, and cheaper for some together.
"""

Post: TypeAlias = Callable[[Callable[[], None]], None]
"""Has a function called by the loop's thread, soon; may be used by any thread."""

log = Log()


@dataclass(frozen=True, slots=True)
class Capacity:
    """How much may wait, and how much may be put together."""

    max_waiting: int
    """Questions that wait for a slow model."""
    max_batch: int
    """Observations that go to a model together."""
    waits: WaitLimits = field(default_factory=WaitLimits)
    """How long what waits for a slow model may be expected to."""


class Inference:
    """Answers questions with the policies' actions."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a worker has one of each
        self,
        counter: RunCounter,
        rng: np.random.Generator,
        capacity: Capacity,
        post: Post,
        watch: RunWatch | None = None,
        pressure: LoopPressure | None = None,
    ) -> None:
        """Answer with the thread of a loop, and with one of its own for what is slow.

        Args:
            counter: counts the runs.
            rng: draws the explored actions.
            capacity: how much may wait.
            post: has a function called by the loop's thread.
            watch: ends runs that take too much.
            pressure: of the loop; None where nothing else tells it anything.
        """
        self.pressure = pressure or LoopPressure(capacity.waits)
        """Is told how much is put off to later turns of the loop, and says what has waited for too long."""
        watch = watch or RunWatch()
        self._of_loop, self._of_thread = watch.slot(), watch.slot()
        self._counter = counter
        self._rng = rng
        self._capacity = capacity
        self._post = post
        # One thread: a second one would split the batches, and contend for the same core.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._waiting = WaitingRoom(capacity.max_waiting, capacity.max_batch, capacity.waits)
        self._later: deque[Question] = deque()
        """Fast ones that this turn of the loop had no time for."""
        self._is_busy = False
        self._is_closed = False
        self.run: Run | None = None
        """The run whose answers are being handed out, for traces; None for none, where somebody forgets it in time."""

    def rows_together(self, policy: Policy) -> int:
        """How many observations of a version are worth one question: they go to the model in one fast run."""
        pace = policy.pace
        if not pace.is_batched:
            return 1
        fast = 1 + int((INLINE_S - pace.alone_s) / max(pace.in_batch_s, 1e-9))
        return max(1, min(self._capacity.max_batch, fast))

    @property
    def is_crowded(self) -> bool:
        """Whether more is asked of a slow model than it can answer."""
        return time.monotonic() < self.pressure.crowded_until

    def foresee(self, policy: Policy, deadline: float, *, is_coming: bool) -> None:
        """Return if a call that is about to ask may wait for a version.

        Args:
            policy: the version.
            deadline: of the call, by the monotonic clock; infinite where it has none.
            is_coming: whether the rest of its message is still on its way.

        Raises:
            Overloaded: it would wait for too long.
        """
        refusal = self._waiting.foresee(policy, deadline, is_coming=is_coming)
        if refusal is not None:
            raise refusal

    def answer_at_once(
        self, policy: Policy, observations: NDArray[Any], *, with_values: bool, epsilon: float, n_callers: int = 1
    ) -> Answer | None:
        """Answer checked observations now where one fast run does; None where they have to be asked.

        Most calls are answered so: nothing is made for them that a call that waits would need.
        """
        n = len(observations)
        pace = policy.pace
        is_together = pace.is_batched or n_callers == 1
        if self._later or not is_together or n > self._capacity.max_batch or pace.seconds(n) > INLINE_S:
            return None
        started = time.perf_counter()
        answer = self._of_loop.act(policy, observations, with_values=with_values)
        seconds = time.perf_counter() - started
        if epsilon:
            answer = self._explore(policy, epsilon, answer)
        self._counter.count_run(policy, answer, seconds, ((0.0, n_callers),))
        self.run = Run(policy.name, policy.version, started, seconds, n)
        return answer

    def ask(self, questions: Sequence[Question]) -> None:
        """Have each question's `react` called with its answer: before this returns, or later where the model is slow.

        What `react` raises is its caller's to catch.
        """
        was_idle = not self._later
        self._later.extend(questions)
        self.pressure.n_put_off += sum(question.n_callers for question in questions)
        if was_idle:  # else those that were put off come first
            self._answer_some()

    def close(self) -> None:
        """Take no more questions; those that wait are answered."""
        self._is_closed = True
        if not self._is_busy:
            self._thread.shutdown(wait=False)

    def _deliver(self, group: Sequence[Question], result: Result, started: float, seconds: float) -> None:
        """Hand each question of the group its part of the answer, with some actions drawn at random."""
        self.run = None
        if isinstance(result, Exception):
            for question in group:
                question.react(result)
            return
        first = group[0]
        n = sum(len(question.observations) for question in group)
        self.run = Run(first.policy.name, first.policy.version, started, seconds, n)
        waited = [(started - question.asked_at, question.n_callers) for question in group]
        if len(group) == 1 and first.epsilon == 0:
            self._counter.count_run(first.policy, result, seconds, waited)
            first.react(result)
            self.run = None
            return
        answers = []
        at = 0
        for question in group:
            part = slice(at, at := at + len(question.observations))
            values = result.values[part] if question.with_values and result.values is not None else None
            memories = None if result.memories is None else result.memories[part]
            answer = Answer(result.actions[part], values, None, memories)
            answers.append(self._explore(question.policy, question.epsilon, answer) if question.epsilon else answer)
        if any(answer.explored is not None for answer in answers):
            result = Answer(np.concatenate([answer.actions for answer in answers]))
        self._counter.count_run(first.policy, result, seconds, waited)
        for question, answer in zip(group, answers, strict=True):
            question.react(answer)
        self.run = None

    def _explore(self, policy: Policy, epsilon: float, answer: Answer) -> Answer:
        """Draw some of an answer's actions at random, where the policy chooses them."""
        choices = policy.choices
        if choices is None:
            return answer
        n = len(answer.actions)
        explored = self._rng.random(n) < epsilon
        drawn = choices.draw(self._rng, n)
        actions = np.where(explored.reshape(n, *(1,) * len(choices.shape)), drawn, answer.actions)
        return Answer(actions, answer.values, explored, answer.memories)

    def _answer_later(self) -> None:
        """Answer what was put off, but for what nobody waits for any more."""
        self._answer_some(is_late=True)

    def _answer_some(self, *, is_late: bool = False) -> None:
        """Answer what is fast, for as long as the loop has time; the rest in its next turn."""
        groups: dict[tuple[Policy, bool], list[Question]] = {}
        parts: list[Sequence[Question]] = []
        left_s = ROUND_S
        while self._later:
            question = self._later[0]
            policy = question.policy
            seconds = policy.pace.seconds(len(question.observations))
            if left_s < seconds <= INLINE_S:
                break
            self._later.popleft()
            self.pressure.n_put_off -= question.n_callers
            refusal = self._refusal_late(question) if is_late else None
            if refusal is not None:
                question.react(refusal)
            elif seconds > INLINE_S:
                self._queue_up(question)
            elif policy.pace.is_batched:
                groups.setdefault((policy, question.with_values), []).append(question)
                left_s -= seconds
            else:
                parts.append([question])
                left_s -= seconds
        for group in groups.values():
            parts.extend(split(group, max_rows=self._capacity.max_batch, max_s=INLINE_S))
        if self._later:
            self._post(self._answer_later)
        # All runs come first: a run leaves nothing of what Python works with in the processor's caches.
        for part, outcome in [(part, run_together(self._of_loop, part)) for part in parts]:
            self._deliver(part, *outcome)

    def _refusal_late(self, question: Question) -> Exception | None:
        """Return why a question that was put off is not answered any more; None where it is."""
        if not question.is_wanted():
            return Expired(DROPPED)
        if question.is_step or not self.pressure.is_felt:
            return None
        waited_s = time.perf_counter() - question.asked_at
        return self.pressure.staleness(question.deadline, time.monotonic(), waited_s)

    def _queue_up(self, question: Question) -> None:
        """Let the question wait for the thread, or refuse it."""
        if self._is_closed:
            question.react(NotReady("stopping: the call came too late to be answered"))
            return
        self._waiting.put(question)
        self.pressure.crowded_until = self._waiting.overloaded_until
        if self._waiting and not self._is_busy:
            self._is_busy = True
            self._post(self._give_work)

    def _give_work(self) -> None:
        """Give the thread what waited longest, and all of its kind that fits with it."""
        while self._waiting:
            group = []
            for question in self._waiting.take():
                refusal = self._waiting.staleness(question)
                if not question.is_wanted():
                    question.react(Expired(DROPPED))
                elif refusal is not None:
                    question.react(refusal)
                else:
                    group.append(question)
            self.pressure.crowded_until = self._waiting.overloaded_until
            if group:
                self._thread.submit(self._work, group, time.perf_counter())
                return
        self._is_busy = False
        if self._is_closed:
            self._thread.shutdown(wait=False)

    def _work(self, group: list[Question], given_at: float) -> None:
        """Run the model, on the inference thread, which was given the work then."""
        result, started, seconds = run_together(self._of_thread, group)

        def deliver() -> None:
            # With the time that both threads took to hand it over: so long it is until the next run begins.
            whole_s = time.perf_counter() - given_at
            self._waiting.note_run(group[0].policy, sum(len(one.observations) for one in group), whole_s)
            try:
                self._deliver(group, result, started, seconds)
            except Exception:
                log.exception("inference_failed", policy=group[0].policy.name)
            group.clear()  # what was answered is not held until there is more to do
            self._give_work()

        self._post(deliver)


def check_epsilon(policy: Policy, epsilon: float) -> None:
    """Return if actions may be explored so.

    Raises:
        InvalidRequest: epsilon is no probability, or not 0 for continuous actions.
    """
    if not 0 <= epsilon <= 1:
        raise InvalidRequest("epsilon", "a probability from 0 to 1", str(epsilon))
    if epsilon > 0 and policy.choices is None:
        raise InvalidRequest("epsilon", "0 for a policy with continuous actions", str(epsilon))
