"""A value network shared by the four ways, and the values that the game's nine actions have by it."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from polserve.training.learning.hyperparameters import NetworkConfig
from polserve.training.learning.networks import QuantileNetwork
from polserve.training.tasks.mspacman_maze.features import N_FEATURES, N_OF_A_WAY, N_OF_ALL
from polserve.training.tasks.mspacman_maze.mazes import OPPOSITE, TO_THE_LEFT, TO_THE_RIGHT

N_WAYS = 4
FIRST_WAY = 1
"""The game's own action for the first way, up; right, left and down follow."""
N_ACTIONS = 9
"""The game's own actions: no-op, the four ways, and the diagonals."""


class WayNetwork(QuantileNetwork):
    """Quantiles of the return of each way, by one network that sees the features from that way's side."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config, N_WAYS)
        layers: list[nn.Module] = [_Sides()]
        for n_in, n_out in pairwise([N_FEATURES, *config.hidden_sizes]):
            layers += [nn.Linear(n_in, n_out), *([nn.LayerNorm(n_out)] if config.layer_norm else []), nn.ReLU()]
        self.torso = nn.Sequential(*layers)
        self.out = nn.Linear(config.hidden_sizes[-1], config.quantiles)

    def quantiles(self, features: Tensor) -> Tensor:
        """Quantiles (n, 4, quantiles) of the return, from what the torso gave (n, 4, width)."""
        quantiles: Tensor = self.out(features.to(torch.float32))
        return quantiles


class _Sides(nn.Module):
    """Features (n, 191) as each way has them, (n, 4, 191): of this way, right of it, left, behind, and of the whole."""

    _order: Tensor

    def __init__(self) -> None:
        super().__init__()
        order = [[way, TO_THE_RIGHT[way], TO_THE_LEFT[way], OPPOSITE[way]] for way in range(N_WAYS)]
        self.register_buffer("_order", torch.tensor(order), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        ways = features[:, :-N_OF_ALL].reshape(-1, N_WAYS, N_OF_A_WAY)
        whole = features[:, None, -N_OF_ALL:].expand(-1, N_WAYS, -1)
        return torch.cat((ways[:, self._order].flatten(2), whole), 2)


class AllActions(nn.Module):
    """From the values of the four ways to those of the game's nine actions; one that is never taken gets the least."""

    def forward(self, values: Tensor) -> Tensor:
        """Values (n, 9) from values (n, 4)."""
        least = values.amin(1, keepdim=True)
        return torch.cat((least, values, least.expand(-1, N_ACTIONS - N_WAYS - FIRST_WAY)), 1)
