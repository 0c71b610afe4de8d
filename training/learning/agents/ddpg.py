"""Deep deterministic policy gradient: Lillicrap et al. 2016, with TD3's parts (Fujimoto et al. 2018) as options."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polserve.training.learning.actor_critic_hyperparameters import DdpgConfig
from polserve.training.learning.agents.actor_critic import ActorDesign, DeterministicPolicy
from polserve.training.learning.agents.agent import Weights
from polserve.training.learning.agents.continuous import ContinuousActor, adam, descend
from polserve.training.learning.agents.critics import FollowedCritics
from polserve.training.learning.agents.losses import move_towards
from polserve.training.learning.agents.noise import CorrelatedNoise
from polserve.training.learning.compute import Compute
from polserve.training.learning.schedules import linear
from polserve.training.learning.transitions import Sampling, Transitions


class DdpgAgent:
    """Actor and critics, their targets and optimisers."""

    def __init__(self, config: DdpgConfig, design: ActorDesign, compute: Compute) -> None:
        self._config = config
        self._exploring = CorrelatedNoise(design.n_components, config.noise_memory)
        self._actor = DeterministicPolicy(design)
        self._by_actor = ContinuousActor(self._actor, compute, design.finishing)
        n_critics = 2 if config.twin_critics else 1
        self._critics = FollowedCritics(design, n_critics, compute, config.critic_learning_rate)
        self._target_actor = copy.deepcopy(self._actor).requires_grad_(requires_grad=False)
        self._target_actor.features = self._actor.features  # one set of statistics
        self._acting = self._target_actor if config.acts_by_target else self._actor
        self._actor_optimizer = adam(self._actor.layers, config.actor_learning_rate)
        self._noise_source = torch.Generator(compute.device).manual_seed(int(torch.randint(2**31, ())))
        self._updates = 0
        self._latest: dict[str, Tensor] = {}

    @property
    def algorithm(self) -> str:
        """The name "ddpg", or "td3" with twin critics."""
        return "td3" if self._config.twin_critics else "ddpg"

    @property
    def sampling(self) -> Sampling:
        """Batches of n-step transitions."""
        return Sampling(self._config.batch_size, self._config.n_step, self._config.discount)

    @torch.no_grad()
    def explore(self, observations: NDArray[Any], step: int, rng: np.random.Generator) -> NDArray[Any]:
        """Actions (n, k) float32 with Gaussian noise, within the bounds."""
        n = len(observations)
        if step < self._config.random_steps:
            return self._by_actor.scaled(self._exploring.draw_uniform(n, rng))
        greedy = self._actor.normalised(self._by_actor.features(observations)).cpu().numpy()
        noise = self._noise(step) * self._exploring.draw(n, rng)
        return self._by_actor.scaled(np.clip(greedy + noise, -1, 1))

    def greedy(self, observations: NDArray[Any]) -> NDArray[Any]:
        """Actor's actions (n, k) float32."""
        return self._by_actor.greedy(observations, self._acting)

    def learn(self, batches: Transitions) -> None:
        """Make one update from each of the batches."""
        for batch in self._by_actor.split(batches, self._config.batch_size):
            self._update(*batch)

    def losses(self) -> dict[str, float]:
        """Loss and mean value of the latest updates."""
        return {f"losses/{name}": float(value) for name, value in self._latest.items()}

    def exploration(self, step: int) -> dict[str, float]:
        """Noise at `step`."""
        return {"charts/noise": self._noise(step)}

    def weights(self) -> Weights:
        """Copy of the actor's weights that it acts by."""
        return self._by_actor.weights(self._acting)

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights, for both actors."""
        self._actor.load_state_dict(weights)
        self._target_actor.load_state_dict(weights)

    def state(self) -> dict[str, Any]:
        """Networks, optimisers and update counter."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        return parts | {"updates": self._updates, "noise_source": self._noise_source.get_state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self._updates = int(state["updates"])
        self._noise_source.set_state(state["noise_source"])

    def policy(self) -> nn.Module:
        """Observation to action."""
        return self._by_actor.policy(self._acting)

    def _parts(self) -> dict[str, Any]:
        return {
            "online": self._actor,
            "target": self._target_actor,
            "actor_optimizer": self._actor_optimizer,
            **self._critics.parts(),
        }

    def _update(
        self, features_tm1: Tensor, action_tm1: Tensor, reward_t: Tensor, discount_t: Tensor, features_t: Tensor
    ) -> None:
        config = self._config
        with torch.no_grad():
            action_t = self._target_actor.normalised(features_t)
            if config.target_noise:
                noise = torch.empty_like(action_t).normal_(0, config.target_noise, generator=self._noise_source)
                action_t = (action_t + noise.clamp(-config.target_noise_clip, config.target_noise_clip)).clamp(-1, 1)
            target = reward_t + discount_t * self._critics.least_target(features_t, action_t)
        factor = linear(self._updates, 1.0, config.learning_rate_end, config.learning_rate_updates)
        self._latest = self._critics.regress(features_tm1, action_tm1, target, config.critic_learning_rate * factor)
        self._updates += 1
        if self._updates % config.policy_delay:
            return
        actor_loss = -self._critics.online.first(features_tm1, self._actor.normalised(features_tm1)).mean()
        descend(self._actor_optimizer, actor_loss, config.actor_learning_rate * factor)
        move_towards(self._target_actor, self._actor, config.target_tau)
        self._critics.follow(config.target_tau)

    def _noise(self, step: int) -> float:
        return linear(step, self._config.noise_start, self._config.noise_end, self._config.noise_steps)
