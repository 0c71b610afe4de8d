"""From what a network gives to actions: greedy, and within the bounds of the environment."""

import torch
from torch import Tensor, nn


class ByDistributions(nn.Module):
    """The action of the highest mean return, where a network gives a distribution of returns over atoms."""

    def __init__(self, atoms: Tensor, actions: int) -> None:
        super().__init__()
        self._sizes = (actions, len(atoms))
        self.atoms: Tensor
        self.register_buffer("atoms", atoms)

    def forward(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Actions (n,) and mean returns (n, actions), of logits (n, actions * atoms)."""
        probabilities = torch.softmax(logits.reshape(-1, *self._sizes), 2)
        values = (probabilities * self.atoms).sum(2)
        return values.argmax(1), values


class Squashed(nn.Module):
    """Actions by tanh, scaled to the bounds."""

    def __init__(self, scale: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.scale: Tensor
        self.bias: Tensor
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    def forward(self, means: Tensor) -> Tensor:
        """Actions (n, k) of means (n, k)."""
        return torch.tanh(means) * self.scale + self.bias
