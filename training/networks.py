"""Networks: from a raw observation, as the environment emits it, to values."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn


class QNetwork(nn.Module):
    """Action values of a flat or flattened observation, by a multi-layer perceptron with ReLU."""

    def __init__(self, observation_shape: Sequence[int], n_actions: int, hidden_sizes: Sequence[int]) -> None:
        super().__init__()
        sizes = [prod(observation_shape), *hidden_sizes]
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], n_actions))

    def forward(self, observation: Tensor) -> Tensor:
        """Values (n, n_actions) of observations (n, *shape) of any real dtype."""
        values: Tensor = self.layers(observation.to(torch.float32).flatten(1))
        return values


class NatureNetwork(nn.Module):
    """Action values of stacked grey frames, by the network of Mnih et al. 2015 (Nature 518, table of methods)."""

    def __init__(self, observation_shape: Sequence[int], n_actions: int) -> None:
        """`observation_shape` is (frames, height, width), at least 36 x 36."""
        super().__init__()
        frames, height, width = observation_shape
        self.features = nn.Sequential(
            *(nn.Conv2d(frames, 32, 8, 4), nn.ReLU()),
            *(nn.Conv2d(32, 64, 4, 2), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, 1), nn.ReLU()),
            nn.Flatten(),
        )
        with torch.no_grad():
            n_features = self.features(torch.zeros(1, frames, height, width)).shape[1]
        self.head = nn.Sequential(nn.Linear(n_features, 512), nn.ReLU(), nn.Linear(512, n_actions))

    def forward(self, observation: Tensor) -> Tensor:
        """Values (n, n_actions) of uint8 observations (n, frames, height, width)."""
        values: Tensor = self.head(self.features(observation.to(torch.float32) / 255.0))
        return values


class GreedyPolicy(nn.Module):
    """What is exported for a Q-network: observation to the best action and all values."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Actions (n,) int64 and values (n, n_actions) float32 of observations (n, *shape)."""
        values = self.network(observation)
        return values.argmax(dim=1), values
