"""Acting by an actor whose actions are continuous: what every agent that has one does alike."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polserve.training.learning.agents.actor_critic import DeterministicPolicy, Finished
from polserve.training.learning.agents.agent import Weights
from polserve.training.learning.compute import Compute
from polserve.training.learning.transitions import Transitions


@dataclass(frozen=True, slots=True)
class ContinuousActor:
    """An actor on its device, and what is made of its actions."""

    network: DeterministicPolicy
    compute: Compute
    finishing: nn.Module | None = None
    """Exported around the actor: from observation and action to the action that is answered."""

    def __post_init__(self) -> None:
        """Move the actor to the device."""
        self.network.to(self.compute.device)

    @torch.no_grad()
    def greedy(self, observations: NDArray[Any], network: DeterministicPolicy | None = None) -> NDArray[Any]:
        """Actions (n, k) float32 in the environment's units, by the actor or another of its shape."""
        actions: NDArray[Any] = (network or self.network)(self.tensor(observations)).cpu().numpy()
        return actions

    def features(self, observations: NDArray[Any]) -> Tensor:
        """Features (n, m) of observations, on the device."""
        found: Tensor = self.network.features(self.tensor(observations))
        return found

    def scaled(self, normalised: NDArray[Any]) -> NDArray[np.float32]:
        """Actions (n, k) in the environment's units, within their bounds, of actions in [-1, 1]."""
        return self.network.bounds.scaled(normalised)

    def normalised(self, actions: NDArray[Any]) -> Tensor:
        """Actions (n, k) in [-1, 1], on the device, of actions in the environment's units."""
        return (self.tensor(actions) - self.network.centre) / self.network.half_range

    def split(self, batches: Transitions, size: int) -> Iterator[tuple[Tensor, ...]]:
        """Split transitions into batches: features, actions in [-1, 1], rewards, discounts and features afterwards."""
        columns = (
            self.features(batches.observation_tm1),
            self.normalised(batches.action_tm1),
            self.tensor(batches.reward_t),
            self.tensor(batches.discount_t),
            self.features(batches.observation_t),
        )
        yield from zip(*(torch.split(column, size) for column in columns), strict=True)

    def tensor(self, values: NDArray[Any]) -> Tensor:
        """`values` on the device."""
        return torch.from_numpy(values).to(self.compute.device)

    def weights(self, network: DeterministicPolicy | None = None) -> Weights:
        """Copy of the weights of the actor, or of another."""
        return {name: tensor.cpu().clone() for name, tensor in (network or self.network).state_dict().items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what `weights` gave."""
        self.network.load_state_dict(weights)

    def policy(self, network: DeterministicPolicy | None = None) -> nn.Module:
        """Observation to action, on the CPU, by the actor or another of its shape."""
        actor = copy.deepcopy(network or self.network).cpu().eval()
        return actor if self.finishing is None else Finished(actor, self.finishing)


def adam(module: nn.Module, learning_rate: float) -> torch.optim.Adam:
    """Make the optimiser of a module."""
    return torch.optim.Adam(module.parameters(), lr=learning_rate, fused=True)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, learning_rate: float) -> None:
    """Make one step down the loss; gradients of nothing but what is optimised are computed."""
    group = optimizer.param_groups[0]
    group["lr"] = learning_rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward(inputs=group["params"])  # type: ignore[no-untyped-call]
    optimizer.step()
