"""Imported policies of a few numbers, whose original is written beside them in numpy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor, nn

from polserve.training.imports.imported import ImportedPolicy, Source

SOURCE = Source("a tool 1.0", "policy.zip", "0" * 64, "LINEAR")
WEIGHTS = np.array([[0.1, 0.2, 3.0, 1.0], [0.3, -0.2, -2.0, 0.5]], np.float32)


class ByValues(nn.Module):
    """The action of the larger of two sums of CartPole's observation, and the sums."""

    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.from_numpy(WEIGHTS.T.copy()))

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        values = observation @ self.weights
        return values.argmax(dim=1), values


class ByTorque(nn.Module):
    """Pendulum's torque against its angular velocity."""

    def forward(self, observation: Tensor) -> Tensor:
        return (-observation[:, 2:]).clamp(-2.0, 2.0)


def cartpole_values(observations: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(observations @ WEIGHTS.T)


def discrete(original: Callable[[NDArray[Any]], NDArray[Any]] | None = None) -> ImportedPolicy:
    """A policy for CartPole; another original to be compared with, where one is given."""
    policy = ImportedPolicy(
        algorithm="linear",
        graph=ByValues(),
        observation_space=Box(-np.inf, np.inf, (4,)),
        action_space=Discrete(2),
        source=SOURCE,
        original=lambda observations: cartpole_values(observations).argmax(axis=1),
        original_name="numpy",
        preferences=cartpole_values,
    )
    return replace(policy, original=original) if original else policy


def continuous(error: float = 0.0, bound: float = 2.0) -> ImportedPolicy:
    """A policy for Pendulum, whose original differs from it by `error`; with other bounds, where they are given."""
    return ImportedPolicy(
        algorithm="linear",
        graph=ByTorque(),
        observation_space=Box(np.array([-1, -1, -8], np.float32), np.array([1, 1, 8], np.float32)),
        action_space=Box(-bound, bound, (1,)),
        source=SOURCE,
        original=lambda observations: np.clip(-observations[:, 2:], -2, 2) + np.float32(error),
        original_name="numpy",
    )
