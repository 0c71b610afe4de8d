"""What happens to an observation before an SB3 policy's network: in torch for the graph, in numpy to compare."""

from dataclasses import dataclass
from math import prod
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from numpy.typing import NDArray
from torch import nn

from polserve.training.environments.layouts import flat_box, unflattened
from polserve.training.environments.spaces import short
from polserve.training.errors import ImportRefused
from polserve.training.imports.layers import Arrange, Normalize, OneHot, Parts, Scale
from polserve.training.imports.normalizing import Statistics
from polserve.training.imports.sb3.arranging import Arrangement, arrange, is_image, stacked


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """The way from the environment's observation to what the network takes."""

    space: gym.Space[Any]
    """The policy's own space, as the library knows it."""
    carried: Box
    """Observations as the version carries them: a tensor, with the frame stack."""
    emitted: gym.Space[Any] | None
    """What the tensor is laid out from; None where the environment emits a Box."""
    arrangement: Arrangement | None
    """Order of the axes; None where the environment emits no Box."""
    is_scaled: bool
    """Whether images are divided by 255."""
    statistics: Statistics | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what the network takes."""
        if self.arrangement is not None:
            return self.arrangement.shape
        return (sum(map(encoded_width, leaves(self.space))),)

    @property
    def frames(self) -> int:
        """Length of the frame stack, or 0."""
        return self.arrangement.frames if self.arrangement else 0

    def module(self) -> nn.Module:
        """Everything before the network, for the graph."""
        if self.arrangement is None:
            found = leaves(self.space)
            return Parts([prod(leaf.shape or ()) for leaf in found], [self._encoder(leaf) for leaf in found])
        parts: list[nn.Module] = []
        if self.statistics is not None:
            mean, deviation = torch.from_numpy(self.statistics.mean), torch.from_numpy(self.statistics.deviation)
            parts.append(Normalize(mean, deviation, self.statistics.clip))
        if not self.arrangement.is_plain:
            parts.append(Arrange(self.arrangement.order, self.arrangement.shape))
        return nn.Sequential(*parts, self._encoder(self.space))

    def apply(self, observations: NDArray[Any]) -> Any:
        """Observations (n, *shape) as the library's `predict` takes them, by numpy."""
        if self.arrangement is None:
            return unflattened(self.space, observations)
        if self.statistics is not None:
            observations = self.statistics.apply(observations)
        return self.arrangement.apply(observations)

    def _encoder(self, leaf: gym.Space[Any]) -> nn.Module:
        if isinstance(leaf, Discrete):
            return OneHot([int(leaf.n)])
        if isinstance(leaf, MultiDiscrete):
            return OneHot(leaf.nvec.ravel().tolist())
        return Scale(is_image=is_image(leaf) and self.is_scaled)


def preprocessing_for(
    file: str, own: gym.Space[Any], emitted: gym.Space[Any] | None, carried: Box | None, *, is_scaled: bool
) -> Preprocessing:
    """Find the way from what the environment emits to the policy's `own` space.

    Args:
        file: that errors name.
        own: as the file states it.
        emitted: by the environment; None where that is a Box or not known.
        carried: the tensor of an observation; None where no environment is known.
        is_scaled: whether images are divided by 255.

    Raises:
        ImportRefused: no way is known.
    """
    if isinstance(own, Box) and emitted is None:
        raw = own if carried is None else carried
        arrangement = arrange(file, raw.shape, own.shape)
        return Preprocessing(own, stacked(raw, arrangement.frames), None, arrangement, is_scaled)
    emitted = own if emitted is None and carried is None else emitted
    if emitted is None or not _is_alike(own, emitted):
        got = short(emitted if emitted is not None else carried)
        raise ImportRefused(f"{file}: the policy takes {short(own)}, and the environment emits {got}")
    flat = flat_box(emitted)
    if flat is None or any(_starts_elsewhere(leaf) for leaf in leaves(emitted)):
        raise ImportRefused(
            f"{file}: expected observations that start at 0, as the library takes them, got {short(own)}"
        )
    return Preprocessing(emitted, flat, emitted, None, is_scaled)


def leaves(space: gym.Space[Any]) -> list[gym.Space[Any]]:
    """List the parts of a space, in the order in which a version carries them."""
    if isinstance(space, Dict):
        return [leaf for part in space.spaces.values() for leaf in leaves(part)]
    return [space]


def encoded_width(leaf: gym.Space[Any]) -> int:
    """Count the numbers that the network takes of a part."""
    if isinstance(leaf, Discrete):
        return int(leaf.n)
    if isinstance(leaf, MultiDiscrete):
        return int(leaf.nvec.sum())
    return prod(leaf.shape or ())


def _is_alike(own: gym.Space[Any], emitted: gym.Space[Any]) -> bool:
    return type(own) is type(emitted) and (isinstance(own, Dict) or bool(own == emitted))


def _starts_elsewhere(leaf: gym.Space[Any]) -> bool:
    if isinstance(leaf, (Box, MultiBinary)):
        return False
    return bool(np.any(leaf.start)) if isinstance(leaf, (Discrete, MultiDiscrete)) else True
