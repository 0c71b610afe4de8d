"""Parallelised Q-learning without a replay or a target network: PQN, Gallici et al. 2024."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polserve.training.learning.agents.actor import ValueActor
from polserve.training.learning.agents.agent import Weights
from polserve.training.learning.agents.exploration import Exploration
from polserve.training.learning.agents.losses import q_lambda_target, take, td_loss
from polserve.training.learning.hyperparameters import PqnConfig
from polserve.training.learning.networks import GreedyPolicy
from polserve.training.learning.schedules import linear
from polserve.training.learning.transitions import Trajectories


class PqnAgent:
    """A value network, normalised layer by layer in place of a target network, and its optimiser."""

    def __init__(self, config: PqnConfig, actor: ValueActor, exploration: Exploration) -> None:
        self._config = config
        self._actor = actor
        self._exploration = exploration
        parameters = actor.network.parameters()
        # All parameters in one call, which takes torch a fraction of the time of one after another.
        self._optimizer = torch.optim.RAdam(parameters, lr=config.learning_rate, foreach=True)
        self._updates = 0
        self._latest: tuple[Tensor, Tensor] | None = None

    @property
    def algorithm(self) -> str:
        """The name "pqn"."""
        return "pqn"

    @property
    def trajectory_steps(self) -> int:
        """Steps of each environment that `learn` takes."""
        return self._config.rollout_steps

    def explore(self, observations: NDArray[Any], step: int, rng: np.random.Generator) -> NDArray[Any]:
        """Epsilon-greedy actions (n,) int64."""
        return self._exploration.choose(self._actor.greedy(observations), step, rng)

    def greedy(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Actions (n,) int64 of the highest value."""
        return self._actor.greedy(observations)

    def learn(self, trajectories: Trajectories, rng: np.random.Generator) -> int:
        """Make updates from every real step, `epochs` times, in random order; return how many were learned from."""
        target = self._targets(trajectories)[trajectories.is_real]
        observation_tm1 = trajectories.observation[:-1][trajectories.is_real]
        action_tm1 = trajectories.action_tm1[trajectories.is_real]
        for _ in range(self._config.epochs if len(target) else 0):
            for rows in self._batches(len(target), rng):
                self._update(observation_tm1[rows], action_tm1[rows], target[rows])
        return len(target) * self._config.epochs

    def losses(self) -> dict[str, float]:
        """TD loss and learning rate of the latest update, and mean value, in the units of the environment's rewards."""
        if self._latest is None:
            return {}
        loss, q_taken = self._latest
        q_mean = float(q_taken.mean()) / self._actor.reward_factor()
        return {"losses/td": float(loss), "losses/q_mean": q_mean, "charts/learning_rate": self._learning_rate()}

    def exploration(self, step: int) -> dict[str, float]:
        """Epsilon at `step`."""
        return self._exploration.figures(step)

    def weights(self) -> Weights:
        """Copy of the network's weights."""
        return self._actor.weights()

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what `weights` gave."""
        self._actor.load_weights(weights)

    def state(self) -> dict[str, Any]:
        """Network, optimiser and update counter."""
        network = self._actor.network.state_dict()
        return {"online": network, "optimizer": self._optimizer.state_dict(), "updates": self._updates}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self._actor.load_weights(state["online"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._updates = int(state["updates"])

    def policy(self) -> GreedyPolicy:
        """Raw observation to the best action and all values."""
        return self._actor.policy()

    @torch.no_grad()
    def _targets(self, trajectories: Trajectories) -> NDArray[np.float32]:
        """Targets (steps, n) of the values of the actions taken."""
        steps = trajectories.observation[1:]
        best_t = np.stack([self._actor.quantiles(each).mean(dim=2).amax(dim=1).cpu().numpy() for each in steps])
        return q_lambda_target(best_t, trajectories, self._config.discount, self._config.trace_decay)

    def _batches(self, n: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
        order = rng.permutation(n)
        yield from np.array_split(order, max(1, round(n / self._config.batch_size)))

    def _update(self, observation: NDArray[Any], action: NDArray[Any], target: NDArray[np.float32]) -> None:
        quantiles = take(self._actor.quantiles(observation), self._actor.indices(action))
        q_taken = quantiles.mean(dim=1)
        loss = td_loss(q_taken, self._actor.tensor(target), "squared")
        self._optimizer.param_groups[0]["lr"] = self._learning_rate()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._actor.network.parameters(), self._config.max_grad_norm)
        self._optimizer.step()
        self._updates += 1
        self._latest = loss.detach(), q_taken.detach()

    def _learning_rate(self) -> float:
        config = self._config
        return linear(self._updates, config.learning_rate, config.learning_rate_end, config.learning_rate_updates)
