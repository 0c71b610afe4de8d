"""The networks of agents whose actions are continuous: an actor, and critics of what it does."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import Tensor, nn

from polserve.training.environments.spaces import float32_bounds
from polserve.training.learning.encoding import Encoded, Encoding
from polserve.training.learning.graph_wrappers import GraphWrappers
from polserve.training.learning.hyperparameters import NetworkConfig


class Features(nn.Module):
    """Observations as they are, in one vector of float32 each; pixels scaled, and categories encoded."""

    def __init__(
        self,
        n: int,
        *,
        highest: float | None = None,
        encoding: Encoding | None = None,
        wrappers: GraphWrappers | None = None,
    ) -> None:
        """`n` numbers, as the wrappers make them, of observations that are not encoded.

        `highest` is the one that all of them are divided by, None for none.
        """
        super().__init__()
        self.wrappers = wrappers or GraphWrappers()
        self.n = n if encoding is None else len(encoding.source)
        """Numbers in the vector."""
        self._encoded = None if encoding is None else Encoded(encoding)
        self._scale = None if highest is None else 1 / highest

    def forward(self, observation: Tensor) -> Tensor:
        """Vectors (batch, n) of observations (batch, *shape)."""
        observed: Tensor = self.wrappers(observation)
        if self._encoded is not None:
            encoded: Tensor = self._encoded(observed)
            return encoded
        numbers = observed.to(torch.float32)
        vector = numbers.unsqueeze(1) if numbers.ndim == 1 else numbers.flatten(1)
        return vector if self._scale is None else vector * self._scale


@dataclass(frozen=True, slots=True)
class ActorDesign:
    """What an actor and its critics are built from."""

    network: NetworkConfig
    space: Box
    """Space of the actions, (k,) with finite bounds."""
    features: Features
    finishing: nn.Module | None = None
    """Exported around the actor: from observation and action to the action that is answered."""

    @property
    def n_components(self) -> int:
        """Number of components of an action."""
        return int(np.prod(self.space.shape))


@dataclass(frozen=True, slots=True, eq=False)
class ActionBounds:
    """Bounds of the actions' components, (k,) each, and what lies between."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    centre: NDArray[np.float32]
    half_range: NDArray[np.float32]

    @classmethod
    def of(cls, space: Box) -> "ActionBounds":
        """Bounds of a space of actions."""
        low, high = float32_bounds(space)
        half = np.float32(0.5)  # of each first: the sum of two bounds may overflow
        return cls(low, high, half * high + half * low, half * high - half * low)

    def scaled(self, normalised: NDArray[Any]) -> NDArray[np.float32]:
        """Actions (n, k) in the environment's units, within the bounds, of actions in [-1, 1]."""
        return np.clip(np.asarray(self.centre + self.half_range * normalised, np.float32), self.low, self.high)


class DeterministicPolicy(nn.Module):
    """An actor: from observations to actions, each component between its bounds."""

    def __init__(self, design: ActorDesign, outputs: int = 1) -> None:
        """Have so many outputs for each component of the action, of which the first is the action."""
        super().__init__()
        self.bounds = ActionBounds.of(design.space)
        """Bounds of the actions, on the CPU."""
        self.features = design.features
        self.layers = _perceptron(design.network, design.features.n, design.n_components * outputs)
        nn.init.uniform_(self.layers[-1].weight, -3e-3, 3e-3)  # type: ignore[arg-type]  # near the middle at first
        nn.init.zeros_(self.layers[-1].bias)  # type: ignore[arg-type]
        self.low: Tensor
        self.high: Tensor
        self.centre: Tensor
        self.half_range: Tensor
        for name, is_saved in (("low", False), ("high", False), ("centre", True), ("half_range", True)):
            self.register_buffer(name, torch.from_numpy(getattr(self.bounds, name)), persistent=is_saved)

    def forward(self, observation: Tensor) -> Tensor:
        """Actions (batch, k) float32 in the environment's units."""
        return self.scaled(self.normalised(self.features(observation)))

    def scaled(self, normalised: Tensor) -> Tensor:
        """Actions in the environment's units of actions in [-1, 1].

        NOTE: centre and half range are rounded, so that their sum can lie beyond a bound by the last bit.
        """
        return torch.clamp(self.centre + self.half_range * normalised, self.low, self.high)

    def normalised(self, features: Tensor) -> Tensor:
        """Actions (batch, k) in [-1, 1]."""
        return torch.tanh(self.layers(features))


class Critics(nn.Module):
    """One network or two: from features and actions in [-1, 1] to the value of the pair."""

    def __init__(self, design: ActorDesign, n: int) -> None:
        super().__init__()
        n_in = design.features.n + design.n_components
        self.networks = nn.ModuleList(_perceptron(design.network, n_in, 1) for _ in range(n))

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        """Values (batch, critics)."""
        both = torch.cat((features, action), dim=1)
        return torch.cat([network(both) for network in self.networks], dim=1)

    def first(self, features: Tensor, action: Tensor) -> Tensor:
        """Values (batch, 1) by the first critic."""
        value: Tensor = self.networks[0](torch.cat((features, action), dim=1))
        return value


class Finished(nn.Module):
    """An actor and what is made of its action before it is answered."""

    def __init__(self, network: nn.Module, finishing: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.finishing = finishing

    def forward(self, observation: Tensor) -> Tensor:
        """Actions (n, k) of observations (n, *shape)."""
        action: Tensor = self.finishing(observation, self.network(observation))
        return action


def _perceptron(config: NetworkConfig, n_in: int, n_out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise([n_in, *config.hidden_sizes]):
        layers += [nn.Linear(width_in, width_out), *([nn.LayerNorm(width_out)] if config.layer_norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(config.hidden_sizes[-1], n_out))
