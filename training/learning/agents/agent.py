"""What the training loop asks of an algorithm."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from polserve.training.learning.transitions import Sampling, Trajectories, Transitions

Weights: TypeAlias = dict[str, Tensor]


class Agent(Protocol):
    """An algorithm with its networks; the loop acts, stores, learns and evaluates without knowing which."""

    @property
    def algorithm(self) -> str:
        """Short name, such as "dqn"."""

    def explore(self, observations: NDArray[Any], step: int, rng: np.random.Generator) -> NDArray[Any]:
        """Actions (n, ...) for training at environment step `step`."""

    def greedy(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Actions (n, ...) that the agent holds to be best."""

    def losses(self) -> dict[str, float]:
        """Figures of the latest update, by metric path such as "losses/td"."""

    def exploration(self, step: int) -> dict[str, float]:
        """Figures of the exploration at environment step `step`, by metric path."""

    def weights(self) -> Weights:
        """Copy of the weights that decide the greedy action."""

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what `weights` gave."""

    def state(self) -> dict[str, Any]:
        """Everything that learning needs to go on; its tensors are the live ones, to be saved at once or copied."""

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""

    def policy(self) -> nn.Module:
        """Return the module to export: raw observation to action, and values where the algorithm has them."""


class ReplayAgent(Agent, Protocol):
    """An agent that learns from transitions drawn from a replay."""

    @property
    def sampling(self) -> Sampling:
        """What `learn` takes."""

    def learn(self, batches: Transitions) -> None:
        """Make one update from each of the batches, which follow one another."""


class TrajectoryAgent(Agent, Protocol):
    """An agent that learns from each trajectory once, and forgets it."""

    @property
    def trajectory_steps(self) -> int:
        """Steps of each environment that `learn` takes."""

    def learn(self, trajectories: Trajectories, rng: np.random.Generator) -> int:
        """Make updates from the trajectories; return the number of steps learned from."""
