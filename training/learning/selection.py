"""The greedy evaluations of a run: which weights are the best so far, and how many steps it took to tell."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from polserve.training.learning.agents.agent import Agent, Weights
from polserve.training.learning.hyperparameters import LoopConfig
from polserve.training.learning.interrupts import interruptible
from polserve.training.learning.scores import Score, ScorePolicy
from polserve.training.learning.tracing import GUARD


class Selection:
    """Scores the greedy policy now and then, and keeps the best weights."""

    def __init__(self, score: ScorePolicy, config: LoopConfig) -> None:
        self._score = score
        self._config = config
        self._is_due = False
        self._best_returns: tuple[float, ...] = ()
        self.steps = 0
        """Environment steps of the evaluations."""
        self.curve: list[tuple[int, float]] = []
        """Step of training and score of every evaluation."""
        self.best: Weights | None = None
        """Weights of the best score; None before the first that is a number."""
        self.best_score = -np.inf

    def is_due(self, before: int, step: int) -> bool:
        """Whether to evaluate at `step`, where the step of all environments began at `before`.

        An evaluation waits while those before it took more than their share of all steps; the last one never does.
        """
        self._is_due |= crosses(before, step, self._config.evaluate_every)
        if step >= self._config.steps:
            return True
        return self._is_due and self.steps <= self._config.selection_share * (self.steps + step)

    def evaluate(self, agent: Agent, step: int, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Score the greedy policy; keep its weights if they are the best so far.

        Raises:
            Interrupted: `should_stop` said so before the end.
        """
        known = Score(self.best_score, 0, self._best_returns) if self.best is not None else None
        score = self._score(interruptible(GUARD.beside(agent.greedy), should_stop), known)
        self._is_due = False
        self.steps += score.steps
        self.curve.append((step, score.value))
        if score.is_whole and score.value > self.best_score:
            self.best_score, self.best, self._best_returns = score.value, agent.weights(), score.returns

    def state(self) -> dict[str, Any]:
        """Everything that `load_state` needs."""
        return {
            "curve": list(self.curve),
            "best": self.best,
            "best_score": self.best_score,
            "best_returns": list(self._best_returns),
            "selection_steps": self.steps,
            "is_evaluation_due": self._is_due,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self.curve = [(step, value) for step, value in state["curve"]]
        self.best, self.best_score = state["best"], state["best_score"]
        self._best_returns = tuple(state["best_returns"])
        self.steps, self._is_due = state["selection_steps"], state["is_evaluation_due"]


def crosses(before: int, after: int, every: int) -> bool:
    """Whether a multiple of `every` lies above `before`, up to `after`."""
    return before // every != after // every
