"""Allocators whose actions are known."""

import torch

from polserve.training.tasks.adbudget.accounts import Account
from polserve.training.tasks.adbudget.allocator import SpendPlan


class ReferencePlan(torch.nn.Module):
    """A policy that keeps to the reference plan."""

    def __init__(self, account: Account) -> None:
        super().__init__()
        self._plan = SpendPlan(account)

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        spends: torch.Tensor = self._plan(observation, torch.zeros(len(observation), 2))
        return spends
