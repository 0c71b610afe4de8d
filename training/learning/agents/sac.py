"""Soft actor-critic: Haarnoja et al. 2018 (arXiv 1812.05905), with two critics and a temperature that is learned."""

from collections.abc import Mapping
from math import log
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from polserve.training.learning.actor_critic_hyperparameters import SacConfig
from polserve.training.learning.agents.actor_critic import ActorDesign, DeterministicPolicy
from polserve.training.learning.agents.agent import Weights
from polserve.training.learning.agents.continuous import ContinuousActor, adam, descend
from polserve.training.learning.agents.critics import FollowedCritics
from polserve.training.learning.agents.noise import CorrelatedNoise
from polserve.training.learning.compute import Compute
from polserve.training.learning.transitions import Sampling, Transitions

LOG_DEVIATION = (-5.0, 2.0)
"""Range of the logarithm of the actions' standard deviation, before they are bounded."""


class StochasticPolicy(DeterministicPolicy):
    """An actor that draws its actions in training; what is exported is the middle of what it draws from."""

    def __init__(self, design: ActorDesign) -> None:
        super().__init__(design, outputs=2)
        self._n_components = design.n_components

    def normalised(self, features: Tensor) -> Tensor:
        """Middle (batch, k) of the actions in [-1, 1]."""
        return torch.tanh(self.layers(features)[:, : self._n_components])

    def drawn(self, features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Actions (batch, k) in [-1, 1] by standard normal `noise` of that shape, and their log densities (batch,)."""
        mean, log_deviation = self.layers(features).chunk(2, dim=1)
        log_deviation = log_deviation.clamp(*LOG_DEVIATION)
        raw = mean + log_deviation.exp() * noise
        density = -0.5 * noise.square() - log_deviation - 0.5 * log(2 * torch.pi)
        squeezed = 2 * (log(2) - raw - functional.softplus(-2 * raw))  # log of the derivative of tanh
        return torch.tanh(raw), (density - squeezed).sum(dim=1)


class SacAgent:
    """A stochastic actor, two critics with their targets, a temperature, and their optimisers."""

    def __init__(self, config: SacConfig, design: ActorDesign, compute: Compute) -> None:
        self._config = config
        self._n_components = design.n_components
        self._actor = StochasticPolicy(design)
        self._by_actor = ContinuousActor(self._actor, compute, design.finishing)
        self._critics = FollowedCritics(design, 2, compute, config.critic_learning_rate)
        self._temperature = nn.ParameterDict({"log": torch.tensor(log(config.temperature))}).to(compute.device)
        self._actor_optimizer = adam(self._actor.layers, config.actor_learning_rate)
        self._temperature_optimizer = adam(self._temperature, config.temperature_learning_rate)
        self._exploring = CorrelatedNoise(design.n_components, config.noise_memory)
        self._noise_source = torch.Generator(compute.device).manual_seed(int(torch.randint(2**31, ())))
        self._latest: dict[str, Tensor] = {}

    @property
    def algorithm(self) -> str:
        """The name "sac"."""
        return "sac"

    @property
    def sampling(self) -> Sampling:
        """Batches of n-step transitions."""
        return Sampling(self._config.batch_size, self._config.n_step, self._config.discount)

    @torch.no_grad()
    def explore(self, observations: NDArray[Any], step: int, rng: np.random.Generator) -> NDArray[Any]:
        """Actions (n, k) float32 drawn by the actor, within the bounds."""
        n = len(observations)
        if step < self._config.random_steps:
            return self._by_actor.scaled(self._exploring.draw_uniform(n, rng))
        noise = self._by_actor.tensor(self._exploring.draw(n, rng).astype(np.float32))
        action, _ = self._actor.drawn(self._by_actor.features(observations), noise)
        return self._by_actor.scaled(action.cpu().numpy())

    def greedy(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Middle of the actor's actions (n, k) float32."""
        return self._by_actor.greedy(observations)

    def learn(self, batches: Transitions) -> None:
        """Make one update from each of the batches."""
        for batch in self._by_actor.split(batches, self._config.batch_size):
            self._update(*batch)

    def losses(self) -> dict[str, float]:
        """Loss of the critics, mean value, entropy and temperature of the latest update."""
        return {f"losses/{name}": float(value) for name, value in self._latest.items()}

    def exploration(self, step: int) -> dict[str, float]:  # noqa: ARG002 - as of other agents
        """Temperature, which is what exploration is worth."""
        return {"charts/temperature": float(self._temperature["log"].detach().exp())}

    def weights(self) -> Weights:
        """Copy of the actor's weights."""
        return self._by_actor.weights()

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what `weights` gave."""
        self._by_actor.load_weights(weights)

    def state(self) -> dict[str, Any]:
        """Networks, temperature, optimisers and the source of noise."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return parts | {"noise_source": self._noise_source.get_state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self._noise_source.set_state(state["noise_source"])

    def policy(self) -> nn.Module:
        """Observation to the middle of the actions."""
        return self._by_actor.policy()

    def _parts(self) -> dict[str, Any]:
        return {
            "online": self._actor,
            "temperature": self._temperature,
            "actor_optimizer": self._actor_optimizer,
            "temperature_optimizer": self._temperature_optimizer,
            **self._critics.parts(),
        }

    def _update(
        self, features_tm1: Tensor, action_tm1: Tensor, reward_t: Tensor, discount_t: Tensor, features_t: Tensor
    ) -> None:
        config = self._config
        temperature = self._temperature["log"].detach().exp()
        with torch.no_grad():
            action_t, density_t = self._actor.drawn(features_t, self._noise(action_tm1))
            value_t = self._critics.least_target(features_t, action_t) - temperature * density_t
            target = reward_t + discount_t * value_t
        self._latest = self._critics.regress(features_tm1, action_tm1, target, config.critic_learning_rate)
        action, density = self._actor.drawn(features_tm1, self._noise(action_tm1))
        actor_loss = (temperature * density - self._critics.least(features_tm1, action)).mean()
        descend(self._actor_optimizer, actor_loss, config.actor_learning_rate)
        entropy = -density.detach().mean()
        surplus = entropy - config.target_entropy * self._n_components
        descend(self._temperature_optimizer, self._temperature["log"] * surplus, config.temperature_learning_rate)
        self._critics.follow(config.target_tau)
        self._latest["entropy"] = entropy

    def _noise(self, actions: Tensor) -> Tensor:
        return torch.empty_like(actions).normal_(generator=self._noise_source)
