"""From a checked request to an answer: which version, which actions, explored or not."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.catalog import Catalog
from serving.errors import InvalidRequest
from serving.metrics import Metrics
from serving.policy import Answer, Policy


@dataclass(frozen=True, slots=True)
class Explored:
    """An answer, and for which observations the action was drawn at random; None where none could be."""

    answer: Answer
    is_explored: NDArray[np.bool_] | None


class Responder:
    """Answers observations with actions of the live versions."""

    def __init__(self, catalog: Catalog, metrics: Metrics, rng: np.random.Generator) -> None:
        """`rng` draws the explored actions."""
        self._catalog = catalog
        self._metrics = metrics
        self._rng = rng

    def resolve(self, policy: str, version: str) -> Policy:
        """The version that answers; raises UnknownPolicy or UnknownVersion."""
        return self._catalog.resolve(policy, version)

    def act(self, policy: Policy, batch: NDArray[Any], *, with_values: bool, epsilon: float) -> Explored:
        """Actions for checked observations (n, *shape).

        Raises:
            InvalidRequest: epsilon is no probability, or not 0 for continuous actions.
        """
        _check_epsilon(policy, epsilon)
        started = time.perf_counter()
        answer = policy.act(batch, with_values=with_values)
        seconds = time.perf_counter() - started
        is_explored = None
        if epsilon > 0 and policy.n_actions is not None:
            is_explored = self._rng.random(len(batch)) < epsilon
            drawn = self._rng.integers(policy.n_actions, size=len(batch))
            answer = Answer(np.where(is_explored, drawn, answer.actions), answer.values)
        self._metrics.observe_answer(policy, answer, seconds)
        return Explored(answer, is_explored)


def _check_epsilon(policy: Policy, epsilon: float) -> None:
    if not 0 <= epsilon <= 1:
        raise InvalidRequest("epsilon", "a probability from 0 to 1", str(epsilon))
    if epsilon > 0 and policy.n_actions is None:
        raise InvalidRequest("epsilon", "0 for a policy with continuous actions", str(epsilon))
