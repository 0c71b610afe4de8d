"""From the steps of the environments to updates of the agent: through a replay memory, or from each rollout once."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from polserve.training.learning.agents.agent import ReplayAgent, RolloutAgent
from polserve.training.learning.hyperparameters import ReplayConfig
from polserve.training.learning.replay import Replay
from polserve.training.learning.saved_state import to_arrays
from polserve.training.learning.transitions import Rollout, VectorStep


class Learner(Protocol):
    """Makes updates from steps, when it has enough of them."""

    def observe(self, step: VectorStep, rng: np.random.Generator) -> int:
        """Take in one step of every environment, and learn if that is due; returns how many transitions it learned."""

    def state(self) -> dict[str, Any]:
        """What is needed to go on, the agent apart."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave; raises CheckpointError where it does not fit."""


class ReplayLearner:
    """Remembers steps, and after each makes updates from ones drawn at random."""

    def __init__(self, agent: ReplayAgent, replay: Replay, config: ReplayConfig) -> None:
        self._agent = agent
        self._replay = replay
        self._config = config
        self._remembered = 0

    def observe(self, step: VectorStep, rng: np.random.Generator) -> int:
        """Remember the step; learn once enough are remembered."""
        self._replay.add(step)
        self._remembered += int(step.is_real.sum())
        updates = self._config.updates_per_vector_step
        if not updates or self._remembered < self._config.learning_starts:
            return 0
        batches = self._replay.sample(rng, self._agent.sampling, updates)
        self._agent.learn(batches)
        return len(batches.reward_t)

    def state(self) -> dict[str, Any]:
        """The memory, unless it is not to be saved."""
        if not self._config.checkpoint_replay:
            return {}
        return {"replay": self._replay.state(), "remembered": self._remembered}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the memory where it was saved."""
        if "replay" in state:
            replay = state["replay"]
            self._replay.load_state({**replay, "rows": to_arrays(replay["rows"])})
            self._remembered = int(state["remembered"])


class RolloutLearner:
    """Learns from each rollout when it is complete; its last step is the first of the next."""

    def __init__(self, agent: RolloutAgent) -> None:
        self._agent = agent
        self._steps: list[VectorStep] = []

    def observe(self, step: VectorStep, rng: np.random.Generator) -> int:
        """Add the step to the rollout; learn if it completes it."""
        self._steps.append(step)
        if len(self._steps) <= self._agent.rollout_steps:
            return 0
        rollout, self._steps = Rollout.of(self._steps), [step]
        return self._agent.learn(rollout, rng)

    def state(self) -> dict[str, Any]:
        """Nothing: a resumed run begins a new rollout."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Begin a new rollout."""
