"""From the steps of the environments to updates of the agent: through a replay, or from each trajectory once."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from polserve.training.learning.agents.agent import ReplayAgent, TrajectoryAgent
from polserve.training.learning.hyperparameters import ReplayConfig
from polserve.training.learning.replay import Replay
from polserve.training.learning.rewards import Factor, unchanged
from polserve.training.learning.saved_state import to_arrays
from polserve.training.learning.transitions import Trajectories, VectorStep

REFILL = 0.25
"""Part of the capacity up to which a resumed run fills a new replay with as much as the lost one held, so that it does
not learn from the latest few thousand steps alone."""


class Learner(Protocol):
    """Makes updates from steps, when it has enough of them."""

    def observe(self, step: VectorStep, rng: np.random.Generator, reward_factor: Factor = unchanged) -> int:
        """Take in one step of every environment, and learn if that is due, from rewards times the factor.

        Returns:
            How many transitions were learned from.
        """

    def state(self) -> dict[str, Any]:
        """Everything that is needed to go on, the agent apart."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave; raises CheckpointError where it does not fit."""


class ReplayLearner:
    """Keeps steps in the replay, and after each makes updates from ones drawn at random."""

    def __init__(self, agent: ReplayAgent, replay: Replay, config: ReplayConfig) -> None:
        self._agent = agent
        self._replay = replay
        self._config = config
        self._kept = 0
        self._starts = config.learning_starts

    def observe(self, step: VectorStep, rng: np.random.Generator, reward_factor: Factor = unchanged) -> int:
        """Keep the step, whose reward is kept as it is; learn once there are enough."""
        self._replay.add(step)
        self._kept += int(step.is_real.sum())
        if self._kept < self._starts:
            return 0
        batches = self._replay.sample(rng, self._agent.sampling, self._config.updates_per_vector_step)
        self._agent.learn(replace(batches, reward_t=batches.reward_t * np.float32(reward_factor())))
        return len(batches.reward_t)

    def state(self) -> dict[str, Any]:
        """Contents of the replay; only how many they are where they are not to be saved."""
        if not self._config.checkpoint_replay:
            return {"held": max(len(self._replay), self._starts)}
        return {"replay": self._replay.state(), "remembered": self._kept}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the replay where it was saved; else learn only when a new one has been filled."""
        if "replay" in state:
            replay = state["replay"]
            self._replay.load_state({**replay, "rows": to_arrays(replay["rows"])})
            self._kept = int(state["remembered"])
        elif "held" in state:  # earlier versions did not keep it
            enough = int(REFILL * self._config.replay_capacity)
            self._starts = max(self._config.learning_starts, min(int(state["held"]), enough))


class TrajectoryLearner:
    """Learns from each trajectory when it is complete; its last step is the first of the next."""

    def __init__(self, agent: TrajectoryAgent) -> None:
        self._agent = agent
        self._steps: list[VectorStep] = []

    def observe(self, step: VectorStep, rng: np.random.Generator, reward_factor: Factor = unchanged) -> int:
        """Add the step to the trajectory; learn if it completes it."""
        self._steps.append(step)
        if len(self._steps) <= self._agent.trajectory_steps:
            return 0
        trajectories, self._steps = Trajectories.of(self._steps), [step]
        rewards = trajectories.reward_t * np.float32(reward_factor())
        return self._agent.learn(replace(trajectories, reward_t=rewards), rng)

    def state(self) -> dict[str, Any]:
        """No state: a resumed run begins new trajectories."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Begin new trajectories."""
