"""Deep Q-network: Mnih et al. 2015, with Double DQN (van Hasselt et al. 2016) on by default.

With a network of several quantiles it is QR-DQN (Dabney et al. 2018).
"""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polserve.training.learning.agents.actor import ValueActor
from polserve.training.learning.agents.agent import Weights
from polserve.training.learning.agents.bounds import ReturnBounds
from polserve.training.learning.agents.exploration import Exploration
from polserve.training.learning.agents.losses import (
    RelativeKappa,
    move_towards,
    q_learning_target,
    quantile_loss,
    take,
    td_loss,
)
from polserve.training.learning.hyperparameters import DqnConfig
from polserve.training.learning.networks import GreedyPolicy
from polserve.training.learning.schedules import linear
from polserve.training.learning.transitions import Sampling, Transitions


class DqnAgent:
    """A Q-network, its target network and their optimiser."""

    def __init__(self, config: DqnConfig, actor: ValueActor, exploration: Exploration) -> None:
        self._config = config
        self._actor = actor
        self._exploration = exploration
        self._online = actor.network
        self._target = copy.deepcopy(self._online).requires_grad_(requires_grad=False)
        self._target.wrappers = self._online.wrappers  # one set of statistics
        self._acting = self._target if config.acts_by_target else self._online
        self._optimizer = torch.optim.Adam(
            self._online.parameters(), lr=config.learning_rate, eps=config.adam_epsilon, fused=True
        )
        self._updates = 0
        self._blocks = 0
        self._relative = RelativeKappa()
        self._bounds = ReturnBounds(config.discount, config.n_step)
        self._latest: tuple[Tensor, Tensor] | None = None

    @property
    def algorithm(self) -> str:
        """The name "dqn", or "qr-dqn" for a network of several quantiles."""
        return "dqn" if self._online.config.quantiles == 1 else "qr-dqn"

    @property
    def sampling(self) -> Sampling:
        """Batches of n-step transitions."""
        return Sampling(self._config.batch_size, self._config.n_step, self._config.discount)

    def explore(self, observations: NDArray[Any], step: int, rng: np.random.Generator) -> NDArray[Any]:
        """Epsilon-greedy actions (n,) int64."""
        return self._exploration.choose(self.greedy(observations), step, rng)

    def greedy(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Actions (n,) int64 of the highest value."""
        return self._actor.greedy(observations, self._acting)

    def learn(self, batches: Transitions) -> None:
        """Make one update from each of the batches, then move the target network.

        The targets of all batches are computed together beforehand, which costs little more than those of one.
        """
        config, actor = self._config, self._actor
        with torch.no_grad():
            target_t = actor.quantiles(batches.observation_t, self._target)
            selector_t = actor.quantiles(batches.observation_t) if config.double else target_t
            target = q_learning_target(
                target_t, selector_t.mean(dim=2), actor.tensor(batches.reward_t), actor.tensor(batches.discount_t)
            )
            target = self._bounds.keep(target, batches.reward_t)
        columns = (actor.tensor(batches.observation_tm1), actor.indices(batches.action_tm1), target)
        for batch in zip(*(torch.split(column, config.batch_size) for column in columns), strict=True):
            self._update(*batch)
        self._blocks += 1
        if self._blocks % config.target_period == 0:
            move_towards(self._target, self._online, config.target_tau)

    def losses(self) -> dict[str, float]:
        """TD loss of the latest update, of rewards as they are learned from, and mean value, in their own units."""
        if self._latest is None:
            return {}
        loss, quantiles_tm1 = self._latest
        return {
            "losses/td": float(loss),
            "losses/q_mean": float(quantiles_tm1.mean()) / self._actor.reward_factor(),
            "charts/learning_rate": self._learning_rate(),
        }

    def exploration(self, step: int) -> dict[str, float]:
        """Epsilon at `step`."""
        return self._exploration.figures(step)

    def weights(self) -> Weights:
        """Copy of the weights that it acts by."""
        return self._actor.weights(self._acting)

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights, for both networks, and bound no targets from now on."""
        self._actor.load_weights(weights)
        self._target.load_state_dict(weights)
        self._bounds.lift()

    def state(self) -> dict[str, Any]:
        """Networks, optimiser and update counter."""
        return {
            "online": self._online.state_dict(),
            "target": self._target.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "updates": self._updates,
            "blocks": self._blocks,
            "error_size": self._relative.error_size,
            "bounds": self._bounds.state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self._online.load_state_dict(state["online"])
        self._target.load_state_dict(state["target"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._updates, self._blocks = int(state["updates"]), int(state["blocks"])
        self._relative.error_size = state["error_size"]
        if "bounds" in state:
            self._bounds.load_state(state["bounds"])
        else:  # a checkpoint without them has values of rewards that may not be met soon
            self._bounds.lift()

    def policy(self) -> GreedyPolicy:
        """Observation to the best action and all values."""
        return self._actor.policy(self._acting)

    def _update(self, observation_tm1: Tensor, action_tm1: Tensor, target: Tensor) -> None:
        quantiles_tm1 = take(self._actor.quantiles(observation_tm1), action_tm1)
        if quantiles_tm1.shape[1] == 1:
            loss = td_loss(quantiles_tm1, target, self._config.loss)
        else:
            kappa = self._config.kappa or self._relative.of(quantiles_tm1, target)
            loss = quantile_loss(quantiles_tm1, target, kappa)
        self._optimizer.param_groups[0]["lr"] = self._learning_rate()
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._config.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self._online.parameters(), self._config.max_grad_norm)
        self._optimizer.step()
        self._updates += 1
        self._latest = loss.detach(), quantiles_tm1.detach()

    def _learning_rate(self) -> float:
        config = self._config
        return linear(self._updates, config.learning_rate, config.learning_rate_end, config.learning_rate_updates)
