"""From checked observations to actions: which version, at once or through the queue, explored or not."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serving.batching import InferenceQueue, Outcome, Work, timed_act
from serving.catalog import Catalog
from serving.errors import InvalidRequest
from serving.metrics.answering import AnsweringMetrics
from serving.policy import Answer, Policy

INLINE_S = 500e-6
"""What takes the model longer goes through the queue, so that a thread that reads calls is free for others."""


@dataclass(frozen=True, slots=True)
class Question:
    """Checked observations for one version."""

    policy: Policy
    observations: NDArray[Any]  # (n, *shape)
    with_values: bool
    epsilon: float


@dataclass(frozen=True, slots=True)
class Explored:
    """An answer, and for which observations the action was drawn at random; None where none could be."""

    answer: Answer
    is_explored: NDArray[np.bool_] | None


Reaction: TypeAlias = Callable[[Explored | Exception], None]


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

    def answer(self, question: Question, is_wanted: Callable[[], bool], react: Reaction) -> None:
        """`react` gets the answer: before this returns, or from the inference thread where the model is slow.

        What nobody wants any more when its turn comes is answered with Expired.

        Raises:
            Overloaded: the queue is full.
        """
        policy = question.policy
        n = len(question.observations)
        if not policy.pace.is_batched and policy.pace.seconds(n) < INLINE_S:
            answer = timed_act(self._metrics, policy, question.observations, with_values=question.with_values)
            react(self._explore(question, answer))
            return

        def done(outcome: Outcome) -> None:
            react(outcome if isinstance(outcome, Exception) else self._explore(question, outcome))

        self._queue.put(Work(policy, question.observations, question.with_values, is_wanted, done))

    def wait(self, question: Question, is_wanted: Callable[[], bool]) -> Explored:
        """The answer, for a thread that has nothing else to do.

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

        self.answer(question, is_wanted, react)
        return future.result()

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
