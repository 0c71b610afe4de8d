"""From checked observations to actions: which version, at once or through the queue, explored or not."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polserve.serving.batching import InferenceQueue, Outcome, Work, answer_together, split, timed_act
from polserve.serving.catalog import Catalog
from polserve.serving.errors import DROPPED, Expired, InvalidRequest, NotReady, Overloaded
from polserve.serving.metrics.answers import AnsweringMetrics
from polserve.serving.policy import Answer, Policy

INLINE_S = 1e-3
"""What takes the model longer goes through the queue, so that a thread that reads calls is free for others."""


@dataclass(frozen=True, slots=True)
class Explored:
    """An answer, and for which observations the action was drawn at random; None where none could be."""

    answer: Answer
    is_explored: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class Question:
    """Checked observations for one version, and who waits for the answer."""

    policy: Policy
    observations: NDArray[Any]  # (n, *shape)
    with_values: bool
    epsilon: float
    is_wanted: Callable[[], bool]
    """False once nobody waits any more: what is slow is then answered with Expired, and never reaches the model."""
    react: Callable[[Explored | Exception], None]


class Responder:
    """Answers observations with actions of the live versions."""

    def __init__(
        self, catalog: Catalog, metrics: AnsweringMetrics, queue: InferenceQueue, rng: np.random.Generator
    ) -> None:
        """`rng` draws the explored actions."""
        self._catalog = catalog
        self._metrics = metrics
        self._queue = queue
        self._rng = rng

    def resolve(self, policy: str, version: str) -> Policy:
        """The version that answers; raises UnknownPolicy or UnknownVersion."""
        return self._catalog.resolve(policy, version)

    def answer(self, questions: Sequence[Question]) -> None:
        """Each question's `react` gets its answer: before this returns, or later where the model is slow.

        Questions that are asked together are answered together, where that pays.
        """
        batched: dict[Policy, list[Work]] = {}
        for question in questions:
            policy = question.policy
            is_slow = policy.pace.seconds(len(question.observations)) > INLINE_S
            if is_slow:
                self._queue_up(question)
            elif policy.pace.is_batched:
                batched.setdefault(policy, []).append(self._work(question))
            else:
                self._answer_now(question)
        for group in batched.values():
            for part in split(group, max_batch=self._queue.max_batch, max_s=INLINE_S):
                answer_together(self._metrics, part)

    def _answer_now(self, question: Question) -> None:
        if not question.is_wanted():
            question.react(Expired(DROPPED))
            return
        try:
            answer = timed_act(
                self._metrics,
                question.policy,
                question.observations,
                with_values=question.with_values,
                is_wanted=question.is_wanted,
            )
            outcome: Explored | Exception = self._explore(question, answer)
        except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it was
            outcome = error
        question.react(outcome)

    def _queue_up(self, question: Question) -> None:
        try:
            self._queue.put(self._work(question))
        except (Overloaded, NotReady) as refusal:
            question.react(refusal)

    def _work(self, question: Question) -> Work:
        def done(outcome: Outcome) -> None:
            try:
                told = outcome if isinstance(outcome, Exception) else self._explore(question, outcome)
            except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it was
                told = error
            question.react(told)

        return Work(question.policy, question.observations, question.with_values, question.is_wanted, done)

    def wait(
        self,
        policy: Policy,
        observations: NDArray[Any],
        is_wanted: Callable[[], bool],
        *,
        with_values: bool,
        epsilon: float,
    ) -> Explored:
        """The answer, for a thread that has nothing else to do; with others that wait at the same moment.

        Raises:
            Overloaded: the queue is full.
            Expired: nobody wanted it any more when its turn came.
        """
        future: Future[Explored] = Future()

        def react(outcome: Explored | Exception) -> None:
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        self.ask(Question(policy, observations, with_values, epsilon, is_wanted, react))
        return future.result()

    def ask(self, question: Question) -> None:
        """As `answer`, for one of several threads: where batching pays, the queue brings their questions together."""
        if question.policy.pace.is_batched:
            self._queue_up(question)
        else:
            self.answer([question])

    def _explore(self, question: Question, answer: Answer) -> Explored:
        """The answer with some actions drawn at random, counted as what it became."""
        policy = question.policy
        is_explored = None
        if question.epsilon > 0 and policy.n_actions is not None:
            n = len(answer.actions)
            is_explored = self._rng.random(n) < question.epsilon
            drawn = self._rng.integers(policy.n_actions, size=n)
            answer = Answer(np.where(is_explored, drawn, answer.actions), answer.values)
        self._metrics.policy(policy).observe_answer(answer)
        return Explored(answer, is_explored)


def check_epsilon(policy: Policy, epsilon: float) -> None:
    """Return if actions may be explored so.

    Raises:
        InvalidRequest: epsilon is no probability, or not 0 for continuous actions.
    """
    if not 0 <= epsilon <= 1:
        raise InvalidRequest("epsilon", "a probability from 0 to 1", str(epsilon))
    if epsilon > 0 and policy.n_actions is None:
        raise InvalidRequest("epsilon", "0 for a policy with continuous actions", str(epsilon))
