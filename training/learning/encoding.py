"""What a network makes of categories: one input for each value, 1 for the one that is there.

A policy version's observation holds a category as the number that the environment emits. That it becomes one-hot here,
in the exported graph, keeps an observation small, and lets a caller send what the environment gave.
"""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from torch import Tensor, nn

from polserve.training.environments.inspection import EnvironmentFacts
from polserve.training.environments.spaces import short
from polserve.training.errors import UnsupportedEnvironment
from polserve.training.learning.pictures import HIGHEST_PIXEL

MOST_INPUTS = 1 << 16
"""Most inputs that observations are encoded in."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """Inputs of a network by the numbers of a flat observation, (m,) each."""

    source: NDArray[np.int64]
    """Number of the observation that an input is made of."""
    value: NDArray[np.int64]
    """Value that an input stands for, where it is one of a category."""
    is_category: NDArray[np.bool_]
    scale: NDArray[np.float32]
    """Factor of the number, where it is none of a category."""
    is_number: NDArray[np.bool_]
    """Which numbers of an observation, or of each of a stack, are neither of a category nor scaled."""

    @classmethod
    def of(cls, facts: EnvironmentFacts, environment_id: str) -> "Encoding | None":
        """Encode an environment's observations; None where their numbers are taken as they are.

        Raises:
            UnsupportedEnvironment: their categories have too many values.
        """
        layout = facts.layout
        if layout is None or facts.emitted_space is None:
            return None
        n, start = layout.categories
        n = np.where((n == 2) & (start == 0), 0, n)  # noqa: PLR2004 - 0 or 1 is its own code
        scale = _scales(layout.parts, facts.emitted_space)
        is_number = (layout.categories[0] == 0) & (scale == 1)
        if not n.any() and (scale == 1).all():
            return None
        if (total := int(np.maximum(n, 1).sum())) > MOST_INPUTS:
            raise UnsupportedEnvironment(
                f"{environment_id}: expected observations of at most {MOST_INPUTS:,} numbers and values of categories, "
                f"got {total:,} in {short(facts.emitted_space)}; give categories of many values as numbers in a Box"
            )
        repeats = facts.observation_space.shape[0] if facts.observation_space.shape != layout.shape else 1
        n, start, scale = np.tile(n, repeats), np.tile(start, repeats), np.tile(scale, repeats)
        counts = np.maximum(n, 1)
        source = np.repeat(np.arange(len(n)), counts)
        first = np.repeat(np.cumsum(counts) - counts, counts)
        value = np.arange(len(source)) - first + start[source]
        return cls(source, value, n[source] > 0, scale[source], is_number)


def _scales(parts: Any, space: gym.Space[Any]) -> NDArray[np.float32]:
    """Factors of the numbers of an observation: pixels from 0 to 255 are scaled."""
    found = []
    for part in parts:
        leaf: Any = space
        for key in part.path:
            leaf = leaf[key if isinstance(leaf, gym.spaces.Dict) else int(key)]
        is_pixels = isinstance(leaf, Box) and leaf.dtype.kind in "iu" and (leaf.low == 0).all()
        is_pixels = is_pixels and (leaf.high == HIGHEST_PIXEL).all()
        found.append(np.full(part.size, 1 / HIGHEST_PIXEL if is_pixels else 1, np.float32))
    return np.concatenate(found)


class Encoded(nn.Module):
    """Observations (n, *shape) as vectors of float32 (n, m), their categories one-hot."""

    def __init__(self, encoding: Encoding) -> None:
        super().__init__()
        self.n = len(encoding.source)
        """Inputs that it gives."""
        self._source: Tensor
        self._value: Tensor
        self._is_category: Tensor
        self._scale: Tensor
        arrays = {
            "_source": encoding.source,
            "_value": encoding.value,
            "_is_category": encoding.is_category,
            "_scale": encoding.scale,
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(array), persistent=False)

    def forward(self, observation: Tensor) -> Tensor:
        """Encode the observations."""
        numbers = (observation.unsqueeze(1) if observation.ndim == 1 else observation.flatten(1))[:, self._source]
        is_there = (numbers == self._value.to(numbers.dtype)).to(torch.float32)
        return torch.where(self._is_category, is_there, numbers.to(torch.float32) * self._scale)
