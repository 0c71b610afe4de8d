"""Networks: from what the learner stores of an observation to the values of actions, or to their quantiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from training.errors import require

Padding = Literal["valid", "same"]
Pixels = Literal["unit", "guide"]
LEAST_SIDE = 36
"""Pixels of the smallest screen that the convolutions leave something of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Shape of a value network; stacked screens get convolutions, anything else a multi-layer perceptron."""

    hidden_sizes: tuple[int, ...] = (128, 128)
    """Units of the hidden layers; after convolutions those of the dense ones, (512,) in Mnih et al. 2015."""
    dueling: bool = False
    """One stream for the state's value and one for the actions' advantages (Wang et al. 2016)."""
    quantiles: int = 1
    """Of the return, per action (QR-DQN, Dabney et al. 2018, has 200); 1 learns the mean alone."""
    layer_norm: bool = False
    """Normalise before every activation (PQN, Gallici et al. 2024)."""
    padding: Padding = "valid"
    """Of the convolutions; "same" is that of Geron 2017."""
    pixels: Pixels = "unit"
    """Scale of a pixel x from 0 to 255: "unit" is x / 255, "guide" is (x - 128) / 128 - 1 as in Geron 2017."""
    mixed_precision: bool = False
    """Convolve in bfloat16 where the device is faster at it; the last layer stays in float32."""

    def __post_init__(self) -> None:
        """Check the ranges; raises InvalidOption."""
        sizes = self.hidden_sizes
        require(len(sizes) >= 1 and all(size >= 1 for size in sizes), "hidden_sizes", "sizes of at least 1", sizes)
        require(self.quantiles >= 1, "quantiles", "at least 1", self.quantiles)


class ValueNetwork(nn.Module):
    """A torso and linear outputs: the value of each action is the mean of the quantiles of its return."""

    def __init__(self, config: NetworkConfig, observation_shape: Sequence[int], n_actions: int) -> None:
        """`observation_shape` is (stack, height, width) for screens of at least 36 x 36, or any other shape."""
        super().__init__()
        *inner, width = config.hidden_sizes
        sizes = [*inner, width * 2 if config.dueling else width]
        layers: list[nn.Module] = []
        n_features = prod(observation_shape)
        if len(observation_shape) == 3 and min(observation_shape[1:]) >= LEAST_SIDE:  # noqa: PLR2004 - see above
            layers += _convolutions(config, observation_shape)
            with torch.no_grad():
                n_features = nn.Sequential(*layers)(torch.zeros(1, *observation_shape)).shape[1]
        else:
            layers.append(_Flat())
        for n_in, n_out in pairwise([n_features, *sizes]):
            layers += [nn.Linear(n_in, n_out), *_activation(config, (n_out,))]
        self.torso = nn.Sequential(*layers)
        self.advantage = nn.Linear(width, n_actions * config.quantiles)
        self.value = nn.Linear(width, config.quantiles) if config.dueling else None
        self.config = config
        self.n_actions = n_actions
        self._width = width

    def forward(self, observation: Tensor) -> Tensor:
        """Values (n, n_actions) of observations (n, *shape) of any real dtype."""
        return self.quantiles(self.torso(observation)).mean(dim=2)

    def quantiles(self, features: Tensor) -> Tensor:
        """Quantiles (n, n_actions, quantiles) of the return, from what the torso gave, in float32."""
        features = features.to(torch.float32)
        advantage: Tensor = self.advantage(features[:, -self._width :]).unflatten(
            1, (self.n_actions, self.config.quantiles)
        )
        if self.value is None:
            return advantage
        value: Tensor = self.value(features[:, : self._width]).unsqueeze(1)
        return value + advantage - advantage.mean(dim=1, keepdim=True)


class GreedyPolicy(nn.Module):
    """What is exported for a value network: raw observation to the best action and all values."""

    def __init__(self, network: nn.Module, preprocessing: nn.Module | None = None) -> None:
        super().__init__()
        self.preprocessing = preprocessing or nn.Identity()
        self.network = network

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Actions (n,) int64 and values (n, n_actions) float32 of observations (n, *shape)."""
        values = self.network(self.preprocessing(observation))
        return values.argmax(dim=1), values


class _Flat(nn.Module):
    """Observations of any shape and dtype as float32 vectors."""

    def forward(self, observation: Tensor) -> Tensor:
        return observation.to(torch.float32).flatten(1)


class _Pixels(nn.Module):
    """Pixels as float32: integers from 0 to 255 scaled, and floats as they are."""

    def __init__(self, kind: Pixels) -> None:
        super().__init__()
        self._factor, self._offset = (1 / 255, 0.0) if kind == "unit" else (1 / 128, -2.0)

    def forward(self, screens: Tensor) -> Tensor:
        if screens.is_floating_point():  # scaled already
            return screens.to(torch.float32)
        scaled = screens.to(torch.float32) * self._factor
        return scaled + self._offset if self._offset else scaled


def _convolutions(config: NetworkConfig, observation_shape: Sequence[int]) -> list[nn.Module]:
    """Those of Mnih et al. 2015 (Nature 518, table of methods), flattened."""
    channels, height, width = observation_shape
    layers: list[nn.Module] = [_Pixels(config.pixels)]
    for n_out, kernel, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
        padding = (kernel - stride + 1) // 2 if config.padding == "same" else 0
        convolution = nn.Conv2d(channels, n_out, kernel, stride, padding)
        height = (height + 2 * padding - kernel) // stride + 1
        width = (width + 2 * padding - kernel) // stride + 1
        layers += [convolution, *_activation(config, (n_out, height, width))]
        channels = n_out
    return [*layers, nn.Flatten()]


def _activation(config: NetworkConfig, shape: tuple[int, ...]) -> list[nn.Module]:
    return [nn.LayerNorm(shape), nn.ReLU()] if config.layer_norm else [nn.ReLU()]
