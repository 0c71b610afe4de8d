"""Acting by a network of values: what every agent that has one does alike."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polserve.training.learning.agents.agent import Weights
from polserve.training.learning.compute import Compute
from polserve.training.learning.networks import GreedyPolicy, QuantileNetwork
from polserve.training.learning.rewards import Factor, unchanged


@dataclass(frozen=True, slots=True)
class ValueActor:
    """A value network on its device, and what it sees of the environment's observations."""

    network: QuantileNetwork
    compute: Compute
    preprocessing: nn.Module | None = None
    """From the environment's observation to what the network takes, as a part of the exported graph."""
    start: int = 0
    """The number of the first action."""
    widening: nn.Module | None = None
    """From the values of the actions that are learned to those of all the environment's actions, likewise."""
    reward_factor: Factor = unchanged
    """Gives the factor that rewards are learned from times, by which exported values are divided."""

    def __post_init__(self) -> None:
        """Move the network to the device."""
        self.network.to(self.compute.device)

    @torch.no_grad()
    def greedy(self, observations: NDArray[Any], network: QuantileNetwork | None = None) -> NDArray[Any]:
        """Actions (n,) int64 of the highest value."""
        best: NDArray[Any] = self.quantiles(observations, network).mean(dim=2).argmax(dim=1).cpu().numpy()
        return best + self.start if self.start else best

    def indices(self, actions: NDArray[Any]) -> Tensor:
        """Places of actions (n,) among the network's outputs, on the device."""
        return self.tensor(actions - self.start if self.start else actions)

    def quantiles(self, observations: NDArray[Any] | Tensor, network: QuantileNetwork | None = None) -> Tensor:
        """Quantiles (n, actions, quantiles) by the network, or another of its shape.

        The torso's part is computed in bfloat16 where that is wanted and faster.
        """
        network = network or self.network
        observed = network.wrappers(self.tensor(observations))
        with self.compute.autocast(is_mixed=network.config.mixed_precision):
            features = network.torso(observed)
        return network.quantiles(features)

    def tensor(self, values: NDArray[Any] | Tensor) -> Tensor:
        """`values` on the device."""
        return (values if isinstance(values, Tensor) else torch.from_numpy(values)).to(self.compute.device)

    def weights(self, network: QuantileNetwork | None = None) -> Weights:
        """Copy of the weights of the network, or of another."""
        return {name: tensor.cpu().clone() for name, tensor in (network or self.network).state_dict().items()}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what `weights` gave."""
        self.network.load_state_dict(weights)

    def policy(self, network: QuantileNetwork | None = None) -> GreedyPolicy:
        """Raw observation to the best action and all values, on the CPU, by the network or another of its shape."""
        module = copy.deepcopy(network or self.network).cpu()
        return GreedyPolicy(module, self.preprocessing, self.start, self.widening, self.reward_factor()).eval()
